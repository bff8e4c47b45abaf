"""Publishes staged rows, month by month, so that each month's rows appear all or nothing.

For every month partition of every table:

* no row of the uploads can be there (the ledger proves it): the staged partition is attached;
* some may be there: they are deleted first, part by part, each part all or nothing.

Other uploads' rows are never written. Whatever instant a run is killed at, running again gives the
tables that a run without interruption gives. One writer at a time publishes (`warehouse.lock`), and
the number of rows is checked after each exchange.

An exchange whose outcome is unknown is not repeated by itself. The work begins anew with new staging
tables, and finds out from the ledger and the tables what is there already.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from h3_pipeline.clickhouse.client import ClickHouse, EngineSettings
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import literal
from h3_pipeline.warehouse.lock import Lease
from h3_pipeline.warehouse.publications import Publications
from h3_pipeline.warehouse.schema import LOADED_TABLES, TRIPS, Placement
from h3_pipeline.warehouse.staging import Staged, Staging, partition_rows

logger = logging.getLogger(__name__)

OnStage = Callable[[str], None]


class PublishConflict(WarehouseError):
    """Another writer changed a partition while it was being exchanged."""


def publish(
    engine: ClickHouse, placement: Placement, staged: Staged, lease: Lease, uploads: Sequence[str], on_stage: OnStage
) -> None:
    """Make the staged rows the uploads' only rows in every table.

    Args:
        engine: The warehouse.
        placement: Database and cluster.
        staged: The uploads' staging tables and what they hold; empty ones take the uploads out of the tables.
        lease: The right to publish, asked for before each exchange.
        uploads: Keys below ``uploads/``.
        on_stage: Told the name of each stage as it begins.

    Raises:
        LeaseLost: Another publisher has taken this one's place.
        PublishConflict: Another writer was at work on the same partition. Running again is safe.
    """
    ledger = Publications(engine, placement, uploads)
    for table in LOADED_TABLES:
        rows = staged.rows[table]
        noted = ledger.partitions(table)
        partitions = {partition for held in (*rows.values(), *noted.values()) for partition in held}
        for partition in sorted(partitions):
            on_stage(f"publish {table} {partition}")
            exchange = _Exchange(engine, placement, staged.tables, lease, ledger, table, partition)
            exchange.run(
                {upload: held[partition] for upload, held in rows.items() if partition in held},
                noted=[upload for upload, held in noted.items() if partition in held],
                on_stage=on_stage,
            )


class _Exchange:
    """One partition of one table."""

    def __init__(
        self,
        engine: ClickHouse,
        placement: Placement,
        staging: Staging,
        lease: Lease,
        ledger: Publications,
        table: str,
        partition: str,
    ) -> None:
        self._engine = engine
        self._placement = placement
        self._staging = staging
        self._lease = lease
        self._ledger = ledger
        self._table = table
        self._partition = partition

    def run(self, staged: Mapping[str, int], *, noted: Sequence[str], on_stage: OnStage) -> None:
        """Exchange the partition.

        Args:
            staged: Staged rows of each upload that has some here.
            noted: Uploads that may have rows here already.
            on_stage: Told the name of each stage as it begins.
        """
        before = self._published_rows()
        own = self._rows_of(noted) if noted else 0
        fresh = {upload: rows for upload, rows in staged.items() if upload not in noted}
        if fresh:
            self._note("intended", fresh)
            on_stage(f"noted {self._table} {self._partition}")
        if own:
            self._clear(noted)
            on_stage(f"cleared {self._table} {self._partition}")
        if staged:
            self._alter(f"ATTACH PARTITION ID '{self._partition}' FROM {self._staging.table(self._table)}")
        on_stage(f"exchanged {self._table} {self._partition}")
        self._check(before - own + sum(staged.values()))
        self._note("published", staged)
        self._note("withdrawn", {upload: 0 for upload in noted if upload not in staged})
        on_stage(f"settled {self._table} {self._partition}")

    def _note(self, state: str, rows: Mapping[str, int]) -> None:
        self._ledger.note(self._table, self._partition, state, rows)

    def _clear(self, uploads: Sequence[str]) -> None:
        """Take the uploads' rows out, and nobody else's.

        Not by REPLACE PARTITION: an engine killed in the middle of one opens again with the old parts
        and the new ones, so that every other upload's rows of the month are there twice.

        A server may carry the deletion out after its client gave up and published anew. Then the
        staging table of this try is gone, and nothing is deleted.
        """
        ours = f"database = {literal(self._placement.database)} AND name = {literal(self._staging.bare_name(TRIPS))}"
        keys = ", ".join(literal(upload) for upload in uploads)
        self._alter(
            f"DELETE IN PARTITION ID '{self._partition}' WHERE upload IN ({keys}) "
            f"AND (SELECT count() FROM system.tables WHERE {ours}) > 0",
            # asked once, when the statement arrives; replicas must all do the same
            {"mutations_sync": 2, "mutations_execute_subqueries_on_initiator": 1},
        )

    def _alter(self, action: str, settings: EngineSettings | None = None) -> None:
        self._lease.check()
        self._engine.command(f"ALTER TABLE {self._placement.table(self._table)} {action}", settings=settings)

    def _published_rows(self) -> int:
        return partition_rows(self._engine, self._placement.database, self._table).get(self._partition, 0)

    def _rows_of(self, uploads: Sequence[str]) -> int:
        return int(
            self._engine.value(
                f"SELECT count() FROM {self._placement.table(self._table)} "
                "WHERE _partition_id = {partition:String} AND upload IN {uploads:Array(String)}",
                {"partition": self._partition, "uploads": list(uploads)},
            )
        )

    def _check(self, expected: int) -> None:
        found = self._published_rows()
        if found != expected:
            raise self._conflict(expected, found)

    def _conflict(self, expected: int, found: int) -> PublishConflict:
        return PublishConflict(
            f"Partition {self._partition} of {self._table} has {found:,} rows where {expected:,} were expected: "
            "another writer was at work on it. Run the upload again, and look for a second writer."
        )
