"""The scratch table of one upload's judged records, and the questions asked of it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.short_lived import NEVER_MERGED
from h3_pipeline.processing.handover import HANDED_OVER_COLUMNS, handed_over
from h3_pipeline.processing.manifest import Counts
from h3_pipeline.sql import identifier, literal
from h3_pipeline.storage.named_collection import S3_SETTINGS
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline.trips.rules import REASON_CODES, WARNINGS
from h3_pipeline.trips.select import JUDGED_COLUMNS, Reading, judged_trips, read_settings
from h3_pipeline.trips.upload import UploadDescription

SCRATCH_DATABASE = "h3_pipeline_scratch"
"""Belongs to whoever has the engine open: what is found in it was left by a process that died."""

_INSERT_SETTINGS = {
    # one block in the making bounds the memory; larger ones gain nothing here
    "max_insert_block_size": 262_144,
    "min_insert_block_size_rows": 262_144,
    "min_insert_block_size_bytes": 64 * 1024 * 1024,
    "max_block_size": 65_536,
    # one request for the whole object costs the store less than many for its parts, and is as fast
    "max_download_threads": 1,
    # planning and compiling so long a statement takes longer than reading a small file with it
    "query_plan_merge_expressions": 0,
    "optimize_and_compare_chain": 0,
    "compile_expressions": 0,
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a scan of the judged records found.

    Attributes:
        counts: Rows by outcome.
        blank_lines_inside: Blank lines that a record follows.
        text_fault: ``(kind, row number)`` of the first record with bytes that are no text, or None.
        last_spans_lines: Whether the last record holds a line end inside a field.
        needs_parser: Whether a line was met that cannot be read as a record: nothing else here counts then.
        first_started_at: Earliest departure among loaded rows, or None.
        last_started_at: Latest departure among loaded rows, or None.
    """

    counts: Counts
    blank_lines_inside: int
    text_fault: tuple[int, int] | None
    last_spans_lines: bool
    needs_parser: bool
    first_started_at: Any
    last_started_at: Any


class JudgedRecords:
    """One upload's records in the scratch table."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine
        self.table = f"{identifier(SCRATCH_DATABASE)}.judged"

    def judge(self, upload: UploadDescription, source: str, resolution: int, reading: Reading) -> None:
        """Read and judge every record of an upload.

        Args:
            upload: How to read it.
            source: Table expression over it, as `reading` needs it (`source.Source.of`).
            resolution: H3 resolution of the cells.
            reading: How records are read.
        """
        columns = ", ".join(f"{name} {kind}" for name, kind in JUDGED_COLUMNS)
        self._engine.command(f"DROP TABLE IF EXISTS {self.table} SYNC")
        self._engine.command(
            f"CREATE TABLE {self.table} ({columns}) ENGINE = MergeTree ORDER BY record SETTINGS {NEVER_MERGED}"
        )
        settings = {**read_settings(upload), **_INSERT_SETTINGS, **S3_SETTINGS}
        select = judged_trips(upload, source, resolution, reading)
        self._engine.command(f"INSERT INTO {self.table} {select}", settings=settings)

    def scan(self) -> Judgement:
        """Count everything, in one pass."""
        reasons = REASON_CODES[1:]
        by_reason = ", ".join(f"countIf(reason = '{code}') AS reason_{i}" for i, code in enumerate(reasons))
        by_warning = ", ".join(f"countIf(bitTest(warnings, {i})) AS warning_{i}" for i in range(len(WARNINGS)))
        found = self._engine.records(
            f"""
            SELECT countIf(NOT blank) AS rows_in,
                   maxIf(record, NOT blank) AS last_record,
                   countIf(blank) AS blanks,
                   minIf(record, text_fault > 0) AS fault_record,
                   argMinIf(text_fault, record, text_fault > 0) AS fault,
                   argMaxIf(spans_lines, record, NOT blank) AS last_spans_lines,
                   max(needs_parser) AS needs_parser,
                   minIf(started_at, {_LOADED}) AS first_started_at,
                   maxIf(started_at, {_LOADED}) AS last_started_at,
                   {by_reason}, {by_warning}
            FROM {self.table}"""
        )[0]
        inside = 0
        if found["blanks"]:
            last = int(found["last_record"])
            inside = self._engine.value(f"SELECT count() FROM {self.table} WHERE blank AND record < {last}")
        fault = None
        if found["fault"]:
            before = self._engine.value(
                f"SELECT count() FROM {self.table} WHERE NOT blank AND record <= {int(found['fault_record'])}"
            )
            fault = (int(found["fault"]), int(before))
        return Judgement(
            Counts(
                rows_in=int(found["rows_in"]),
                rejected={code: int(n) for i, code in enumerate(reasons) if (n := found[f"reason_{i}"])},
                warnings={rule.code: int(n) for i, rule in enumerate(WARNINGS) if (n := found[f"warning_{i}"])},
            ),
            blank_lines_inside=int(inside),
            text_fault=fault,
            last_spans_lines=bool(found["last_spans_lines"]),
            needs_parser=bool(found["needs_parser"]),
            first_started_at=found["first_started_at"],
            last_started_at=found["last_started_at"],
        )

    def loaded(self, *, blank_lines_inside: int) -> str:
        """SELECT of `PROCESSED_COLUMNS` for the rows that are loaded, in the file's order."""
        return self._numbered(", ".join(PROCESSED_COLUMNS), _LOADED, blank_lines_inside)

    def refused(self, delimiter: str, *, blank_lines_inside: int) -> str:
        """SELECT of row number, reason and text for the rows that are refused, in the file's order.

        The text is the line as it was written. Where the file had to be parsed it is made of the fields
        again, with quotes only where they are needed.
        """
        special = rf'[{re.escape(delimiter)}"\r\n]'
        needs_quotes = f"match(field, {literal(special)})"
        quoted = """concat('"', replaceAll(field, '"', '""'), '"')"""
        there = "arrayMap(f -> assumeNotNull(f), arrayFilter(f -> f IS NOT NULL, fields))"
        fields = f"arrayMap(field -> if({needs_quotes}, {quoted}, field), {there})"
        text = f"if(empty(fields), line, arrayStringConcat({fields}, {literal(delimiter)}))"
        return self._numbered(
            f"row_number, toString(reason) AS reason, {text} AS raw", "reason != ''", blank_lines_inside
        )

    def sample(self, size: int, rows: int) -> Sequence[dict[str, Any]]:
        """A few loaded rows from all over the file, the same ones each time.

        Args:
            size: Most rows to give.
            rows: Rows that are loaded.
        """
        return self._engine.records(
            f"SELECT {', '.join(name for name in PROCESSED_COLUMNS if name != 'row_number')} FROM {self.table} "
            f"WHERE {_LOADED} AND record IN (SELECT record FROM {self.table} WHERE {_LOADED} "
            f"AND cityHash64(record) % {max(rows // (2 * size), 1)} = 0 ORDER BY cityHash64(record) LIMIT {int(size)}) "
            "ORDER BY cityHash64(record)"
        )

    def hand_over(self, file: Path, upload: str, upload_etag: str, *, blank_lines_inside: int) -> None:
        """Write the rows that are loaded to a file, in any order, for a warehouse on this machine."""
        columns = ", ".join(
            f"{literal({'upload': upload, 'upload_etag': upload_etag}[name])} AS {name}"
            if name in ("upload", "upload_etag")
            else name
            for name in HANDED_OVER_COLUMNS
        )
        select = self._numbered(columns, _LOADED, blank_lines_inside, in_order=False)
        self._engine.command(f"INSERT INTO FUNCTION {handed_over([file])} {select}")

    def _numbered(self, columns: str, condition: str, blank_lines_inside: int, *, in_order: bool = True) -> str:
        # the table is sorted by record: no need to sort
        order = " ORDER BY record" if in_order else ""
        if not blank_lines_inside:
            numbered = f"(SELECT *, record + 1 AS row_number FROM {self.table})"
            return f"SELECT {columns} FROM {numbered} WHERE {condition}{order}"
        # A blank line is no record: each one before a record lowers its number by one.
        return f"""
            SELECT {columns} FROM (
              SELECT judged.*, judged.record + 1 - blanks.position AS row_number
              FROM (SELECT *, 1 AS one FROM {self.table} WHERE NOT blank) AS judged
              ASOF LEFT JOIN (
                SELECT 1 AS one, record, row_number() OVER (ORDER BY record) AS position
                FROM {self.table} WHERE blank
              ) AS blanks ON judged.one = blanks.one AND judged.record > blanks.record
            ) WHERE {condition}{order}"""


_LOADED = "NOT blank AND reason = ''"


@contextmanager
def judged_records(engine: ClickHouse) -> Iterator[JudgedRecords]:
    """A scratch table for one upload's records, empty until `JudgedRecords.judge`, dropped afterwards."""
    engine.command(f"CREATE DATABASE IF NOT EXISTS {identifier(SCRATCH_DATABASE)}")
    records = JudgedRecords(engine)
    try:
        yield records
    finally:
        engine.command(f"DROP TABLE IF EXISTS {records.table} SYNC")
