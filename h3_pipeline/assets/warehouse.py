"""``trips``, ``cell_hourly`` and ``flow_hourly``: an upload's rows in the warehouse.

One step for the three, because they are staged and published together. Like `processed_trips`, they
are reported upload by upload. Uploads that were refused, here or before, fail the run at its end,
so that their partitions fail with it and the others stand.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    Backoff,
    Failure,
    MetadataValue,
    RetryPolicy,
    TableRecord,
    multi_asset,
)

from h3_pipeline.assets.metadata import TRIPS_SCHEMA, Metadata, loaded_metadata
from h3_pipeline.assets.pictures import departures_picture
from h3_pipeline.assets.processing import UPLOAD_MANIFESTS
from h3_pipeline.assets.reporting import report
from h3_pipeline.assets.uploads import DATA_VERSION_TAG
from h3_pipeline.batching import named
from h3_pipeline.ops import measured
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.partitions import uploads_partitions
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, at_once
from h3_pipeline.telemetry.context import doing
from h3_pipeline.telemetry.stages import StageClock
from h3_pipeline.telemetry.tracing import span
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.loading import LoadedUpload, Warehouse, batches
from h3_pipeline.warehouse.reconcile import ResolutionCheck
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, LOADED_TABLES, TRIPS

logger = logging.getLogger(__name__)

POOL = "warehouse"
"""Dagster pool with one slot: one run at a time publishes."""

MAX_RETRIES = 2
"""Of loading, within a run."""

PICTURES = 20
"""Uploads of a run whose departures are drawn; a picture costs as much as loading a small upload does."""

SENSOR_TAG = "dagster/sensor_name"
"""Dagster's tag of a run that a sensor asked for; a repeated run keeps it."""


@multi_asset(
    name="load_uploads",
    specs=[
        AssetSpec(
            TRIPS,
            deps=[UPLOAD_MANIFESTS],
            description="One row a trip, of every upload. The newest version of an upload replaces its rows.",
            group_name="warehouse",
            kinds={"clickhouse", "table"},
            metadata={"dagster/column_schema": TRIPS_SCHEMA},
            skippable=True,
        ),
        AssetSpec(
            CELL_HOURLY,
            deps=[TRIPS],
            description="Departures and arrivals per H3 cell and hour, at several resolutions; "
            "ask `cell_hourly_view` for finished numbers.",
            group_name="warehouse",
            kinds={"clickhouse", "table"},
            skippable=True,
        ),
        AssetSpec(
            FLOW_HOURLY,
            deps=[TRIPS],
            description="Trips per origin, destination and hour, at several resolutions; "
            "ask `flow_hourly_view` for finished numbers.",
            group_name="warehouse",
            kinds={"clickhouse", "table"},
            skippable=True,
        ),
    ],
    check_specs=[
        AssetCheckSpec(
            "rows_are_conserved",
            asset=TRIPS,
            description="`trips` holds exactly the rows that the manifests say were loaded.",
        ),
        AssetCheckSpec(
            "rollup_equals_recount",
            asset=CELL_HOURLY,
            description="At every resolution, each group equals a recount from the upload's trips.",
        ),
        AssetCheckSpec(
            "rollup_equals_recount",
            asset=FLOW_HOURLY,
            description="At every resolution, each group equals a recount from the upload's trips.",
        ),
    ],
    partitions_def=uploads_partitions,
    backfill_policy=BackfillPolicy.single_run(),
    pool=POOL,
    retry_policy=RetryPolicy(max_retries=MAX_RETRIES, delay=2, backoff=Backoff.EXPONENTIAL),
)
@observed_step
def load_uploads(context: AssetExecutionContext, pipeline: PipelineResource) -> Iterator[AssetCheckResult]:
    """Load every upload of the run that was accepted, each on the shard that it belongs to."""
    measured.admit_feeds(pipeline.catalog())
    keys = [prefixes.key_of_partition(partition) for partition in context.partition_keys]
    refused: dict[str, str] = {}
    done = _Done()
    with pipeline.bucket() as bucket:
        for shard, group in pipeline.shards().group(keys).items():
            with pipeline.warehouse(bucket, shard) as warehouse:
                refused |= _load(context, bucket, warehouse, group, done)
    if done.loaded:
        yield _check_conservation(done)
        yield _check_recounts(CELL_HOURLY, done.recounts)
        yield _check_recounts(FLOW_HOURLY, done.recounts)
    if refused:
        raise _failure(refused, len(keys))


@dataclass
class _Done:
    """What a run has loaded so far.

    Attributes:
        loaded: By upload.
        recounts: Of each load.
        differing: Rows found of uploads whose rows are not those that were loaded.
    """

    loaded: dict[str, LoadedUpload] = field(default_factory=dict)
    recounts: list[ResolutionCheck] = field(default_factory=list)
    differing: dict[str, int] = field(default_factory=dict)


def _load(
    context: AssetExecutionContext, bucket: Bucket, warehouse: Warehouse, keys: Sequence[str], done: _Done
) -> dict[str, str]:
    """Load what was accepted; return why the others were refused, by upload."""
    accepted, refusals = _verdicts(context, bucket, warehouse, keys)
    history.record(
        warehouse.engine,
        warehouse.placement,
        [_refused_event(key, refusal, context.run.run_id) for key, refusal in refusals.items()],
    )
    here: dict[str, LoadedUpload] = {}
    for batch in batches(accepted):
        # stages do not go to Dagster's log, of which each line is a row in its database
        clock = StageClock(logger.debug)
        names = named([manifest.upload for manifest in batch])
        with doing(upload=names), span("load uploads"):
            together = warehouse.load_all(batch, run_id=context.run.run_id, on_stage=clock)
            context.log.info("loaded %s: %s rows", names, f"{sum(manifest.rows_loaded for manifest in batch):,}")
        clock.stop()
        done.recounts += together[batch[0].upload].recounts
        materializations: list[AssetMaterialization] = []
        for manifest in batch:
            measured.upload_loaded(manifest, bucket)
            picture = _picture(context, warehouse, manifest.upload, together) if len(done.loaded) < PICTURES else {}
            here[manifest.upload] = done.loaded[manifest.upload] = together[manifest.upload]
            materializations += _materializations(manifest, together[manifest.upload], picture)
        report(context, materializations)
    done.differing |= warehouse.differing_rows(here)
    return {key: refusal["error"] for key, refusal in refusals.items()}


def _verdicts(
    context: AssetExecutionContext, bucket: Bucket, warehouse: Warehouse, keys: Sequence[str]
) -> tuple[list[Manifest], dict[str, dict[str, Any]]]:
    """Manifests of the uploads to load, and the refusals of the others, by upload."""
    retracted = _not_for_the_sensor(context, warehouse)
    manifests: list[Manifest] = []
    notes = at_once(bucket.read_json, map(prefixes.refusal_object, keys))
    refusals = {key: note for key, note in zip(keys, notes, strict=True) if note is not None}
    accepted = [key for key in keys if key not in refusals]
    documents = at_once(bucket.read_json, map(prefixes.manifest_object, accepted))
    for key, document in zip(accepted, documents, strict=True):
        manifest = _manifest(key, document)
        if retracted.get(key) == manifest.upload_etag:
            context.log.warning(
                "%s was retracted in this version, so the sensor does not load it; `h3-pipeline ingest` does", key
            )
            continue
        manifests.append(manifest)
    return manifests, refusals


def _not_for_the_sensor(context: AssetExecutionContext, warehouse: Warehouse) -> dict[str, str]:
    """Versions that only a person may load: those retracted, if a sensor asked for this run."""
    if SENSOR_TAG not in context.run.tags:
        return {}
    return history.retracted_versions(warehouse.engine, warehouse.placement)


def _manifest(key: str, document: dict[str, Any] | None) -> Manifest:
    if document is None:
        raise Failure(
            f"{key} was not processed yet: {prefixes.manifest_object(key)} is not there; materialize processed_trips",
            allow_retries=False,
        )
    return Manifest.from_json(document)


def _picture(
    context: AssetExecutionContext, warehouse: Warehouse, key: str, loaded: Mapping[str, LoadedUpload]
) -> Metadata:
    try:
        return {"picture": departures_picture(warehouse, key, loaded[key])}
    except Exception:
        # the upload is loaded: nothing that only adorns its report may fail it
        context.log.warning("no picture of %s", key, exc_info=True)
        return {}


def _materializations(manifest: Manifest, result: LoadedUpload, picture: Metadata) -> Iterator[AssetMaterialization]:
    for table in LOADED_TABLES:
        yield AssetMaterialization(
            asset_key=AssetKey(table),
            partition=prefixes.partition_key(manifest.upload),
            metadata=loaded_metadata(table, result) | (picture if table == CELL_HOURLY else {}),
            tags={DATA_VERSION_TAG: manifest.upload_etag},
        )


def _check_conservation(done: _Done) -> AssetCheckResult:
    differing = [
        TableRecord({"upload": key, "staged": done.loaded[key].rows[TRIPS], "in trips": found})
        for key, found in done.differing.items()
    ]
    return AssetCheckResult(
        asset_key=TRIPS,
        check_name="rows_are_conserved",
        passed=not differing,
        metadata={
            "uploads": len(done.loaded),
            "rows": sum(result.rows[TRIPS] for result in done.loaded.values()),
            **({"differences": MetadataValue.table(differing)} if differing else {}),
        },
    )


def _check_recounts(table: str, recounts: Sequence[ResolutionCheck]) -> AssetCheckResult:
    checks = [check for check in recounts if check.table == table]
    resolutions = sorted({check.resolution for check in checks}, reverse=True)
    summary = []
    for resolution in resolutions:
        same = [check for check in checks if check.resolution == resolution]
        summary.append(
            TableRecord(
                {
                    "resolution": resolution,
                    "groups": sum(check.groups for check in same),
                    "trips": sum(check.trips for check in same),
                    "recounted trips": sum(check.recounted_trips for check in same),
                    "equal": all(check.equal for check in same),
                }
            )
        )
    return AssetCheckResult(
        asset_key=table,
        check_name="rollup_equals_recount",
        passed=bool(checks) and all(check.equal for check in checks),
        metadata={"by resolution": MetadataValue.table(summary)},
    )


def _refused_event(key: str, refusal: dict, run_id: str) -> history.UploadEvent:
    return history.UploadEvent(
        upload=key,
        upload_etag=refusal.get("upload_etag", ""),
        event="refused",
        feed=refusal.get("feed", ""),
        rows_in=refusal.get("rows_in"),
        rejected=refusal.get("rejected", {}),
        message=f"{refusal['code']}: {refusal['error']}",
        run_id=run_id,
    )


def _failure(refused: dict[str, str], uploads: int) -> Failure:
    first = "; ".join(f"{key}: {error}" for key, error in list(refused.items())[:3])
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return Failure(
        f"{len(refused)} of {uploads} uploads refused. {first}{more}",
        metadata=dict(list(refused.items())[:100]),
        allow_retries=False,
    )
