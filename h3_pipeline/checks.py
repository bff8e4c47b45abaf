"""Checks that look at the whole warehouse, apart from those that come with each load."""

from collections import Counter
from collections.abc import Sequence

from dagster import (
    AssetCheckResult,
    MetadataValue,
    TableRecord,
    asset_check,
)

from h3_pipeline.ops.observed import observed_step
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage import prefixes
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.reconcile import ResolutionCheck, recount
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY, TRIPS


def _recounts(pipeline: PipelineResource, table: str) -> list[tuple[int, ResolutionCheck]]:
    """Recounts of a table, each with its shard."""
    found = []
    with pipeline.bucket() as bucket:
        for shard in pipeline.shards().all:
            with pipeline.warehouse(bucket, shard) as warehouse:
                qualified = warehouse.placement.table
                checks = recount(
                    warehouse.engine,
                    qualified(TRIPS),
                    qualified(CELL_HOURLY),
                    qualified(FLOW_HOURLY),
                    warehouse.rollup_resolutions,
                )
            found += [(shard.number, check) for check in checks if check.table == table]
    return found


def _result(checks: Sequence[tuple[int, ResolutionCheck]]) -> AssetCheckResult:
    several = len({shard for shard, _ in checks}) > 1
    records = [
        TableRecord(
            {
                **({"shard": shard} if several else {}),
                "resolution": check.resolution,
                "groups": check.groups,
                "trips": check.trips,
                "recounted trips": check.recounted_trips,
                "equal": check.equal,
            }
        )
        for shard, check in checks
    ]
    return AssetCheckResult(
        passed=all(check.equal for _, check in checks), metadata={"by resolution": MetadataValue.table(records)}
    )


@asset_check(asset=CELL_HOURLY, description="Over all uploads, every group equals a recount from `trips`.")
@observed_step
def cell_hourly_reconciles(pipeline: PipelineResource) -> AssetCheckResult:
    """Recount all of ``cell_hourly``."""
    return _result(_recounts(pipeline, CELL_HOURLY))


@asset_check(asset=FLOW_HOURLY, description="Over all uploads, every group equals a recount from `trips`.")
@observed_step
def flow_hourly_reconciles(pipeline: PipelineResource) -> AssetCheckResult:
    """Recount all of ``flow_hourly``."""
    return _result(_recounts(pipeline, FLOW_HOURLY))


@asset_check(
    asset=TRIPS,
    description="Every upload in `trips` is loaded whole, and its object is still in the bucket. "
    "One that was deleted is reported, never retracted: `h3-pipeline retract` does that.",
)
@observed_step
def uploads_are_accounted_for(pipeline: PipelineResource) -> AssetCheckResult:
    """Compare ``trips`` with the history of loads and with the bucket."""
    with pipeline.bucket() as bucket:
        objects = {prefixes.key_of_object(stored.key) for stored in bucket.list(prefixes.UPLOADS)}
        expected: Counter[str] = Counter()
        rows: Counter[str] = Counter()
        for warehouse in pipeline.warehouses(bucket):
            # added up: an upload on two shards is one too many
            for event in history.latest_loads(warehouse.engine, warehouse.placement):
                expected[event.upload] = event.rows_loaded
            table = warehouse.placement.table(TRIPS)
            rows.update(warehouse.engine.pairs(f"SELECT upload, count() FROM {table} GROUP BY upload"))
    differing = [
        TableRecord({"upload": upload, "loaded": expected[upload], "in trips": int(rows[upload])})
        for upload in sorted(expected.keys() | rows.keys())
        if expected[upload] != rows[upload]
    ]
    deleted = sorted(upload for upload in rows if upload not in objects and not upload.startswith(prefixes.EXTERNAL))
    return AssetCheckResult(
        passed=not differing and not deleted,
        metadata={
            "uploads": len(rows),
            "rows": int(sum(rows.values())),
            "deleted from the bucket": MetadataValue.json(deleted[:100]),
            **({"differences": MetadataValue.table(differing[:100])} if differing else {}),
        },
    )


WHOLE_WAREHOUSE_CHECKS = (cell_hourly_reconciles, flow_hourly_reconciles, uploads_are_accounted_for)
"""Checks that read every row; the job `reconcile_warehouse` runs them."""
