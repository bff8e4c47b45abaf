"""The staging tables of one upload: its trips and rollups, complete before anything is published."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, LOADED_TABLES, TRIPS, Placement
from h3_pipeline.warehouse.templates import render_statement

INSERT_SETTINGS = {
    # a file of scattered dates has more months than the default allows in one block
    "max_partitions_per_insert_block": 0,
    "max_insert_block_size": 262_144,
    "min_insert_block_size_rows": 262_144,
    "min_insert_block_size_bytes": 64 * 1024 * 1024,
    # large groupings go to disk before they take the memory of a small task
    "max_bytes_before_external_group_by": 250_000_000,
    "max_bytes_before_external_sort": 250_000_000,
}
_READ_SETTINGS = {
    "input_format_csv_empty_as_default": 1,
    "format_csv_null_representation": "",
    "use_hive_partitioning": 0,
}


@dataclass(frozen=True, slots=True)
class Staging:
    """Three tables shaped like those that are published, holding one upload's rows."""

    engine: ClickHouse
    placement: Placement
    suffix: str

    def table(self, name: str) -> str:
        """Qualified name of the staging table of a published one."""
        return self.placement.table(self.bare_name(name))

    def bare_name(self, name: str) -> str:
        """Its name without the database."""
        return f"staging_{name}_{self.suffix}"

    def load_trips(self, source: str, upload: str, upload_etag: str) -> int:
        """Fill the trips from a clean CSV.

        Args:
            source: Table expression over the CSV.
            upload: Key below ``uploads/``.
            upload_etag: Its version.

        Returns:
            Number of rows.
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
        return int(self.engine.value(f"SELECT count() FROM {self.table(TRIPS)}"))

    def roll_up(self, resolutions: tuple[int, ...]) -> None:
        """Fill the hourly tables from the trips, finest resolution first."""
        finest, *coarser = sorted(resolutions, reverse=True)
        for name, suffix in ((CELL_HOURLY, "cells"), (FLOW_HOURLY, "flows")):
            target = self.table(name)
            statement = render_statement(
                f"roll_up_{suffix}", target=target, source=self.table(TRIPS), resolution=finest
            )
            self.engine.command(statement, settings=INSERT_SETTINGS)
            finer = finest
            for resolution in coarser:
                statement = render_statement(f"coarsen_{suffix}", target=target, resolution=resolution, finer=finer)
                self.engine.command(statement, settings=INSERT_SETTINGS)
                finer = resolution

    def partitions(self, name: str) -> dict[str, int]:
        """Partition ids of a staging table and their rows."""
        return partition_rows(self.engine, self.placement.database, self.bare_name(name))

    def carry(self, name: str, partition: str, upload: str) -> None:
        """Copy the other uploads' rows of a published partition into the staging table."""
        self.engine.command(
            f"INSERT INTO {self.table(name)} SELECT * FROM {self.placement.table(name)} "
            "WHERE _partition_id = {partition:String} AND upload != {upload:String}",
            {"partition": partition, "upload": upload},
            settings=INSERT_SETTINGS,
        )


@contextmanager
def staging(engine: ClickHouse, placement: Placement, upload: str) -> Iterator[Staging]:
    """Make empty staging tables for an upload, dropped afterwards.

    Their names follow from the upload, so what a killed run left behind is dropped here.
    """
    tables = Staging(engine, placement, hashlib.sha256(upload.encode()).hexdigest()[:16])
    for name in LOADED_TABLES:
        engine.command(f"DROP TABLE IF EXISTS {tables.table(name)} SYNC")
        engine.command(_create(engine, placement, name, tables.bare_name(name)))
    try:
        yield tables
    finally:
        for name in LOADED_TABLES:
            engine.command(f"DROP TABLE IF EXISTS {tables.table(name)} SYNC")


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
        "SETTINGS non_replicated_deduplication_window = 0"
    )


def partition_rows(engine: ClickHouse, database: str, table: str) -> dict[str, int]:
    """Rows of each partition of a table, from the parts' metadata."""
    rows = engine.rows(
        "SELECT partition_id, sum(rows) FROM system.parts "
        "WHERE active AND database = {database:String} AND table = {table:String} GROUP BY partition_id",
        {"database": database, "table": table},
    )
    return {str(partition): int(count) for partition, count in rows}
