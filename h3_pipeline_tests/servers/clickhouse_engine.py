"""The embedded engine behind the server: one connection per request, as ClickHouse has one context per query.

Where the engine differs from a server, and nothing here makes up for it: it gives every query an id of its own, so
``system.processes`` and ``KILL QUERY`` do not know the client's; it knows one user; Native results do not carry the
time zone of plain ``DateTime`` columns (the client then takes the server's, UTC).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb
from chdb.state.sqlitelike import Connection

from h3_pipeline_tests.servers.clickhouse_errors import ServerError
from h3_pipeline_tests.servers.clickhouse_sql import Statement

# The engine emits every block as a document of its own, so only formats without head and foot can be joined.
_STREAMED = {"Native", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "RowBinary", "JSONEachRow"}

# As a server has; with chDB's 2 a deletion waits a second for its turn.
_LIKE_A_SERVER = {"background_pool_size": "16"}


@dataclass(frozen=True)
class ExternalTable:
    """A temporary table that a request brings along.

    Attributes:
        structure: Its columns, such as ``a UInt8, b String``.
        format: The format of its data.
    """

    name: str
    structure: str
    format: str
    data: bytes


@dataclass(frozen=True)
class Context:
    """Where and how one statement runs.

    Attributes:
        session: SET and USE statements that ran before in the same session.
        database: The current database; the engine's or the session's if empty.
        settings: Settings of this statement only.
        parameters: Values of ``{name:Type}`` placeholders, escaped as in TSV.
        default_format: The format of a result whose statement names none.
        external: Temporary tables of this statement only.
    """

    session: Sequence[bytes] = ()
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    default_format: str = "TabSeparated"
    external: Sequence[ExternalTable] = ()


@dataclass
class Outcome:
    """What a statement gave.

    Attributes:
        pieces: The result's bytes; engine errors met on the way are raised as :class:`ServerError`.
        format: The result's format; ``None`` if the statement has no result.
        summary: ClickHouse's summary of the work, complete unless the result is streamed.
        timezone: The time zone that holds for the statement.
        compress: Whether responses may be compressed.
    """

    pieces: Iterable[bytes]
    format: str | None
    summary: dict[str, str]
    timezone: str
    compress: bool


class Engine:
    """A chDB engine on a path; there can be one per process.

    Args:
        path: Folder of the data; made if needed.
        options: chDB's start options by name, such as ``config-file``.
    """

    def __init__(self, path: Path, options: Mapping[str, str]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        options = _LIKE_A_SERVER | dict(options)
        self._url = f"{path}?{'&'.join(f'{name}={value}' for name, value in options.items())}"
        self._anchor = chdb.connect(self._url)  # the engine lives as long as any of its connections
        self.version = self._anchor.query("SELECT version()", "TSVRaw").bytes().decode().strip()

    def close(self) -> None:
        """Close the engine."""
        self._anchor.close()

    @contextmanager
    def run(self, statement: Statement, context: Context, data: Iterable[bytes], *, stream: bool) -> Iterator[Outcome]:
        """Run a statement; its outcome is valid inside the context.

        Args:
            statement: What to run.
            context: Where and how.
            data: The data of an INSERT.
            stream: Give the result while it is made, where its format allows.

        Raises:
            ServerError: If the engine refuses it.
        """
        with ExitStack() as held:
            connection = held.enter_context(chdb.connect(self._url))
            with _engine_errors():
                for earlier in context.session:
                    connection.query(earlier)  # type: ignore[arg-type]
                timezone, compress = _for_the_client(connection, context.settings)
                _load_external(connection, context.external)
                _configure(connection, context)
                if statement.data_offset is not None:
                    pieces, result_format, summary = [], None, _insert(connection, statement, data)
                else:
                    result_format = statement.format or context.default_format
                    if stream and statement.is_query and result_format in _STREAMED:
                        pieces, summary = _stream(held, connection, statement, result_format), _summary()
                    else:
                        pieces, result_format, summary = _whole(connection, statement, result_format)
            yield Outcome(pieces, result_format, summary, timezone, compress)


def quoted(value: str) -> str:
    """A string literal; ClickHouse turns it into whatever type a setting has."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # chDB's own errors are RuntimeErrors
        raise ServerError.from_engine(error) from error


def _configure(connection: Connection, context: Context) -> None:
    if context.database:
        connection.query(f"USE `{context.database.replace('`', '``')}`")
    for name in [*context.settings, *context.parameters]:
        if not re.fullmatch(r"\w+", name):
            raise ServerError.of(115, "UNKNOWN_SETTING", f"Unknown setting {quoted(name)}")
    changes = [f"{name} = {quoted(value)}" for name, value in context.settings.items()]
    changes = [f"param_{name} = {quoted(value)}" for name, value in context.parameters.items()] + changes
    if changes:
        # In one statement: ClickHouse checks all settings of a request against those before it, readonly included.
        connection.query(f"SET {', '.join(changes)}")


def _for_the_client(connection: Connection, settings: Mapping[str, str]) -> tuple[str, bool]:
    """The time zone and whether to compress. Asked before the statement's settings, which may limit any query."""
    sql = "SELECT timezone(), toString(getSetting('enable_http_compression'))"
    zone, compress = json.loads(connection.query(sql, "JSONCompactEachRow").bytes())
    compress = settings.get("enable_http_compression", compress)
    return settings.get("session_timezone") or zone, compress in {"1", "true"}


def _load_external(connection: Connection, tables: Iterable[ExternalTable]) -> None:
    for table in tables:
        connection.query(f"CREATE TEMPORARY TABLE `{table.name}` ({table.structure})")
        with connection.send_insert(f"INSERT INTO `{table.name}`", table.format) as inserter:
            inserter.append(table.data)
            inserter.finish()


def _insert(connection: Connection, statement: Statement, data: Iterable[bytes]) -> dict[str, str]:
    started = time.perf_counter_ns()
    with connection.send_insert(statement.text, statement.format or "") as inserter:  # type: ignore[arg-type]
        for piece in data:
            inserter.append(piece)
        result = inserter.finish()
    rows, size = result.rows_written, result.bytes_written
    return _summary(started, read_rows=rows, read_bytes=size, written_rows=rows, written_bytes=size)


def _whole(
    connection: Connection, statement: Statement, result_format: str
) -> tuple[list[bytes], str | None, dict[str, str]]:
    started = time.perf_counter_ns()
    result: Any = connection.query(statement.text, result_format)  # type: ignore[arg-type]
    body = result.bytes() or b""
    summary = _summary(
        started,
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        result_bytes=len(body),
    )
    # An empty result has no bytes in most formats; the statement's kind tells it from no result.
    return [body], result_format if body or statement.returns_rows else None, summary


def _stream(held: ExitStack, connection: Connection, statement: Statement, result_format: str) -> Iterator[bytes]:
    """Start at once, so that a statement that fails outright fails before the response begins."""
    result = connection.send_query(statement.text, result_format)  # type: ignore[arg-type]
    held.enter_context(result)  # ends before its connection, even if nobody reads it
    first = next(result, None)

    def pieces() -> Iterator[bytes]:
        with _engine_errors():
            block: Any = first
            while block is not None:
                yield block.bytes()
                block = next(result, None)

    return pieces()


def _summary(started: int | None = None, **counts: int) -> dict[str, str]:
    names = ("read_rows", "read_bytes", "written_rows", "written_bytes", "result_rows", "result_bytes")
    summary = {name: str(counts.get(name, 0)) for name in names}
    elapsed = time.perf_counter_ns() - started if started else 0
    return {**summary, "total_rows_to_read": "0", "elapsed_ns": str(elapsed)}
