"""The ledger of partitions that may hold an upload's rows."""

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import Placement

TABLE = "publications"


class Publications:
    """Reads and writes the ledger for one upload, while its publisher is the only one.

    The ledger is written ahead: a partition is noted as intended before it is touched. No note
    therefore proves that the upload has no rows there.

    Args:
        engine: The warehouse.
        placement: Database and cluster.
        upload: Key below ``uploads/``.
    """

    def __init__(self, engine: ClickHouse, placement: Placement, upload: str) -> None:
        self.upload = upload
        self._engine = engine
        self._placement = placement
        self._version: int | None = None

    def partitions(self, table: str) -> dict[str, int]:
        """Partitions of a table that may hold rows of the upload, and how many were published."""
        rows = self._engine.rows(
            f"SELECT partition_id, rows FROM {self._placement.table(TABLE)} FINAL "
            "WHERE upload = {upload:String} AND table_name = {table:String} AND state != 'withdrawn'",
            {"upload": self.upload, "table": table},
        )
        return {str(partition): int(count) for partition, count in rows}

    def any(self) -> bool:
        """Whether any partition of any table may hold rows of the upload."""
        return bool(
            self._engine.value(
                f"SELECT count() FROM {self._placement.table(TABLE)} FINAL "
                "WHERE upload = {upload:String} AND state != 'withdrawn'",
                {"upload": self.upload},
            )
        )

    def note(self, table: str, partition: str, state: str, rows: int) -> None:
        """Note how far a partition got: ``intended``, ``published`` or ``withdrawn``."""
        self._engine.command(
            f"INSERT INTO {self._placement.table(TABLE)} (upload, table_name, partition_id, state, rows, version) "
            "VALUES ({upload:String}, {table:String}, {partition:String}, {state:String}, {rows:UInt64}, "
            "{version:UInt64})",
            {
                "upload": self.upload,
                "table": table,
                "partition": partition,
                "state": state,
                "rows": rows,
                "version": self._next_version(),
            },
            # the same row twice is one row
            repeatable=True,
        )

    def _next_version(self) -> int:
        """Later than every version so far, whatever this machine's clock says.

        By the clocks of two machines an old ``withdrawn`` could outrank a new ``intended``.
        """
        if self._version is None:
            self._version = int(
                self._engine.value(
                    "SELECT greatest(toUInt64(toUnixTimestamp64Nano(now64(9))), "
                    f"(SELECT max(version) FROM {self._placement.table(TABLE)} WHERE upload = {{upload:String}}))",
                    {"upload": self.upload},
                )
            )
        self._version += 1
        return self._version
