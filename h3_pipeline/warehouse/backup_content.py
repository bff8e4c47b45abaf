"""What tables hold, in two numbers each that neither the order of rows nor merges change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.sql import identifier
from h3_pipeline.warehouse.lock import LEASE_PREFIX
from h3_pipeline.warehouse.staging import STAGING_PREFIX

_NOT_KEPT = (LEASE_PREFIX, STAGING_PREFIX)
_SETTINGS = {
    # a month partition's rows are never in another one, so months need not be merged with one another
    "do_not_merge_across_partitions_select_final": 1,
}


@dataclass(frozen=True, slots=True)
class TableContent:
    """What a table holds.

    Attributes:
        rows: Its rows, with those merged that the table would merge by itself.
        checksum: Sum of the rows' hashes, 16 hexadecimal digits.
    """

    rows: int
    checksum: str


def kept_tables(engine: ClickHouse, database: str) -> list[str]:
    """Tables of a database that hold what cannot be made anew: not the views, leases and staging tables."""
    rows = engine.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND endsWith(engine, 'MergeTree') "
        "ORDER BY name",
        {"database": database},
    )
    return [str(name) for (name,) in rows if not str(name).startswith(_NOT_KEPT)]


def contents(engine: ClickHouse, database: str, tables: Iterable[str]) -> dict[str, TableContent]:
    """What tables hold, by name.

    Every byte of every column is read, so damage is found too.

    Raises:
        QueryError: A table cannot be read.
    """
    return {table: _content(engine, database, table) for table in tables}


def _content(engine: ClickHouse, database: str, table: str) -> TableContent:
    columns = engine.rows(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
        "ORDER BY position",
        {"database": database, "table": table},
    )
    kind = engine.value(
        "SELECT engine FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        {"database": database, "table": table},
    )
    final = "" if str(kind).removeprefix("Replicated").removeprefix("Shared") == "MergeTree" else "FINAL"
    ((rows, checksum),) = engine.rows(
        f"SELECT count(), lower(hex(sum(sipHash64({', '.join(_hashed(columns))})))) "
        f"FROM {identifier(database)}.{identifier(table)} {final}",
        settings=_SETTINGS,
    )
    return TableContent(int(rows), str(checksum).rjust(16, "0"))


def _hashed(columns: Sequence[Sequence[str]]) -> list[str]:
    return [_hashable(identifier(name), kind) for name, kind in columns]


def _hashable(column: str, kind: str) -> str:
    if kind.startswith("SimpleAggregateFunction(groupArrayArray"):
        return f"arraySort({column})"  # merges put values into another order
    return f"tuple({column})" if "Nullable(" in kind else column  # outside a tuple, NULL makes the hash NULL
