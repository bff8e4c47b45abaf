"""``processed_trips``: each upload judged, indexed and written clean; ``upload_manifests``: the verdicts.

One run takes many uploads. A refused one must not stop the others, and Dagster would count every
partition of a run as materialized once a step yields its asset. So `processed_trips` is reported
upload by upload and never yielded, while `upload_manifests`, which every upload has, accepted or
not, is; the next step hangs on it. The refused uploads fail the run in its last step.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import h3
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    Backoff,
    MaterializeResult,
    MetadataValue,
    RetryPolicy,
    TableRecord,
    multi_asset,
)

from h3_pipeline.assets.metadata import TRIPS_SCHEMA, processed_metadata
from h3_pipeline.assets.reporting import describe_partitions, report
from h3_pipeline.assets.uploads import DATA_VERSION_TAG, RAW_UPLOADS
from h3_pipeline.batching import named
from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import UploadRefused
from h3_pipeline.ops import measured
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.partitions import uploads_partitions
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import process_upload, write_refusal
from h3_pipeline.processing.results import ProcessedUpload
from h3_pipeline.processing.task import ProcessingTask
from h3_pipeline.processing.together import process_together, side_by_side
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.prefixes import key_of_partition, partition_key
from h3_pipeline.telemetry.context import doing
from h3_pipeline.telemetry.stages import StageClock
from h3_pipeline.telemetry.tracing import span
from h3_pipeline.warehouse.connect import handovers

logger = logging.getLogger(__name__)

PROCESSED_TRIPS = "processed_trips"
UPLOAD_MANIFESTS = "upload_manifests"


@multi_asset(
    name="process_uploads",
    specs=[
        AssetSpec(
            PROCESSED_TRIPS,
            deps=[RAW_UPLOADS],
            description="The clean trips of each upload, H3-indexed, as a compressed CSV below `processed/`; "
            "what was refused is below `rejected/`.",
            group_name="processing",
            kinds={"chdb", "csv"},
            metadata={"dagster/column_schema": TRIPS_SCHEMA},
            skippable=True,
        ),
        AssetSpec(
            UPLOAD_MANIFESTS,
            deps=[PROCESSED_TRIPS],
            description="What became of each upload, accepted or refused: counts by reason, feed, dialect.",
            group_name="processing",
            kinds={"json"},
        ),
    ],
    check_specs=[
        AssetCheckSpec(
            "rows_are_conserved",
            asset=UPLOAD_MANIFESTS,
            blocking=True,
            description="For every upload, rows in = rows loaded + rows rejected, and the reasons add up.",
        ),
        AssetCheckSpec(
            "cells_equal_h3",
            asset=UPLOAD_MANIFESTS,
            blocking=True,
            description="On a sample of each upload's rows, every cell is valid and is the one that h3-py gives.",
        ),
        AssetCheckSpec(
            "reject_ratio",
            asset=UPLOAD_MANIFESTS,
            description="No upload has a larger share of refused rows than H3_MAX_REJECT_RATIO.",
        ),
    ],
    partitions_def=uploads_partitions,
    backfill_policy=BackfillPolicy.single_run(),
    # for the store and the network; a refused upload is never tried again
    retry_policy=RetryPolicy(max_retries=2, delay=2, backoff=Backoff.EXPONENTIAL),
)
@observed_step
def process_uploads(
    context: AssetExecutionContext, pipeline: PipelineResource
) -> Iterator[MaterializeResult | AssetCheckResult]:
    """Process every upload of the run."""
    settings = pipeline.settings()
    catalog = pipeline.catalog()
    measured.admit_feeds(catalog)
    accepted: list[ProcessedUpload] = []
    handed_over_to = handovers(settings)
    if handed_over_to:
        handed_over_to.prepare()
    with pipeline.bucket() as bucket, pipeline.task_engine(bucket) as engine:
        task = ProcessingTask(
            bucket, engine, catalog, settings.h3_resolution, settings.h3_max_reject_ratio, handed_over_to
        )
        for processed in _process(context, task):
            accepted += processed
            _report(context, processed)
    yield MaterializeResult(asset_key=UPLOAD_MANIFESTS)
    yield _check_conservation(accepted)
    yield _check_cells(accepted, settings.h3_resolution)
    yield _check_reject_ratio(accepted, len(context.partition_keys), settings.h3_max_reject_ratio)


def _process(context: AssetExecutionContext, task: ProcessingTask) -> Iterator[Sequence[ProcessedUpload]]:
    """Process the uploads of a run, first what goes together; gives those that are accepted, as they are done."""
    keys = [key_of_partition(partition) for partition in context.partition_keys]
    done: set[str] = set()
    if len(keys) > 1:
        for processed in side_by_side(keys, task, _process_together):
            done |= processed.keys()
            yield list(processed.values())
    for key in keys:
        if key not in done and (processed := _process_one(context, key, task)):
            yield [processed]


def _process_together(keys: Sequence[str], task: ProcessingTask) -> dict[str, ProcessedUpload]:
    clock = StageClock(logger.debug)
    with doing(upload=named(keys)), span("process uploads"):
        processed = process_together(keys, task, on_stage=clock)
    clock.stop()
    return processed


def _process_one(context: AssetExecutionContext, key: str, task: ProcessingTask) -> ProcessedUpload | None:
    """Process an upload on its own; None if it was refused, which is reported."""
    clock = StageClock(logger.debug)
    try:
        with doing(upload=key), span("process upload"):
            processed = process_upload(key, task, on_stage=clock)
    except (UploadRefused, QueryError) as error:
        refusal = error if isinstance(error, UploadRefused) else UploadRefused("engine_error", str(error))
        write_refusal(task.bucket, key, refusal)
        measured.upload_refused(key, refusal.code)
        context.log.warning("%s refused (%s): %s", key, refusal.code, refusal)
        verdict = {"verdict": "refused", "code": refusal.code, "error": str(refusal)}
        describe_partitions(context, UPLOAD_MANIFESTS, {partition_key(key): verdict})
        return None
    clock.stop()
    return processed


def _report(context: AssetExecutionContext, uploads: Sequence[ProcessedUpload]) -> None:
    if not uploads:
        return
    manifests = [processed.manifest for processed in uploads]
    rejected = sum((Counter(manifest.rejected) for manifest in manifests), Counter())
    context.log.info(
        "%s: %s rows in, %s loaded, %s rejected %s",
        named([manifest.upload for manifest in manifests]),
        f"{sum(manifest.rows_in for manifest in manifests):,}",
        f"{sum(manifest.rows_loaded for manifest in manifests):,}",
        f"{rejected.total():,}",
        dict(rejected) or "",
    )
    for manifest in manifests:
        measured.upload_processed(manifest)
    describe_partitions(
        context, UPLOAD_MANIFESTS, {partition_key(manifest.upload): _verdict(manifest) for manifest in manifests}
    )
    report(
        context,
        [
            AssetMaterialization(
                asset_key=AssetKey(PROCESSED_TRIPS),
                partition=partition_key(processed.manifest.upload),
                metadata=processed_metadata(processed.manifest, processed.sample),
                tags={DATA_VERSION_TAG: processed.manifest.upload_etag},
            )
            for processed in uploads
        ],
    )


def _verdict(manifest: Manifest) -> dict[str, Any]:
    return {
        "verdict": "accepted",
        "rows in": manifest.rows_in,
        "rows loaded": manifest.rows_loaded,
        "rows rejected": manifest.rows_rejected,
        "manifest": MetadataValue.json(manifest.to_json()),
    }


def _check_conservation(accepted: Sequence[ProcessedUpload]) -> AssetCheckResult:
    manifests = [processed.manifest for processed in accepted]
    lost = [
        m.upload
        for m in manifests
        if m.rows_in != m.rows_loaded + m.rows_rejected or m.rows_rejected != sum(m.rejected.values())
    ]
    return AssetCheckResult(
        asset_key=UPLOAD_MANIFESTS,
        check_name="rows_are_conserved",
        passed=not lost,
        metadata={
            "rows in": sum(m.rows_in for m in manifests),
            "rows loaded": sum(m.rows_loaded for m in manifests),
            "rows rejected": sum(m.rows_rejected for m in manifests),
            "uploads that lost rows": ", ".join(lost) or "none",
        },
    )


def _check_cells(accepted: Sequence[ProcessedUpload], resolution: int) -> AssetCheckResult:
    compared = 0
    wrong: list[TableRecord] = []
    for processed in accepted:
        for row in processed.sample:
            for end in ("origin", "destination"):
                found: Any = row[f"{end}_h3"]
                if found is None:
                    continue
                compared += 1
                point = row[f"{end}_lat"], row[f"{end}_lng"]
                expected = h3.str_to_int(h3.latlng_to_cell(*point, resolution))
                if found != expected:
                    cells = {"found": f"{found:x}", "expected": f"{expected:x}"}
                    wrong.append(TableRecord({"upload": processed.manifest.upload, "point": str(point), **cells}))
    metadata: dict[str, Any] = {"cells compared": compared, "cells that differ": len(wrong)}
    if wrong:
        metadata["differences"] = MetadataValue.table(wrong[:20])
    return AssetCheckResult(
        asset_key=UPLOAD_MANIFESTS, check_name="cells_equal_h3", passed=not wrong, metadata=metadata
    )


def _check_reject_ratio(accepted: Sequence[ProcessedUpload], uploads: int, limit: float) -> AssetCheckResult:
    ratios = {p.manifest.upload: p.manifest.rows_rejected / p.manifest.rows_in for p in accepted}
    refused = uploads - len(accepted)
    return AssetCheckResult(
        asset_key=UPLOAD_MANIFESTS,
        check_name="reject_ratio",
        passed=not refused and all(ratio <= limit for ratio in ratios.values()),
        severity=AssetCheckSeverity.WARN,
        metadata={
            "limit": limit,
            "largest ratio": max(ratios.values(), default=0.0),
            "uploads refused whole": refused,
        },
    )
