"""Asks the hourly tables and the trips the same questions: time, and what the engine reads for them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from benchmarks.full_tables import fill
from benchmarks.grid import Grid, number, rows_text, times_text
from benchmarks.machine import Machine, this_machine
from benchmarks.questions import REGION, RESOLUTION, questions
from benchmarks.spread import ratio, spread
from benchmarks.tables import DATABASE
from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded

QUERIES = Path(__file__).resolve().parent / "results" / "queries.json"


class Asked(BaseModel):
    """A question asked of one of the two, several times.

    Attributes:
        seconds: Each time's seconds.
        rows_read: Rows that the engine read.
        bytes_read: Their bytes, in memory.
    """

    seconds: list[float] = Field(default_factory=list)
    rows_read: int = 0
    bytes_read: int = 0

    @property
    def middle(self) -> float | None:
        """Median of the seconds."""
        found = spread(self.seconds)
        return found and found.middle


class Answer(BaseModel):
    """Both ways to answer a question.

    Attributes:
        question: What was asked.
        rows: Rows of the answer.
        equal: Whether both gave the same.
        of_rollups: Asked of the hourly tables.
        of_trips: Asked of the trips.
    """

    question: str
    rows: int
    equal: bool
    of_rollups: Asked = Field(default_factory=Asked)
    of_trips: Asked = Field(default_factory=Asked)


class QueriesResult(BaseModel):
    """All questions.

    Attributes:
        machine: Where and when.
        trips: Trips in the tables.
        rounds: How often each was asked.
        table_rows: Rows by table.
        table_bytes: Bytes on disk by table.
        answers: By question.
    """

    machine: Machine
    trips: int
    rounds: int
    table_rows: dict[str, int]
    table_bytes: dict[str, int]
    answers: list[Answer] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path = QUERIES) -> "QueriesResult | None":
        """The result in a file, or None where there is no file."""
        return cls.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, path: Path = QUERIES) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def grid(self) -> Grid:
        """As a table."""
        header = [
            "question",
            *("ms, rollups", "ms, trips", "times as fast"),
            *("rows read, rollups", "rows read, trips", "MB read, rollups", "MB read, trips"),
        ]
        rows = [
            [
                answer.question + ("" if answer.equal else " **(answers differ)**"),
                number((middle := answer.of_rollups.middle) and 1000 * middle),
                number((middle := answer.of_trips.middle) and 1000 * middle),
                number(ratio(answer.of_trips.middle, answer.of_rollups.middle)),
                f"{answer.of_rollups.rows_read:,}",
                f"{answer.of_trips.rows_read:,}",
                number(answer.of_rollups.bytes_read / 1e6),
                number(answer.of_trips.bytes_read / 1e6),
            ]
            for answer in self.answers
        ]
        sizes = ", ".join(
            f"{table} {rows_text(self.table_rows[table])} rows and {self.table_bytes[table] / 1e6:,.0f} MB"
            for table in self.table_rows
        )
        caption = f"{self.machine}; medians of {times_text(self.rounds, 'time')}; {sizes}."
        return Grid(header, rows, caption)


def ask_all(home: Path, trips: int, rounds: int, say: Callable[[str], None]) -> QueriesResult:
    """Fill tables, and ask.

    Args:
        home: Folder of the pipeline's state.
        trips: Trips in the tables.
        rounds: How often each question is asked.
        say: Told what goes on.
    """
    machine = this_machine()
    fill(home, trips, say)
    with open_embedded(home / "warehouse") as engine:
        engine.use(DATABASE)
        sizes = engine.rows(
            "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND database = {database:String} AND table IN ('trips', 'cell_hourly', 'flow_hourly') "
            "GROUP BY table ORDER BY table",
            {"database": DATABASE},
        )
        result = QueriesResult(
            machine=machine,
            trips=trips,
            rounds=rounds,
            table_rows={str(table): int(rows) for table, rows, _ in sizes},
            table_bytes={str(table): int(size) for table, _, size in sizes},
        )
        for question in questions(_busiest_cell(engine)):
            answers: list[Sequence[Any]] = []
            of_rollups, of_trips = Asked(), Asked()
            for _ in range(rounds):
                for asked, sql in ((of_rollups, question.of_rollups), (of_trips, question.of_trips)):
                    answers.append(_ask(engine, sql, asked))
            answer = Answer(
                question=question.name,
                rows=len(answers[0]),
                equal=all(each == answers[0] for each in answers),
                of_rollups=of_rollups,
                of_trips=of_trips,
            )
            result.answers.append(answer)
            say(f"{answer.question}: {answer.rows} rows, {'equal' if answer.equal else 'NOT EQUAL'}")
    return result


def _ask(engine: ClickHouse, sql: str, asked: Asked) -> list[tuple[Any, ...]]:
    before = _read_so_far(engine)
    began = time.perf_counter()
    rows = engine.rows(sql)
    asked.seconds.append(round(time.perf_counter() - began, 6))
    after = _read_so_far(engine)
    # looking at the counters reads some rows too, so two looks with nothing in between are subtracted
    again = _read_so_far(engine)
    asked.rows_read, asked.bytes_read = (max(0, a - b - (c - a)) for b, a, c in zip(before, after, again, strict=True))
    return [tuple(row) for row in rows]


def _read_so_far(engine: ClickHouse) -> tuple[int, int]:
    found = engine.pairs("SELECT event, value FROM system.events WHERE event IN ('SelectedRows', 'SelectedBytes')")
    return int(found.get("SelectedRows", 0)), int(found.get("SelectedBytes", 0))


def _busiest_cell(engine: ClickHouse) -> int:
    return int(
        engine.value(
            f"SELECT cell FROM cell_hourly WHERE resolution = {RESOLUTION} AND region = '{REGION}' "
            "GROUP BY cell ORDER BY sum(departures) DESC, cell LIMIT 1"
        )
    )
