"""Runs an export: asks the warehouse once, and makes every file from the one answer.

The query runs as a user who may only read, into one Parquet file beside the task's engine. Only that
engine, which holds nothing, writes the other tables; so the query of a person never stands in a
statement that writes, and the embedded warehouse is closed again before the files are made.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.errors import ExportError, WarehouseError
from h3_pipeline.exports.binding import Bound, bind
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.columns import FileColumn, UnsupportedColumn, file_columns
from h3_pipeline.exports.header import Format
from h3_pipeline.exports.local_copy import keep_copy
from h3_pipeline.exports.publication import ExportFile, ExportManifest, Place, new_version, prune, publish, sha256
from h3_pipeline.exports.result import RAW_FORMAT, Result, engine_format, read_back, structure
from h3_pipeline.exports.sources import Sources, sources
from h3_pipeline.processing.engine import open_engine_in, task_folder
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import s3_table
from h3_pipeline.warehouse.read_only import OnWait, Reader, open_reader

PREVIEW_ROWS = 10

MAX_SECONDS = 3600
_SERVER_MEMORY_BYTES = 8_000_000_000
_EMBEDDED_MEMORY_BYTES = 800_000_000
_SPILL_SHARE = 3  # what a third of the memory does not hold goes to disk

_ATTEMPTS = 3
"""Tries to read tables that nobody publishes to meanwhile."""

MEDIA_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.CSV_GZ: "application/gzip",
    Format.CSV_ZST: "application/zstd",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.file",
    Format.GEOJSON: "application/geo+json",
    Format.GEOPARQUET: "application/vnd.apache.parquet",
    Format.MAP: "text/html; charset=utf-8",
}

OnStage = Callable[[str], None]


def _unheard(_: str) -> None:
    """For callers that need not be told."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file, read back from the bucket.

    Attributes:
        format: As headers call it.
        expected: What it must give: rows and their checksum, or the digest of its bytes.
        found: What it gave.
    """

    format: str
    expected: str
    found: str

    @property
    def equal(self) -> bool:
        """Whether it is what was written."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Exported:
    """What a run of an export made.

    Attributes:
        manifest: The record in the bucket.
        place: Where its versions lie.
        is_latest: Whether ``latest.json`` names it.
        preview: Its first rows.
        recounted: Rows that the query gave when it was counted again.
        undisturbed: Whether nothing was published while the query ran.
        checks: Every file, read back.
        removed: Old versions that were removed.
        picture: Small PNG of its map; None where it has no map.
        folder: Copies on this machine's disk; None where the warehouse is a server, or nothing was published.
    """

    manifest: ExportManifest
    place: Place
    is_latest: bool
    preview: Sequence[Mapping[str, Any]]
    recounted: int
    undisturbed: bool
    checks: Sequence[FileCheck]
    removed: Sequence[str]
    picture: bytes | None
    folder: Path | None

    @property
    def damaged(self) -> list[FileCheck]:
        """Files that read back as something else; with any of them the version was not published."""
        return [check for check in self.checks if not check.equal]


@dataclass(frozen=True, slots=True)
class _Answer:
    described: list[tuple[str, str]]
    rows: int
    sources: Sources
    undisturbed: bool


def run_export(
    bound: Bound,
    *,
    settings: Settings,
    bucket: Bucket,
    run_id: str = "",
    on_stage: OnStage = _unheard,
    on_wait: OnWait = _unheard,
) -> Exported:
    """Write a new version of an export.

    Args:
        bound: The query and its parameters.
        settings: Which warehouse, and how many versions stay.
        bucket: Where the files go.
        run_id: Dagster run, for the manifest.
        on_stage: Told the name of each stage as it begins.
        on_wait: Told, in words, that another process has the embedded warehouse open.

    Raises:
        ExportError: The query or its result is not what the header says; nothing was published.
        WarehouseError: The warehouse cannot be reached.
        StorageError: The bucket cannot be reached.
    """
    began, started = time.monotonic(), datetime.now(UTC)
    query, place = bound.query, bound.place
    name = new_version(started)
    with task_folder(settings.home) as folder:
        on_stage("ask")
        raw = folder / f"result.{RAW_FORMAT.lower()}"
        answer = _ask(bound, settings, raw, on_wait)
        result = _result(query, answer, raw)
        files = folder / "files"
        files.mkdir()
        with open_engine_in(folder, bucket.access) as engine:
            _check_cells(query, result, engine)
            on_stage("write")
            paths = _write(query, result, engine, files, started)
            picture = _picture(query, result, started)
            on_stage("send")
            sent = _send(bucket, place, name, paths)
            on_stage("read back")
            checks = [_check(bucket, engine, result, output, file) for output, file in sent.items()]
            preview = result.head(engine, PREVIEW_ROWS)
            checksum = result.checksum(engine, Format.PARQUET)
        manifest = ExportManifest(
            name=query.name,
            title=query.header.title,
            version=name,
            created_at=started.isoformat(timespec="seconds"),
            partition=place.partition,
            query=query.text,
            parameters=dict(bound.values),
            rows=result.rows,
            columns=[{"name": column.name, "type": column.type} for column in result.columns],
            checksum=checksum,
            files=list(sent.values()),
            sources=answer.sources.to_json(),
            code_version=version("h3_pipeline"),
            run_id=run_id,
            seconds=round(time.monotonic() - began, 3),
        )
        on_stage("publish")
        whole = all(check.equal for check in checks)
        is_latest = whole and publish(bucket, place, manifest)
        removed = prune(bucket, place, settings.h3_exports_keep)
        copy = _copy(settings, place, name, paths) if whole else None
    return Exported(
        manifest, place, is_latest, preview, answer.rows, answer.undisturbed, checks, removed, picture, copy
    )


def check_query(bound: Bound, reader: Reader) -> list[tuple[str, str]]:
    """Ask the engine whether it can run a query; it is not run.

    Returns:
        Names and ClickHouse types of the result's columns.

    Raises:
        WarehouseError: It cannot, or the query could do more than read.
    """
    statement = reader.select(bound.query.text, bound.values)
    return [(str(row[0]), str(row[1])) for row in reader.rows(f"DESCRIBE TABLE ({statement})", bound.values)]


@contextmanager
def blaming(query: Query) -> Iterator[None]:
    """Says of an engine's refusal which file is meant, and which line where that can be told."""
    try:
        yield
    except WarehouseError as error:
        cause = error if isinstance(error, QueryError) else error.__cause__
        if isinstance(cause, QueryError) and cause.code is None:
            raise  # the connection's fault
        raise query.engine_fault(str(error)) from None


def limits(settings: Settings) -> dict[str, int]:
    """ClickHouse settings that bound an export's query."""
    memory = _EMBEDDED_MEMORY_BYTES if settings.embedded else _SERVER_MEMORY_BYTES
    return {
        "max_execution_time": MAX_SECONDS,
        "max_memory_usage": memory,
        "max_bytes_before_external_group_by": memory // _SPILL_SHARE,
        "max_bytes_before_external_sort": memory // _SPILL_SHARE,
    }


def _ask(bound: Bound, settings: Settings, target: Path, on_wait: OnWait) -> _Answer:
    """The query's result in a file, from tables that did not change meanwhile if that can be had."""
    with open_reader(settings, limits=limits(settings), on_wait=on_wait) as reader, blaming(bound.query):
        described = check_query(bound, reader)
        statement = reader.select(bound.query.text, bound.values)
        for attempt in range(1, _ATTEMPTS + 1):
            before = sources(reader)
            target.unlink(missing_ok=True)
            reader.to_file(statement, RAW_FORMAT, target, bound.values)
            rows = int(reader.rows(f"SELECT count() FROM ({statement})", bound.values)[0][0])
            undisturbed = sources(reader).digest == before.digest
            if undisturbed or attempt == _ATTEMPTS:
                return _Answer(described, rows, before, undisturbed)
    raise AssertionError("the last attempt returns")


def _columns(query: Query, described: Sequence[tuple[str, str]]) -> list[FileColumn]:
    """Columns of the files, if the result has all that the header speaks of."""
    names = [name for name, _ in described]
    for path, column in query.header.columns().items():
        if column not in names:
            raise query.fault(path, f"the result has no column {column!r}; its columns are {', '.join(names)}")
    try:
        return file_columns(described, query.header.cells)
    except UnsupportedColumn as error:
        raise ExportError(f"{query.filename}: {error}") from None


def _result(query: Query, answer: _Answer, raw: Path) -> Result:
    columns = _columns(query, answer.described)
    import pyarrow.parquet as pq  # it takes a while, and listing exports needs none of it

    return Result(raw, answer.described, columns, pq.read_metadata(raw).num_rows)


def _check_cells(query: Query, result: Result, engine: ClickHouse) -> None:
    if not query.header.cells:
        return
    for column, count in result.invalid_cells(engine, query.header.cells).items():
        key = "cell" if query.header.cell else "flow"
        raise query.fault((key,), f"{count:,} of {result.rows:,} values of {column!r} are no H3 cells")


def _write(query: Query, result: Result, engine: ClickHouse, folder: Path, at: datetime) -> list[Path]:
    """Every file, in the order of the header."""
    from h3_pipeline.exports import shapes

    cells = query.header.cells
    table = folder.parent / "table.parquet"
    if {Format.GEOJSON, Format.GEOPARQUET} & set(query.header.formats):
        result.write(engine, Format.PARQUET, table)
    paths = []
    for output in query.header.formats:
        target = folder / f"{query.name}.{output.value}"
        match output:
            case Format.GEOJSON:
                shapes.write_geojson(table, cells, target)
            case Format.GEOPARQUET:
                shapes.write_geoparquet(table, cells, target)
            case Format.MAP:
                from h3_pipeline.exports.atlas import write_map

                write_map(query, result.file, target, at)
            case _:
                result.write(engine, output, target)
        paths.append(target)
    return paths


def _picture(query: Query, result: Result, at: datetime) -> bytes | None:
    if Format.MAP not in query.header.formats:
        return None
    from h3_pipeline.exports.atlas import picture

    return picture(query, result.file, at)


def _send(bucket: Bucket, place: Place, name: str, paths: Sequence[Path]) -> dict[Format, ExportFile]:
    sent = {}
    for path in paths:
        output = Format(path.name.split(".", 1)[1])
        key = place.key(name, path.name)
        sent[output] = ExportFile(output.header_name, key, path.stat().st_size, sha256(path))
        bucket.upload(path, key, content_type=MEDIA_TYPES[output])
    return sent


def _copy(settings: Settings, place: Place, name: str, paths: Sequence[Path]) -> Path | None:
    return keep_copy(settings.home, place, name, paths, settings.h3_exports_keep) if settings.embedded else None


def _check(bucket: Bucket, engine: ClickHouse, result: Result, output: Format, file: ExportFile) -> FileCheck:
    """Read a file back: a table row by row through the engine, anything else as bytes."""
    name = engine_format(output)
    if name is None:
        return FileCheck(file.format, file.sha256, bucket.sha256(file.key))
    source = s3_table(file.key, csv_format=name, structure=structure(result.columns))
    expected = f"{result.rows} rows, {result.checksum(engine, output)}"
    try:
        rows, checksum = read_back(engine, result.columns, source)
    except QueryError as error:
        if error.passing:
            raise  # the store's fault, not the file's
        return FileCheck(file.format, expected, str(error))
    return FileCheck(file.format, expected, f"{rows} rows, {checksum}")


def last_day(settings: Settings, *, on_wait: OnWait = _unheard) -> date | None:
    """The last day, by local time, on which a trip departed; None where there are no trips."""
    with open_reader(settings, limits=limits(settings), on_wait=on_wait) as reader:
        ((rows, day),) = reader.rows(
            "SELECT count(), max(toDate(hour + toIntervalMinute(utc_offset_minutes), 'UTC')) FROM cell_hourly "
            "WHERE resolution = (SELECT min(resolution) FROM cell_hourly) AND departures > 0"
        )
    return day if rows else None


def explain_queries(queries: Sequence[Query], settings: Settings, *, on_wait: OnWait = _unheard) -> None:
    """Ask the warehouse whether it can run queries, with their defaults; none is run.

    Raises:
        ExportError: It cannot run one, or its result is not what its header says.
        WarehouseError: The warehouse cannot be opened.
    """
    with open_reader(settings, limits=limits(settings), on_wait=on_wait) as reader:
        for query in queries:
            partition = query.header.partition.containing(query.header.first_partition)
            bound = bind(query, {}, partition, settings.h3_rollup_resolutions)
            with blaming(query):
                described = check_query(bound, reader)
            _columns(query, described)
