"""Where the time of a load goes: each stage of processing and loading one upload, without Dagster around it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, Field

from benchmarks.grid import Grid, number, times_text
from benchmarks.machine import Machine, this_machine
from benchmarks.sample import write_sample
from benchmarks.store import Store, running_store
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.process import process_upload
from h3_pipeline.processing.task import ProcessingTask
from h3_pipeline.settings import Settings
from h3_pipeline.stack import load_catalog
from h3_pipeline.warehouse.connect import handovers, open_warehouse

STAGES = Path(__file__).resolve().parent / "results" / "stages.json"

_WORK = {
    "describe": "describe: first megabyte, feed, formats",
    "judge": "judge: read, parse, validate, index with H3, count",
    "write": "write: `processed/` and `rejected/`",
    "hand": "hand over to the embedded warehouse, sample for checks",
    "stage": "stage: trips sorted into a staging table",
    "roll": "roll up: both hourly tables, five resolutions",
    "recount": "recount: every group at every resolution",
    "publish": "publish: attach by month, ledger",
    "record": "record in the history",
}
"""What the stages do, by the first word that they are told with."""


class StagesResult(BaseModel):
    """Seconds of each stage.

    Attributes:
        machine: Where and when.
        rows: Rows of the file.
        rounds: For each round the seconds and the processor seconds of each stage.
    """

    machine: Machine
    rows: int
    rounds: list[dict[str, tuple[float, float]]] = Field(default_factory=list)

    def write(self) -> None:
        """Keep it for the documents."""
        STAGES.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls) -> "StagesResult | None":
        """The kept one, or None where there is none."""
        return cls.model_validate_json(STAGES.read_text(encoding="utf-8")) if STAGES.exists() else None

    def grid(self) -> Grid:
        """The fastest round, by a million rows."""
        best = min(self.rounds, key=lambda spent: sum(seconds for seconds, _ in spent.values()))
        whole = sum(seconds for seconds, _ in best.values())
        millions = self.rows / 1e6
        rows = [
            [_WORK[stage], number(seconds / millions, 2), number(busy / millions, 2), f"{seconds / whole:.0%}"]
            for stage, (seconds, busy) in best.items()
        ]
        busy = sum(processor for _, processor in best.values())
        return Grid(
            ["stage", "s a million rows", "CPU s a million rows", "share"],
            [*rows, ["all of them", number(whole / millions, 2), number(busy / millions, 2), "100%"]],
            f"{self.machine}; {self.rows:,} rows, the fastest of {times_text(len(self.rounds), 'round')}.",
        )


class _Clock:
    """Told each stage as it begins; adds up its time and this process's processor time."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self._stage: str | None = None
        self._since = (0.0, 0.0)

    def __call__(self, name: str) -> None:
        """A stage begins; names that are no stage's belong to the one before."""
        word = name.partition(" ")[0]
        if word in _WORK:
            self.stop()
            self._stage = word
            self._since = (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """The stage is over."""
        if self._stage is not None:
            began, busy = self._since
            seconds, processor = self.spent.get(self._stage, (0.0, 0.0))
            self.spent[self._stage] = (
                seconds + time.monotonic() - began,
                processor + time.process_time() - busy,
            )
        self._stage = None


def measure(folder: Path, rows: int, rounds: int, say: Callable[[str], None]) -> StagesResult:
    """Process and load one file as often as asked, each time into an empty warehouse.

    Args:
        folder: Where files and warehouses are.
        rows: Rows of the file.
        rounds: How often.
        say: Told what goes on.
    """
    result = StagesResult(machine=this_machine(), rows=rows)
    say(f"making {rows:,} rows")
    file = folder / "trips.csv"
    write_sample(file, rows)
    with running_store(folder / "store") as store:
        os.environ.update(store.environment)
        store.upload(file, "bench.csv")
        for round_number in range(rounds):
            settings = Settings.load(h3_pipeline_home=folder / f"home-{round_number}")
            result.rounds.append(_once(settings, store))
            say(f"round {round_number + 1} of {rounds} is done")
    return result


def _once(settings: Settings, store: Store) -> dict[str, tuple[float, float]]:
    clock = _Clock()
    left = handovers(settings)
    assert left is not None
    left.prepare()
    with open_task_engine(settings.home, store.access) as engine:
        task = ProcessingTask(
            store.bucket,
            engine,
            load_catalog(settings),
            settings.h3_resolution,
            settings.h3_max_reject_ratio,
            left,
        )
        processed = process_upload("bench.csv", task, on_stage=clock)
        clock.stop()
    with open_warehouse(settings, store.access) as warehouse:
        warehouse.load(processed.manifest, on_stage=clock)
        clock.stop()
    return clock.spent
