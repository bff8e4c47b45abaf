"""Queries of people: read-only because the engine says so, within limits of time, memory and rows.

The embedded engine is opened as a user who may SELECT and SHOW and nothing else, with no bucket
and no credential in reach; a server is asked with ``readonly = 1``. Neither stops everything, and
what is left is told from the engine's own parse of the statement, never from its words:

* ``INTO OUTFILE`` is done by the client, so it escapes the engine's permissions;
* the function ``file()`` reads any file where the engine is embedded;
* ``BACKUP`` writes, and ``KILL`` ends queries, even with ``readonly = 1``.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse, Parameters, QueryError
from h3_pipeline.clickhouse.embedded import element, open_embedded
from h3_pipeline.clickhouse.short_lived import NO_MERGES
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.sql import literal
from h3_pipeline.warehouse.connect import open_server, open_warehouse

logger = logging.getLogger(__name__)

MAX_SECONDS = 60
MAX_MEMORY_BYTES = 800_000_000
MAX_RESULT_ROWS = 10_000_000
MAX_RESULT_BYTES = 500_000_000

TABLE_ROWS_COUNTED = 10_000
"""A table counts its rows up to here; beyond, it only says that there are more."""

FORMATS = {"csv": "CSVWithNames", "json": "JSONEachRow", "parquet": "Parquet"}
"""Formats that a result can be written in, and ClickHouse's names for them."""

_TABLE_FORMAT = "JSONCompactEachRowWithNamesAndTypes"

_LIMITS = {
    "readonly": 1,
    "max_execution_time": MAX_SECONDS,
    "max_memory_usage": MAX_MEMORY_BYTES,
    "max_result_rows": MAX_RESULT_ROWS,
    "max_result_bytes": MAX_RESULT_BYTES,
    "result_overflow_mode": "throw",
}
_JSON = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_json_array_of_rows": 1,
}
_TABLE = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 1,
    "limit": TABLE_ROWS_COUNTED + 1,
}

# Lines of EXPLAIN AST. The condition of a SHOW is not in it, hence the statement's text for those.
_BEYOND_READ_ONLY = re.compile(r"^(BackupQuery|KillQueryQuery)|^ +Function file\b", re.MULTILINE)
_SHOW = re.compile(r"Show")
_SELECT = re.compile(r"Select")

OnWait = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """The first rows of a result.

    Attributes:
        names: Column names.
        types: Their ClickHouse types.
        rows: At most as many rows as were asked for. Numbers are the engine's own text.
        total: Rows in the result; only a lower bound if `complete` does not hold.
        complete: Whether all rows were counted.
    """

    names: list[str]
    types: list[str]
    rows: list[list[Any]]
    total: int
    complete: bool


class Reader:
    """Runs statements that can only read. Every method raises `WarehouseError` for what the engine refuses.

    Args:
        engine: The engine; the embedded one is open as a user who may only read.
        restrictions: Settings of every statement on a server; None for the embedded engine, whose user has them.
        limits: What bounds every statement, for messages.
    """

    def __init__(self, engine: ClickHouse, restrictions: Mapping[str, Any] | None, limits: Mapping[str, Any]) -> None:
        self._engine = engine
        self._restrictions = restrictions
        self._limits = limits

    def checked(self, sql: str, parameters: Parameters | None = None) -> str:
        """A statement as the engine prints it, without comments and semicolons.

        Raises:
            WarehouseError: It is none, it is several, or something in it can escape.
        """
        with _explained(self._engine, self._limits):
            return _checked(self._engine, sql, parameters)

    def select(self, sql: str, parameters: Parameters | None = None) -> str:
        """Like `checked`, of a SELECT: what can stand in another statement as a table.

        Raises:
            WarehouseError: It is no SELECT, it is several, or something in it can escape.
        """
        with _explained(self._engine, self._limits):
            return _select(self._engine, sql, parameters)

    def rows(self, sql: str, parameters: Parameters | None = None) -> Sequence[Sequence[Any]]:
        """Rows of a checked statement, or of one of this project's own; they must be few."""
        with _explained(self._engine, self._limits):
            return self._engine.rows(sql, parameters, self._restrictions)

    def to_file(self, statement: str, engine_format: str, target: Path, parameters: Parameters | None = None) -> None:
        """Write the result of a checked statement to a file that does not exist, with bounded memory.

        Args:
            statement: What `checked` returned.
            engine_format: ClickHouse's name of the format.
            target: The file.
            parameters: Values of its ``{name:Type}`` placeholders.
        """
        with _explained(self._engine, self._limits):
            if self._restrictions is None:
                # the engine writes the file itself, so that no result has to fit in memory
                self._engine.raw(f"{statement}\nINTO OUTFILE {literal(str(target))}", engine_format, parameters)
            else:
                self._engine.raw_to_file(statement, engine_format, target, parameters, self._restrictions)


def parsed_select(engine: ClickHouse, sql: str, parameters: Parameters) -> str:
    """What `Reader.select` gives, by any engine: the statement is parsed, and its tables need not exist.

    Raises:
        WarehouseError: It is no SELECT, it is several, or something in it can escape.
    """
    with _explained(engine, _LIMITS):
        return _select(engine, sql, parameters)


@contextmanager
def open_reader(
    settings: Settings, *, limits: Mapping[str, Any] = _LIMITS, on_wait: OnWait = logger.info
) -> Iterator[Reader]:
    """The warehouse, with its tables up to date, for statements that can only read.

    Args:
        settings: Which warehouse.
        limits: ClickHouse settings that bound every statement.
        on_wait: Told, in words, that another process has the embedded warehouse open.

    Raises:
        WarehouseError: It cannot be opened.
    """
    if not settings.embedded:
        with open_server(settings, on_wait=on_wait) as engine:
            yield Reader(engine, _server_settings(engine, {"readonly": 1, **limits}), limits)
        return
    # brings the tables up to date, which the reader may not
    with open_warehouse(settings, None, on_wait=on_wait):
        pass
    with _reader(settings, {"readonly": 1, **limits}, on_wait) as engine:
        yield Reader(engine, None, limits)


def query_to_file(settings: Settings, sql: str, output_format: str, target: Path, *, on_wait: OnWait) -> None:
    """Run a query and write its result to a file.

    Args:
        settings: Which warehouse.
        sql: One statement that returns rows.
        output_format: One of `FORMATS`.
        target: File to write; must not exist.
        on_wait: Told, in words, that another process has the embedded warehouse open.

    Raises:
        WarehouseError: The engine refused the statement, or it exceeded a limit.
    """
    _run(settings, sql, FORMATS[output_format], _JSON, target, on_wait)


def query_table(settings: Settings, sql: str, *, max_rows: int, on_wait: OnWait) -> ResultTable:
    """Run a query and return the first rows of its result.

    Raises:
        WarehouseError: The engine refused the statement, or it exceeded a limit.
    """
    with tempfile.TemporaryDirectory(prefix="h3-pipeline-") as folder:
        target = Path(folder) / "result"
        _run(settings, sql, _TABLE_FORMAT, _TABLE, target, on_wait)
        with target.open(encoding="utf-8", errors="replace") as lines:
            names, types = json.loads(next(lines, "[]")), json.loads(next(lines, "[]"))
            rows: list[list[Any]] = []
            total = 0
            for line in lines:
                total += 1
                if len(rows) < max_rows:
                    rows.append(json.loads(line, parse_int=str, parse_float=str))
    complete = total <= TABLE_ROWS_COUNTED
    return ResultTable(names, types, rows, min(total, TABLE_ROWS_COUNTED), complete)


def _run(
    settings: Settings,
    sql: str,
    engine_format: str,
    format_settings: Mapping[str, Any],
    target: Path,
    on_wait: OnWait,
) -> None:
    with open_reader(settings, limits={**_LIMITS, **format_settings}, on_wait=on_wait) as reader:
        reader.to_file(reader.checked(sql), engine_format, target)


def _checked(engine: ClickHouse, sql: str, parameters: Parameters | None) -> str:
    """The statement as the engine prints it, without comments and semicolons, if nothing can escape."""
    statement = _parsed(engine, sql)
    try:
        _parsed(engine, f"{statement}\nINTO OUTFILE 'result' FORMAT Null")
    except QueryError:
        raise WarehouseError(
            "Only a statement that returns rows can be run here, without INTO OUTFILE or FORMAT "
            "(use --output and --format instead)"
        ) from None
    tree = str(engine.raw(f"EXPLAIN AST {statement}", "TSVRaw", parameters), "utf-8", "replace")
    if _BEYOND_READ_ONLY.search(tree) or (_SHOW.match(tree) and "file(" in statement):
        raise WarehouseError("The warehouse is read-only here: BACKUP, KILL and the function file() are refused")
    return statement


def _select(engine: ClickHouse, sql: str, parameters: Parameters | None) -> str:
    statement = _checked(engine, sql, parameters)
    if not _SELECT.match(str(engine.raw(f"EXPLAIN AST {statement}", "TSVRaw", parameters), "utf-8", "replace")):
        raise WarehouseError("Only a SELECT can be run here, without INTO OUTFILE or FORMAT")
    return statement


def _parsed(engine: ClickHouse, sql: str) -> str:
    return str(engine.value("SELECT formatQuerySingleLine({sql:String})", {"sql": sql}))


def _server_settings(engine: ClickHouse, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What can be set: a server's user may be read-only already, and then may set less or nothing."""
    readonly = int(engine.value("SELECT getSetting('readonly')"))
    if readonly == 1:
        return {}
    # the whole result before the first byte, so that a late error is one
    settings = {**wanted, "wait_end_of_query": 1}
    if readonly:
        del settings["readonly"]
    return settings


# a question is over sooner than a merge, which would begin anew with each
_NO_MERGES = f"<merge_tree>{''.join(element(name, str(value)) for name, value in NO_MERGES.items())}</merge_tree>"


@contextmanager
def _reader(settings: Settings, profile: Mapping[str, Any], on_wait: OnWait) -> Iterator[ClickHouse]:
    """The embedded warehouse, opened as a user who may only read it."""
    with tempfile.TemporaryDirectory(prefix="h3-pipeline-") as folder:
        users = Path(folder) / "users.xml"
        users.write_text(_users(settings.clickhouse_database, profile), encoding="utf-8")
        with open_embedded(
            settings.home / "warehouse",
            configuration=element("users_config", str(users)) + _NO_MERGES,
            may_set=False,
            on_wait=on_wait,
        ) as engine:
            engine.use(settings.clickhouse_database)
            yield engine


def _users(database: str, profile: Mapping[str, Any]) -> str:
    constraints = "".join(element(name, str(value)) for name, value in profile.items())
    grants = "".join(
        element("query", grant)
        for grant in (f"GRANT SELECT, SHOW, dictGet ON `{database}`.*", "GRANT SELECT ON system.*")
    )
    return f"""<clickhouse>
  <profiles><default/><reader>{constraints}</reader></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <no_password/><networks><ip>::/0</ip></networks><quota>default</quota>
      <profile>reader</profile>
      <grants>{grants}</grants>
    </default>
  </users>
</clickhouse>
"""


@contextmanager
def _explained(engine: ClickHouse, limits: Mapping[str, Any]) -> Iterator[None]:
    """Turns the engine's refusals into what a person needs to know."""
    try:
        yield
    except QueryError as error:
        text = _plain(str(error).removeprefix(f"{engine.where}: "))
        match error.code:
            case 164 | 497:  # READONLY, ACCESS_DENIED
                message = f"The warehouse is read-only here; {engine.where} refused: {text}"
            case 159:  # TIMEOUT_EXCEEDED
                message = f"The query took longer than {limits['max_execution_time']} s and was ended; ask for less"
            case 241:  # MEMORY_LIMIT_EXCEEDED
                message = f"The query needs more than {limits['max_memory_usage'] // 10**6} MB of memory; ask for less"
            case 396:  # TOO_MANY_ROWS_OR_BYTES
                message = (
                    f"The result has more than {MAX_RESULT_ROWS:,} rows or {MAX_RESULT_BYTES // 10**6} MB; "
                    "add a LIMIT, or aggregate"
                )
            case _:
                message = text
        raise WarehouseError(message) from error


def _plain(text: str) -> str:
    """The engine's sentence without what it says about our own wrapping and its list of tokens."""
    for tail in (". Expected one of:", ": In scope SELECT formatQuerySingleLine", ": while executing 'FUNCTION format"):
        text = text.split(tail, 1)[0]
    text = re.sub(r"^(default: |Code: \d+\. DB::Exception: )+", "", text)
    return re.sub(r"\s*\([A-Z][A-Z_0-9]+\)\.?$", "", text).strip()
