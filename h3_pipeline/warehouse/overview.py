"""What the warehouse holds: its uploads, and how large its tables are."""

from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse import history, publications
from h3_pipeline.warehouse.history import UploadEvent
from h3_pipeline.warehouse.schema import LOADED_TABLES, TRIPS, Placement


@dataclass(frozen=True, slots=True)
class UploadState:
    """One upload.

    Attributes:
        latest: What was done with it last.
        rows: Rows of it that are in ``trips`` now: a refused replacement leaves the earlier ones.
        months: Months of their departures, ``YYYY-MM``, in order.
    """

    latest: UploadEvent
    rows: int
    months: list[str]


@dataclass(frozen=True, slots=True)
class TableSize:
    """One table.

    Attributes:
        name: Its name.
        rows: Stored rows.
        size: Bytes on disk, compressed.
    """

    name: str
    rows: int
    size: int


def known_uploads(engine: ClickHouse, placement: Placement) -> set[str]:
    """Keys of all uploads that the warehouse has heard of; a load that was killed is in the ledger only."""
    tables = (placement.table(history.TABLE), placement.table(publications.TABLE))
    rows = engine.rows(" UNION DISTINCT ".join(f"SELECT upload FROM {table}" for table in tables))
    return {str(upload) for (upload,) in rows}


def upload_states(engine: ClickHouse, placement: Placement) -> list[UploadState]:
    """Every upload with something done to it, by key."""
    published = {
        str(upload): (int(rows), [f"{month[:4]}-{month[4:]}" for month in months])
        for upload, rows, months in engine.rows(
            "SELECT upload, sum(rows), arraySort(groupArray(toString(partition_id))) "
            f"FROM {placement.table(publications.TABLE)} FINAL "
            "WHERE table_name = {table:String} AND state = 'published' AND rows > 0 GROUP BY upload",
            {"table": TRIPS},
        )
    }
    return [UploadState(event, *published.get(event.upload, (0, []))) for event in history.latest(engine, placement)]


def table_sizes(engine: ClickHouse, placement: Placement) -> list[TableSize]:
    """Rows and bytes of each loaded table."""
    sizes = {
        str(table): (int(rows), int(size))
        for table, rows, size in engine.rows(
            "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts "
            "WHERE active AND database = {database:String} GROUP BY table",
            {"database": placement.database},
        )
    }
    return [TableSize(name, *sizes.get(name, (0, 0))) for name in LOADED_TABLES]
