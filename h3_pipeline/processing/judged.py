"""The scratch table of judged records, and the questions asked of it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.short_lived import NEVER_MERGED
from h3_pipeline.processing.handover import HANDED_OVER_COLUMNS, to_be_handed_over
from h3_pipeline.processing.manifest import Counts
from h3_pipeline.sql import identifier, literal, mapped
from h3_pipeline.storage.named_collection import S3_SETTINGS
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline.trips.rules import REASON_CODES, WARNINGS
from h3_pipeline.trips.select import JUDGED_COLUMNS, Reading, judged_trips, read_settings
from h3_pipeline.trips.upload import UploadDescription

SCRATCH_DATABASE = "h3_pipeline_scratch"
"""Belongs to whoever has the engine open: what is found in it was left by a process that died."""

REFUSED_COLUMNS = ("row_number", "reason", "raw")

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
    """What a scan of an upload's judged records found.

    Attributes:
        upload_number: Which of the uploads that were judged at once.
        counts: Rows by outcome.
        blank_lines_inside: Blank lines that a record follows.
        text_fault: ``(kind, row number)`` of the first record with bytes that are no text, or None.
        last_spans_lines: Whether the last record holds a line end inside a field.
        needs_parser: Whether a line was met that cannot be read as a record: nothing else here counts then.
        first_started_at: Earliest departure among loaded rows, or None.
        last_started_at: Latest departure among loaded rows, or None.
    """

    upload_number: int
    counts: Counts
    blank_lines_inside: int = 0
    text_fault: tuple[int, int] | None = None
    last_spans_lines: bool = False
    needs_parser: bool = False
    first_started_at: Any = None
    last_started_at: Any = None


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Where an upload's trips are left.

    Attributes:
        judgement: The upload, as it was judged.
        upload: Its key.
        upload_etag: Its version.
        file: A file that does not exist.
    """

    judgement: Judgement
    upload: str
    upload_etag: str
    file: Path


class JudgedRecords:
    """The records in the scratch table: one upload's, or those of several that were judged at once."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine
        self.table = f"{identifier(SCRATCH_DATABASE)}.judged_{uuid4().hex}"

    def judge(
        self, upload: UploadDescription, source: str, resolution: int, reading: Reading, upload_number: str = "0"
    ) -> None:
        """Read and judge every record.

        Args:
            upload: How to read the upload, or all of the uploads.
            source: Table expression over it, as `reading` needs it (`source.Source.of`).
            resolution: H3 resolution of the cells.
            reading: How records are read.
            upload_number: SQL for the number of the upload that a record of the source is from.
        """
        columns = ", ".join(f"{name} {kind}" for name, kind in JUDGED_COLUMNS)
        self._engine.command(f"DROP TABLE IF EXISTS {self.table} SYNC")
        self._engine.command(
            f"CREATE TABLE {self.table} ({columns}) ENGINE = MergeTree ORDER BY (upload_number, record) "
            f"SETTINGS {NEVER_MERGED}"
        )
        settings = {**read_settings(upload), **_INSERT_SETTINGS, **S3_SETTINGS}
        select = judged_trips(upload, source, resolution, reading, upload_number)
        self._engine.command(f"INSERT INTO {self.table} {select}", settings=settings)

    def scan(self) -> Judgement:
        """What was found of the one upload that was judged."""
        return self.scan_all().get(0) or Judgement(0, Counts(rows_in=0))

    def scan_all(self) -> dict[int, Judgement]:
        """What was found, by number of the upload; one without any record is missing."""
        reasons = REASON_CODES[1:]
        by_reason = ", ".join(f"countIf(reason = '{code}') AS reason_{i}" for i, code in enumerate(reasons))
        by_warning = ", ".join(f"countIf(bitTest(warnings, {i})) AS warning_{i}" for i in range(len(WARNINGS)))
        found = self._engine.records(
            f"""
            SELECT upload_number,
                   countIf(NOT blank) AS rows_in,
                   maxIf(record, NOT blank) AS last_record,
                   countIf(blank) AS blanks,
                   minIf(record, text_fault > 0) AS fault_record,
                   argMinIf(text_fault, record, text_fault > 0) AS fault,
                   argMaxIf(spans_lines, record, NOT blank) AS last_spans_lines,
                   max(needs_parser) AS needs_parser,
                   minIf(started_at, {_LOADED}) AS first_started_at,
                   maxIf(started_at, {_LOADED}) AS last_started_at,
                   {by_reason}, {by_warning}
            FROM {self.table} GROUP BY upload_number"""
        )
        return {int(each["upload_number"]): self._judgement(each) for each in found}

    def _judgement(self, found: Mapping[str, Any]) -> Judgement:
        number = int(found["upload_number"])
        of_upload = f"FROM {self.table} WHERE upload_number = {number}"
        inside = 0
        if found["blanks"]:
            last = int(found["last_record"])
            inside = self._engine.value(f"SELECT count() {of_upload} AND blank AND record < {last}")
        fault = None
        if found["fault"]:
            before = self._engine.value(
                f"SELECT count() {of_upload} AND NOT blank AND record <= {int(found['fault_record'])}"
            )
            fault = (int(found["fault"]), int(before))
        return Judgement(
            number,
            Counts(
                rows_in=int(found["rows_in"]),
                rejected={code: int(n) for i, code in enumerate(REASON_CODES[1:]) if (n := found[f"reason_{i}"])},
                warnings={rule.code: int(n) for i, rule in enumerate(WARNINGS) if (n := found[f"warning_{i}"])},
            ),
            blank_lines_inside=int(inside),
            text_fault=fault,
            last_spans_lines=bool(found["last_spans_lines"]),
            needs_parser=bool(found["needs_parser"]),
            first_started_at=found["first_started_at"],
            last_started_at=found["last_started_at"],
        )

    def loaded(self, judgements: Sequence[Judgement]) -> str:
        """SELECT of `PROCESSED_COLUMNS` for rows that are loaded, in each file's order.

        Of several uploads, ``upload_number`` comes first.
        """
        return self._numbered(_with_number(", ".join(PROCESSED_COLUMNS), judgements), _LOADED, judgements)

    def refused(self, judgements: Sequence[Judgement], delimiter: str) -> str:
        """SELECT of `REFUSED_COLUMNS` for rows that are refused, in each file's order.

        Of several uploads, ``upload_number`` comes first.
        The text is the line as it was written. Where the file had to be parsed it is made of the fields
        again, with quotes only where they are needed.
        """
        special = rf'[{re.escape(delimiter)}"\r\n]'
        needs_quotes = f"match(field, {literal(special)})"
        quoted = """concat('"', replaceAll(field, '"', '""'), '"')"""
        there = "arrayMap(f -> assumeNotNull(f), arrayFilter(f -> f IS NOT NULL, fields))"
        fields = f"arrayMap(field -> if({needs_quotes}, {quoted}, field), {there})"
        text = f"if(empty(fields), line, arrayStringConcat({fields}, {literal(delimiter)}))"
        columns = f"row_number, toString(reason) AS reason, {text} AS raw"
        return self._numbered(_with_number(columns, judgements), "reason != ''", judgements)

    def samples(self, judgements: Sequence[Judgement], size: int) -> dict[int, list[dict[str, Any]]]:
        """A few loaded rows from all over each upload, the same ones each time, by number of the upload.

        Args:
            judgements: The uploads.
            size: Most rows of each.
        """
        one_in = {each.upload_number: max(each.counts.rows_loaded // (2 * size), 1) for each in judgements}
        columns = ", ".join(name for name in PROCESSED_COLUMNS if name != "row_number")
        chosen = (
            f"SELECT upload_number, record FROM {self.table} WHERE {_of(judgements)} AND {_LOADED} "
            f"AND cityHash64(record) % {_by_upload(one_in)} = 0 "
            f"ORDER BY cityHash64(record) LIMIT {int(size)} BY upload_number"
        )
        found = self._engine.records(
            f"SELECT upload_number, {columns} FROM {self.table} WHERE {_of(judgements)} AND {_LOADED} "
            f"AND (upload_number, record) IN ({chosen}) ORDER BY upload_number, cityHash64(record)"
        )
        samples: dict[int, list[dict[str, Any]]] = {each.upload_number: [] for each in judgements}
        for row in found:
            samples[int(row.pop("upload_number"))].append(row)
        return samples

    def hand_over(self, uploads: Sequence[HandedOver]) -> None:
        """Write each upload's rows that are loaded to a file in the same folder, in any order, for a warehouse here."""
        expressions = {
            "upload": _by_upload({each.judgement.upload_number: each.upload for each in uploads}),
            "upload_etag": _by_upload({each.judgement.upload_number: each.upload_etag for each in uploads}),
        }
        columns = ", ".join(expressions.get(name, name) for name in HANDED_OVER_COLUMNS)
        select = self._numbered(columns, _LOADED, [each.judgement for each in uploads], in_order=False)
        target = to_be_handed_over({each.upload: each.file for each in uploads})
        self._engine.command(f"INSERT INTO FUNCTION {target} {select}")

    def _numbered(self, columns: str, condition: str, judgements: Sequence[Judgement], *, in_order: bool = True) -> str:
        # the table is sorted by these: no need to sort
        order = " ORDER BY upload_number, record" if in_order else ""
        uploads = _of(judgements)
        if not any(judgement.blank_lines_inside for judgement in judgements):
            numbered = "WITH record + 1 AS row_number"
            return f"{numbered} SELECT {columns} FROM {self.table} WHERE {uploads} AND {condition}{order}"
        # A blank line is no record: each one before a record lowers its number by one.
        return f"""
            SELECT {columns} FROM (
              SELECT judged.*, judged.record + 1 - blanks.position AS row_number
              FROM (SELECT * FROM {self.table} WHERE {uploads} AND NOT blank) AS judged
              ASOF LEFT JOIN (
                SELECT upload_number, record, row_number() OVER (PARTITION BY upload_number ORDER BY record) AS position
                FROM {self.table} WHERE {uploads} AND blank
              ) AS blanks ON judged.upload_number = blanks.upload_number AND judged.record > blanks.record
            ) WHERE {condition}{order}"""


def _with_number(columns: str, judgements: Sequence[Judgement]) -> str:
    return columns if len(judgements) == 1 else f"upload_number, {columns}"


def _of(judgements: Sequence[Judgement]) -> str:
    """SQL condition: a record is of these uploads."""
    return f"upload_number IN ({', '.join(str(judgement.upload_number) for judgement in judgements)})"


def _by_upload(values: Mapping[int, str | int]) -> str:
    """SQL for what belongs to a record's upload, by its number; for a record of another upload, any of them."""
    first, *others = values.values()
    if not others:
        return literal(first)
    return mapped("upload_number", values, otherwise=first)


_LOADED = "NOT blank AND reason = ''"


@contextmanager
def judged_records(engine: ClickHouse) -> Iterator[JudgedRecords]:
    """A scratch table for records, empty until `JudgedRecords.judge`, dropped afterwards."""
    engine.command(f"CREATE DATABASE IF NOT EXISTS {identifier(SCRATCH_DATABASE)}")
    records = JudgedRecords(engine)
    try:
        yield records
    finally:
        engine.command(f"DROP TABLE IF EXISTS {records.table} SYNC")
