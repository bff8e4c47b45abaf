"""The ledger of partitions that may hold an upload's rows."""

from collections.abc import Mapping, Sequence

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import Placement

TABLE = "publications"


class Publications:
    """Reads and writes the ledger for some uploads, while their publisher is the only one.

    The ledger is written ahead: a partition is noted as intended before it is touched. No note
    therefore proves that the upload has no rows there.

    Args:
        engine: The warehouse.
        placement: Database and cluster.
        uploads: Keys below ``uploads/``.
    """

    def __init__(self, engine: ClickHouse, placement: Placement, uploads: Sequence[str]) -> None:
        self.uploads = list(uploads)
        self._engine = engine
        self._placement = placement
        self._version: int | None = None

    def partitions(self, table: str) -> dict[str, set[str]]:
        """Partitions of a table that may hold rows of the uploads, by upload."""
        rows = self._engine.rows(
            f"SELECT upload, groupArray(partition_id) FROM {self._placement.table(TABLE)} FINAL "
            "WHERE upload IN {uploads:Array(String)} AND table_name = {table:String} AND state != 'withdrawn' "
            "GROUP BY upload",
            {"uploads": self.uploads, "table": table},
        )
        return {str(upload): {str(partition) for partition in partitions} for upload, partitions in rows}

    def any(self) -> bool:
        """Whether any partition of any table may hold rows of the uploads."""
        return bool(
            self._engine.value(
                f"SELECT count() FROM {self._placement.table(TABLE)} FINAL "
                "WHERE upload IN {uploads:Array(String)} AND state != 'withdrawn'",
                {"uploads": self.uploads},
            )
        )

    def note(self, table: str, partition: str, state: str, rows: Mapping[str, int]) -> None:
        """Note how far uploads got in a partition.

        Args:
            table: Name of the table.
            partition: Partition id.
            state: ``intended``, ``published`` or ``withdrawn``.
            rows: Rows of each upload there.
        """
        if not rows:
            return
        self._engine.command(
            f"INSERT INTO {self._placement.table(TABLE)} (upload, table_name, partition_id, state, rows, version) "
            "SELECT noted.1, {table:String}, {partition:String}, {state:String}, noted.2, {version:UInt64} "
            "FROM (SELECT arrayJoin(arrayZip({uploads:Array(String)}, {rows:Array(UInt64)})) AS noted)",
            {
                "uploads": list(rows),
                "rows": list(rows.values()),
                "table": table,
                "partition": partition,
                "state": state,
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
                    "SELECT greatest(toUInt64(toUnixTimestamp64Nano(now64(9))), (SELECT max(version) "
                    f"FROM {self._placement.table(TABLE)} WHERE upload IN {{uploads:Array(String)}}))",
                    {"uploads": self.uploads},
                )
            )
        self._version += 1
        return self._version
