"""Loads a processed upload into the warehouse, or takes an upload out of it."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.named_collection import S3_SETTINGS, s3_table
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.lock import Lease, ProcessLock, PublishLock
from h3_pipeline.warehouse.publications import Publications
from h3_pipeline.warehouse.publish import OnStage, publish
from h3_pipeline.warehouse.reconcile import ResolutionCheck, recount
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, TRIPS, Placement
from h3_pipeline.warehouse.staging import Staging, staging

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedUpload:
    """What loading one upload did.

    Attributes:
        rows: Rows of the upload by table.
        months: Month partitions of ``trips`` that hold its rows, as ``YYYYMM``.
        recounts: Rollups compared with a recount from its trips, by table and resolution.
        seconds: How long it took.
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
    """

    engine: ClickHouse
    placement: Placement
    rollup_resolutions: tuple[int, ...]
    lock: PublishLock = field(default_factory=ProcessLock)

    def load(self, manifest: Manifest, *, run_id: str = "", on_stage: OnStage = logger.debug) -> LoadedUpload:
        """Make a processed upload's rows the upload's only rows in every table.

        Args:
            manifest: What processing wrote; its clean CSV is read from the bucket.
            run_id: Dagster run, for the history.
            on_stage: Told the name of each stage as it begins.

        Raises:
            WarehouseError: The clean CSV is not what the manifest says, a rollup differs from its
                recount (nothing is published then), or another writer was at work.
        """
        began = time.monotonic()
        rows, months, recounts = self.engine.repeat(lambda: self._load(manifest, run_id, on_stage))
        return LoadedUpload(rows, months, recounts, round(time.monotonic() - began, 3))

    def _load(
        self, manifest: Manifest, run_id: str, on_stage: OnStage
    ) -> tuple[dict[str, int], list[str], list[ResolutionCheck]]:
        """One try: from empty staging tables to the entry in the history."""
        with self._publishing(f"loading {manifest.upload}") as lease, staging(self.engine, self.placement) as staged:
            on_stage("stage")
            self._stage_trips(staged, manifest)
            on_stage("roll up")
            staged.roll_up(self.rollup_resolutions)
            recounts = self._recount(staged, manifest.upload)
            rows, months = _totals(staged)
            publish(self.engine, self.placement, staged, lease, manifest.upload, on_stage)
            on_stage("record")
            self._record(_loaded_event(manifest, run_id))
        on_stage("recorded")
        return rows, months, recounts

    def _stage_trips(self, staged: Staging, manifest: Manifest) -> None:
        source = s3_table(manifest.processed_key, csv_format="CSVWithNames")
        written = s3_table(manifest.processed_key, csv_format="One")  # one row, whatever the object holds
        etag = self.engine.value(f"SELECT any(_etag) FROM {written}", settings=S3_SETTINGS)
        if etag.strip('"') != manifest.processed_etag:
            raise WarehouseError(
                f"{manifest.processed_key} was written after its manifest; process {manifest.upload} again"
            )
        rows = staged.load_trips(source, manifest.upload, manifest.upload_etag)
        if rows != manifest.rows_loaded:
            raise WarehouseError(
                f"{manifest.processed_key} has {rows:,} rows, its manifest says {manifest.rows_loaded:,}; "
                f"process {manifest.upload} again"
            )

    def _recount(self, staged: Staging, upload: str) -> list[ResolutionCheck]:
        recounts = recount(
            self.engine,
            staged.table(TRIPS),
            staged.table(CELL_HOURLY),
            staged.table(FLOW_HOURLY),
            self.rollup_resolutions,
        )
        if wrong := [check for check in recounts if not check.equal]:
            raise WarehouseError(
                f"{wrong[0].table} of {upload} at resolution {wrong[0].resolution} differs from a recount "
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

    def _record(self, event: history.UploadEvent) -> None:
        # an event twice says the same as once
        self.engine.repeat(lambda: history.record(self.engine, self.placement, event))

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
            if not known and not Publications(self.engine, self.placement, upload).any():
                raise WarehouseError(f"{upload} is not in the warehouse; `h3-pipeline status` lists what is")
            rows = self.rows_of(upload)
            with staging(self.engine, self.placement) as staged:
                publish(self.engine, self.placement, staged, lease, upload, on_stage)
                on_stage("record")
                etag = str(known[0][0]) if known else ""
                self._record(history.UploadEvent(upload=upload, upload_etag=etag, event="retracted", run_id=run_id))
        on_stage("recorded")
        return rows

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


def _totals(staged: Staging) -> tuple[dict[str, int], list[str]]:
    partitions = {name: staged.partitions(name) for name in (TRIPS, CELL_HOURLY, FLOW_HOURLY)}
    return {name: sum(rows.values()) for name, rows in partitions.items()}, sorted(partitions[TRIPS])


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
