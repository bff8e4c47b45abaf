"""Loads a processed upload into the warehouse, or takes an upload out of it."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from h3_pipeline.batching import bounded, named
from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.named_collection import S3_SETTINGS, s3_table
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.lock import Lease, ProcessLock, PublishLock
from h3_pipeline.warehouse.publications import TABLE as LEDGER
from h3_pipeline.warehouse.publications import Publications
from h3_pipeline.warehouse.publish import OnStage, publish
from h3_pipeline.warehouse.reconcile import ResolutionCheck, recount
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, TRIPS, Placement
from h3_pipeline.warehouse.staging import Staged, Staging, partition_rows, staging

logger = logging.getLogger(__name__)

BATCH_UPLOADS = 100
BATCH_ROWS = 1_000_000
"""Of one load: many small uploads cost little more than one, and a load that is killed is done again."""


@dataclass(frozen=True, slots=True)
class LoadedUpload:
    """What loading one upload did.

    Attributes:
        rows: Rows of the upload by table.
        months: Month partitions of ``trips`` that hold its rows, as ``YYYYMM``.
        recounts: Rollups of all uploads of the load compared with a recount from their trips, by table and resolution.
        seconds: How long it took; its share, by rows, where several were loaded together.
    """

    rows: dict[str, int]
    months: list[str]
    recounts: list[ResolutionCheck]
    seconds: float


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The warehouse, open.

    Attributes:
        engine: The connection.
        placement: Database and cluster.
        rollup_resolutions: H3 resolutions of the hourly tables.
        lock: Lets one publisher in at a time.
        handovers: Where tasks on this machine leave their trips; None where the warehouse is elsewhere.
    """

    engine: ClickHouse
    placement: Placement
    rollup_resolutions: tuple[int, ...]
    lock: PublishLock = field(default_factory=ProcessLock)
    handovers: Handovers | None = None

    def load(self, manifest: Manifest, *, run_id: str = "", on_stage: OnStage = logger.debug) -> LoadedUpload:
        """Load one upload; see `load_all`."""
        return self.load_all([manifest], run_id=run_id, on_stage=on_stage)[manifest.upload]

    def load_all(
        self, manifests: Sequence[Manifest], *, run_id: str = "", on_stage: OnStage = logger.debug
    ) -> dict[str, LoadedUpload]:
        """Make processed uploads' rows their only rows in every table.

        They are published together: a month's rows of all of them appear at once. `batches` tells how many
        uploads that may be.

        Args:
            manifests: What processing wrote, one for each upload; the clean CSVs are read from the bucket.
            run_id: Dagster run, for the history.
            on_stage: Told the name of each stage as it begins.

        Returns:
            What was done, by upload.

        Raises:
            WarehouseError: A clean CSV is not what its manifest says, a rollup differs from its
                recount (nothing is published then), or another writer was at work.
        """
        loaded = self.engine.repeat(lambda: self._load(manifests, run_id, on_stage))
        if self.handovers:
            for manifest in manifests:
                self.handovers.remove(manifest)
        return loaded

    def _load(self, manifests: Sequence[Manifest], run_id: str, on_stage: OnStage) -> dict[str, LoadedUpload]:
        """One try: from empty staging tables to the entries in the history."""
        began = time.monotonic()
        uploads = [manifest.upload for manifest in manifests]
        with self._publishing(f"loading {named(uploads)}") as lease, staging(self.engine, self.placement) as tables:
            on_stage("stage")
            self._stage_trips(tables, manifests)
            on_stage("roll up")
            tables.roll_up(self.rollup_resolutions)
            on_stage("recount")
            recounts = self._recount(tables, uploads)
            staged = tables.complete()
            _refuse_other_rows(staged, manifests)
            publish(self.engine, self.placement, staged, lease, uploads, on_stage)
            on_stage("record")
            self._record([_loaded_event(manifest, run_id) for manifest in manifests])
        on_stage("recorded")
        seconds = time.monotonic() - began
        rows = sum(manifest.rows_loaded for manifest in manifests)
        return {
            manifest.upload: LoadedUpload(
                staged.of_upload(manifest.upload),
                staged.months(manifest.upload),
                recounts,
                round(seconds * manifest.rows_loaded / rows, 3),
            )
            for manifest in manifests
        }

    def _stage_trips(self, tables: Staging, manifests: Sequence[Manifest]) -> None:
        here = {manifest.upload: self.handovers.find(manifest) for manifest in manifests} if self.handovers else {}
        tables.take_trips([file for file in here.values() if file])
        for manifest in manifests:
            if here.get(manifest.upload):
                continue
            self._refuse_other_version(manifest)
            source = s3_table(manifest.processed_key, csv_format="CSVWithNames")
            tables.load_trips(source, manifest.upload, manifest.upload_etag)

    def _refuse_other_version(self, manifest: Manifest) -> None:
        written = s3_table(manifest.processed_key, csv_format="One")  # one row, whatever the object holds
        etag = self.engine.value(f"SELECT any(_etag) FROM {written}", settings=S3_SETTINGS)
        if etag.strip('"') != manifest.processed_etag:
            raise WarehouseError(
                f"{manifest.processed_key} was written after its manifest; process {manifest.upload} again"
            )

    def _recount(self, staged: Staging, uploads: Sequence[str]) -> list[ResolutionCheck]:
        recounts = recount(
            self.engine,
            staged.table(TRIPS),
            staged.table(CELL_HOURLY),
            staged.table(FLOW_HOURLY),
            self.rollup_resolutions,
        )
        if wrong := [check for check in recounts if not check.equal]:
            raise WarehouseError(
                f"{wrong[0].table} of {named(uploads)} at resolution {wrong[0].resolution} differs from a recount "
                "of its trips; nothing was loaded. This is a bug in h3_pipeline: please report it."
            )
        return recounts

    @contextmanager
    def _publishing(self, purpose: str) -> Iterator[Lease]:
        with self.lock.hold(purpose) as lease:
            try:
                yield lease
            except WarehouseError:
                lease.check()  # a publisher whose place was taken finds its staging tables gone
                raise

    def _record(self, events: Sequence[history.UploadEvent]) -> None:
        # an event twice says the same as once
        self.engine.repeat(lambda: history.record(self.engine, self.placement, events))

    def retract(self, upload: str, *, run_id: str = "", on_stage: OnStage = logger.debug) -> int:
        """Take an upload's rows out of every table, and remember that.

        Args:
            upload: Key below ``uploads/``.
            run_id: Dagster run, for the history.
            on_stage: Told the name of each stage as it begins.

        Returns:
            Rows that left ``trips``.

        Raises:
            WarehouseError: The upload was never loaded, or another writer was at work.
        """
        return self.engine.repeat(lambda: self._retract(upload, run_id, on_stage))

    def _retract(self, upload: str, run_id: str, on_stage: OnStage) -> int:
        with self._publishing(f"retracting {upload}") as lease:
            known = self.engine.rows(
                f"SELECT upload_etag FROM {self.placement.table(history.TABLE)} WHERE upload = {{upload:String}} "
                "ORDER BY at DESC LIMIT 1",
                {"upload": upload},
            )
            # a load that was killed is in the ledger only
            if not known and not Publications(self.engine, self.placement, [upload]).any():
                raise WarehouseError(f"{upload} is not in the warehouse; `h3-pipeline status` lists what is")
            rows = self.rows_of(upload)
            with staging(self.engine, self.placement) as tables:
                publish(self.engine, self.placement, tables.complete(), lease, [upload], on_stage)
                on_stage("record")
                etag = str(known[0][0]) if known else ""
                self._record([history.UploadEvent(upload=upload, upload_etag=etag, event="retracted", run_id=run_id)])
        on_stage("recorded")
        return rows

    def differing_rows(self, loaded: Mapping[str, LoadedUpload]) -> dict[str, int]:
        """Uploads whose rows in ``trips`` are not those that were loaded, and how many there are.

        A month is right if its rows are as many as the ledger says that all uploads have there, which costs the
        same whatever the month holds. Only where it is not, or where a load was killed half-way, are the rows counted.
        """
        months = {month for upload in loaded.values() for month in upload.months}
        noted = self.engine.rows(
            f"SELECT partition_id, sum(rows), countIf(state = 'intended') FROM {self.placement.table(LEDGER)} FINAL "
            "WHERE table_name = {table:String} AND partition_id IN {months:Array(String)} AND state != 'withdrawn' "
            "GROUP BY partition_id",
            {"table": TRIPS, "months": sorted(months)},
        )
        held = partition_rows(self.engine, self.placement.database, TRIPS)
        right = {str(month) for month, rows, unsettled in noted if not unsettled and held.get(str(month)) == int(rows)}
        differing = {}
        for upload, result in loaded.items():
            if not right.issuperset(result.months):
                found = self.rows_of(upload, months=result.months)
                if found != result.rows[TRIPS]:
                    differing[upload] = found
        return differing

    def rows_of(self, upload: str, *, months: Sequence[str] | None = None) -> int:
        """Rows of an upload in ``trips``.

        Args:
            upload: Key below ``uploads/``.
            months: Partitions to look into, ``YYYYMM``; None looks into all.
        """
        condition = "upload = {upload:String}"
        if months is not None:
            condition += " AND _partition_id IN {months:Array(String)}"
        return int(
            self.engine.value(
                f"SELECT count() FROM {self.placement.table(TRIPS)} WHERE {condition}",
                {"upload": upload, "months": list(months or ())},
            )
        )


def batches(manifests: Iterable[Manifest]) -> Iterator[list[Manifest]]:
    """Split uploads, in order, into loads of bounded rows and number."""
    return bounded(manifests, lambda manifest: manifest.rows_loaded, most=BATCH_UPLOADS, most_size=BATCH_ROWS)


def _refuse_other_rows(staged: Staged, manifests: Sequence[Manifest]) -> None:
    for manifest in manifests:
        rows = staged.of_upload(manifest.upload)[TRIPS]
        if rows != manifest.rows_loaded:
            raise WarehouseError(
                f"{manifest.processed_key} has {rows:,} rows, its manifest says {manifest.rows_loaded:,}; "
                f"process {manifest.upload} again"
            )


def _loaded_event(manifest: Manifest, run_id: str) -> history.UploadEvent:
    return history.UploadEvent(
        upload=manifest.upload,
        upload_etag=manifest.upload_etag,
        event="loaded",
        feed=manifest.feed,
        rows_in=manifest.rows_in,
        rows_loaded=manifest.rows_loaded,
        rejected=manifest.rejected,
        warnings=manifest.warnings,
        run_id=run_id,
    )
