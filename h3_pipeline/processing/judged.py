"""The scratch table of one upload's judged records, and the questions asked of it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.processing.manifest import Counts
from h3_pipeline.sql import identifier, literal
from h3_pipeline.storage.named_collection import S3_SETTINGS
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline.trips.rules import REASONS, WARNINGS
from h3_pipeline.trips.select import JUDGED_COLUMNS, judged_trips, read_settings
from h3_pipeline.trips.upload import UploadDescription

SCRATCH_DATABASE = "h3_pipeline_scratch"
"""Belongs to whoever has the engine open: what is found in it was left by a process that died."""

_INSERT_SETTINGS = {
    # one block in the making bounds the memory; larger ones gain nothing here
    "max_insert_block_size": 262_144,
    "min_insert_block_size_rows": 262_144,
    "min_insert_block_size_bytes": 64 * 1024 * 1024,
    "max_block_size": 65_536,
    # planning and compiling so long a statement takes longer than reading a small file with it
    "query_plan_merge_expressions": 0,
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
        first_started_at: Earliest departure among loaded rows, or None.
        last_started_at: Latest departure among loaded rows, or None.
    """

    counts: Counts
    blank_lines_inside: int
    text_fault: tuple[int, int] | None
    last_spans_lines: bool
    first_started_at: Any
    last_started_at: Any


class JudgedRecords:
    """One upload's records in the scratch table."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine
        self.table = f"{identifier(SCRATCH_DATABASE)}.judged"

    def scan(self) -> Judgement:
        """Count everything, in one pass."""
        reasons = list(dict.fromkeys(rule.code for rule in REASONS))
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
            first_started_at=found["first_started_at"],
            last_started_at=found["last_started_at"],
        )

    def loaded(self, *, blank_lines_inside: int) -> str:
        """SELECT of `PROCESSED_COLUMNS` for the rows that are loaded, in the file's order."""
        return self._numbered(", ".join(PROCESSED_COLUMNS), _LOADED, blank_lines_inside)

    def refused(self, delimiter: str, *, blank_lines_inside: int) -> str:
        """SELECT of row number, reason and text for the rows that are refused, in the file's order.

        The text is the record as CSV, with quotes only where they are needed.
        """
        special = rf'[{re.escape(delimiter)}"\r\n]'
        needs_quotes = f"match(field, {literal(special)})"
        quoted = """concat('"', replaceAll(field, '"', '""'), '"')"""
        there = "arrayMap(f -> assumeNotNull(f), arrayFilter(f -> f IS NOT NULL, fields))"
        fields = f"arrayMap(field -> if({needs_quotes}, {quoted}, field), {there})"
        text = f"arrayStringConcat({fields}, {literal(delimiter)})"
        return self._numbered(f"row_number, reason, {text} AS raw", "reason != ''", blank_lines_inside)

    def sample(self, size: int) -> Sequence[dict[str, Any]]:
        """A few loaded rows from all over the file, the same ones each time."""
        return self._engine.records(
            f"SELECT {', '.join(name for name in PROCESSED_COLUMNS if name != 'row_number')} FROM {self.table} "
            f"WHERE {_LOADED} ORDER BY cityHash64(record) LIMIT {int(size)}"
        )

    def _numbered(self, columns: str, condition: str, blank_lines_inside: int) -> str:
        if not blank_lines_inside:
            numbered = f"(SELECT *, record + 1 AS row_number FROM {self.table})"
            return f"SELECT {columns} FROM {numbered} WHERE {condition} ORDER BY record"
        # A blank line is no record: each one before a record lowers its number by one.
        return f"""
            SELECT {columns} FROM (
              SELECT judged.*, judged.record + 1 - blanks.position AS row_number
              FROM (SELECT *, 1 AS one FROM {self.table} WHERE NOT blank) AS judged
              ASOF LEFT JOIN (
                SELECT 1 AS one, record, row_number() OVER (ORDER BY record) AS position
                FROM {self.table} WHERE blank
              ) AS blanks ON judged.one = blanks.one AND judged.record > blanks.record
            ) WHERE {condition} ORDER BY row_number"""


_LOADED = "NOT blank AND reason = ''"


@contextmanager
def judge(engine: ClickHouse, upload: UploadDescription, source: str, resolution: int) -> Iterator[JudgedRecords]:
    """Read and judge every record of an upload into a scratch table, dropped afterwards.

    Args:
        engine: The task engine.
        upload: How to read the upload.
        source: Table expression over its records (`source.Source.records`).
        resolution: H3 resolution of the cells.
    """
    database = identifier(SCRATCH_DATABASE)
    records = JudgedRecords(engine)
    columns = ", ".join(f"{name} {kind}" for name, kind in JUDGED_COLUMNS)
    engine.command(f"DROP DATABASE IF EXISTS {database} SYNC")
    engine.command(f"CREATE DATABASE {database}")
    try:
        engine.command(f"CREATE TABLE {records.table} ({columns}) ENGINE = MergeTree ORDER BY record")
        settings = {**read_settings(upload), **_INSERT_SETTINGS, **S3_SETTINGS}
        engine.command(f"INSERT INTO {records.table} {judged_trips(upload, source, resolution)}", settings=settings)
        yield records
    finally:
        engine.command(f"DROP DATABASE IF EXISTS {database} SYNC")
