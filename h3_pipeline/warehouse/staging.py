"""The staging tables of a load: its trips and rollups, complete before anything is published."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.clickhouse.short_lived import NEVER_MERGED
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.handover import HANDED_OVER_COLUMNS, handed_over
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline.warehouse.roll_up import RollUp, ScratchTables
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, LOADED_TABLES, TRIPS, Placement
from h3_pipeline.warehouse.templates import render_statement

logger = logging.getLogger(__name__)

STAGING_PREFIX = "staging_"

INSERT_SETTINGS = {
    # a file of scattered dates has more months than the default allows in one block
    "max_partitions_per_insert_block": 0,
    # a block is sorted in memory, one on each core at the same time
    "max_insert_block_size": 262_144,
    "min_insert_block_size_rows": 262_144,
    "min_insert_block_size_bytes": 64 * 1024 * 1024,
}
_READ_SETTINGS = {
    "input_format_csv_empty_as_default": 1,
    "format_csv_null_representation": "",
    "use_hive_partitioning": 0,
}


@dataclass(frozen=True, slots=True)
class Staging:
    """Three tables shaped like those that are published, holding the rows of a few uploads."""

    engine: ClickHouse
    placement: Placement
    suffix: str

    def table(self, name: str) -> str:
        """Qualified name of the staging table of a published one."""
        return self.placement.table(self.bare_name(name))

    def bare_name(self, name: str) -> str:
        """Its name without the database."""
        return f"{STAGING_PREFIX}{name}_{self.suffix}"

    def load_trips(self, source: str, upload: str, upload_etag: str) -> None:
        """Add an upload's trips from its clean CSV.

        Args:
            source: Table expression over the CSV.
            upload: Key below ``uploads/``.
            upload_etag: Its version.
        """
        statement = render_statement(
            "load_trips",
            target=self.table(TRIPS),
            source=source,
            columns=PROCESSED_COLUMNS,
            upload=upload,
            upload_etag=upload_etag,
        )
        self.engine.command(statement, settings=INSERT_SETTINGS | _READ_SETTINGS)

    def take_trips(self, files: Sequence[Path]) -> None:
        """Add the trips that tasks on this machine handed over (`processing.handover`)."""
        columns = ", ".join(HANDED_OVER_COLUMNS)
        if files:
            self.engine.command(
                f"INSERT INTO {self.table(TRIPS)} ({columns}) SELECT {columns} FROM {handed_over(files)}",
                settings=INSERT_SETTINGS,
            )

    def roll_up(self, resolutions: Sequence[int]) -> None:
        """Fill the hourly tables from the trips."""
        scratch = ScratchTables(*(self.table(name) for name in ("labels", "cell_groups", "flow_groups")))
        RollUp(
            self.engine, self.table(TRIPS), self.table(CELL_HOURLY), self.table(FLOW_HOURLY), scratch, INSERT_SETTINGS
        ).run(resolutions)

    def complete(self) -> "Staged":
        """What the tables hold, now that nothing is added any more."""
        return Staged(self, {name: self.rows(name) for name in LOADED_TABLES})

    def rows(self, name: str) -> dict[str, dict[str, int]]:
        """Rows of a staging table, by upload and partition id."""
        found: dict[str, dict[str, int]] = {}
        for upload, partition, count in self.engine.rows(
            f"SELECT upload, _partition_id AS partition, count() FROM {self.table(name)} GROUP BY upload, partition"
        ):
            found.setdefault(str(upload), {})[str(partition)] = int(count)
        return found


@dataclass(frozen=True, slots=True)
class Staged:
    """Staging tables that are complete.

    Attributes:
        tables: The tables.
        rows: Their rows, by table, upload and partition id.
    """

    tables: Staging
    rows: Mapping[str, Mapping[str, Mapping[str, int]]]

    def of_upload(self, upload: str) -> dict[str, int]:
        """Rows of an upload, by table."""
        return {table: sum(rows.get(upload, {}).values()) for table, rows in self.rows.items()}

    def months(self, upload: str) -> list[str]:
        """Partitions of ``trips`` that hold rows of an upload."""
        return sorted(self.rows[TRIPS].get(upload, {}))


@contextmanager
def staging(engine: ClickHouse, placement: Placement) -> Iterator[Staging]:
    """Make empty staging tables, dropped afterwards.

    Only the one publisher has staging tables, so any that are found here were left by one that was
    killed, or that is out of touch. Dropping them also stops whatever statement it may still have
    under way: names are never used again, and every exchange reads from a staging table.
    """
    _drop(engine, placement, _found(engine, placement))
    tables = Staging(engine, placement, uuid4().hex[:16])
    names = [tables.bare_name(name) for name in LOADED_TABLES]
    try:
        for name, bare_name in zip(LOADED_TABLES, names, strict=True):
            engine.command(_create(engine, placement, name, bare_name))
        yield tables
    finally:
        try:
            _drop(engine, placement, names)
        except QueryError as error:
            # what was published stands, what failed has its own message; the next publisher drops them
            logger.warning("staging tables were not dropped: %s", error)


def _found(engine: ClickHouse, placement: Placement) -> list[str]:
    rows = engine.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})",
        {"database": placement.database, "prefix": STAGING_PREFIX},
    )
    return [str(row[0]) for row in rows]


def _drop(engine: ClickHouse, placement: Placement, names: Iterable[str]) -> None:
    for name in names:
        # SYNC waits for the statements that still use the table
        engine.command(f"DROP TABLE IF EXISTS {placement.table(name)} SYNC", repeatable=True)


def _create(engine: ClickHouse, placement: Placement, name: str, bare_name: str) -> str:
    """CREATE TABLE of a table shaped like a published one, but never replicated."""
    found = engine.rows(
        "SELECT partition_key, sorting_key, engine FROM system.tables "
        "WHERE database = {database:String} AND name = {name:String}",
        {"database": placement.database, "name": name},
    )
    if not found:
        raise WarehouseError(f"The warehouse has no table {name}; run `h3-pipeline doctor`")
    partition_key, sorting_key, kind = found[0]
    return (
        f"CREATE TABLE {placement.table(bare_name)} AS {placement.table(name)} "
        f"ENGINE = {kind.removeprefix('Replicated')} PARTITION BY {partition_key} ORDER BY ({sorting_key}) "
        f"SETTINGS non_replicated_deduplication_window = 0, {NEVER_MERGED}"
    )


def partition_rows(engine: ClickHouse, database: str, table: str) -> dict[str, int]:
    """Rows of each partition of a table, from the parts' metadata."""
    rows = engine.rows(
        "SELECT partition_id, sum(rows) FROM system.parts "
        "WHERE active AND database = {database:String} AND table = {table:String} GROUP BY partition_id",
        {"database": database, "table": table},
    )
    return {str(partition): int(count) for partition, count in rows}
