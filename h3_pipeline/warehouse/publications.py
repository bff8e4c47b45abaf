"""The ledger of partitions that may hold an upload's rows."""

import time
from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import Placement

TABLE = "publications"


@dataclass(frozen=True, slots=True)
class Publications:
    """Reads and writes the ledger for one upload.

    The ledger is written ahead: a partition is noted as intended before it is touched. No note
    therefore proves that the upload has no rows there.
    """

    engine: ClickHouse
    placement: Placement
    upload: str

    def partitions(self, table: str) -> dict[str, int]:
        """Partitions of a table that may hold rows of the upload, and how many were published."""
        rows = self.engine.rows(
            f"SELECT partition_id, rows FROM {self.placement.table(TABLE)} FINAL "
            "WHERE upload = {upload:String} AND table_name = {table:String} AND state != 'withdrawn'",
            {"upload": self.upload, "table": table},
        )
        return {str(partition): int(count) for partition, count in rows}

    def note(self, table: str, partition: str, state: str, rows: int) -> None:
        """Note how far a partition got: ``intended``, ``published`` or ``withdrawn``."""
        self.engine.command(
            f"INSERT INTO {self.placement.table(TABLE)} (upload, table_name, partition_id, state, rows, version) "
            "VALUES ({upload:String}, {table:String}, {partition:String}, {state:String}, {rows:UInt64}, "
            "{version:UInt64})",
            {
                "upload": self.upload,
                "table": table,
                "partition": partition,
                "state": state,
                "rows": rows,
                "version": time.time_ns(),
            },
        )
