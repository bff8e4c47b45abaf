"""Drops the partitions of uploads that are gone, so that Dagster's list of them does not grow for ever."""

from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    OpExecutionContext,
    in_process_executor,
    job,
    op,
)

from h3_pipeline.arrivals import Arrivals
from h3_pipeline.assets.uploads import RAW_UPLOADS
from h3_pipeline.errors import StorageError
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.schema import TRIPS

QUIET = timedelta(days=1)
"""A partition that something happened to in this time stays: somebody may be at work on it."""

_LOOKED_UP_AT_ONCE = 1000


@op(description="Drops the partitions of uploads that have left the bucket; rows and objects stay as they are.")
@observed_step
def prune(context: OpExecutionContext, pipeline: PipelineResource) -> int:
    """Prune partitions; returns how many."""
    kept_for = timedelta(days=pipeline.settings().h3_prune_after_days)
    with pipeline.bucket() as bucket:
        gone = _gone(context.instance, bucket)
        past = _quiet(context.instance, gone)
        if past:
            in_use = {
                partition for warehouse in pipeline.warehouses(bucket) for partition in _in_use(warehouse, kept_for)
            }
            past = [partition for partition in past if partition not in in_use]
        pruned = [partition for partition in past if _drop(context.instance, bucket, partition)]
    left = len(context.instance.get_dynamic_partitions(UPLOADS))
    context.log.info("%d uploads have left the bucket; %d partitions dropped, %d left", len(gone), len(pruned), left)
    context.add_output_metadata(
        {"left the bucket": len(gone), "dropped": len(pruned), "partitions left": left, "first dropped": pruned[:100]}
    )
    return len(pruned)


@job(
    executor_def=in_process_executor,
    description="Drop the partitions of uploads that have left the bucket, once their rows are retracted or past.",
)
def prune_partitions() -> None:
    """Prune partitions."""
    prune()


def _gone(instance: DagsterInstance, bucket: Bucket) -> list[str]:
    """Partitions without an object, and without a run that is queued or under way."""
    partitions = instance.get_dynamic_partitions(UPLOADS)
    there = set(_there(bucket))
    if partitions and not there:
        raise StorageError(
            f"{bucket} holds no upload at all, so no partition is dropped; is S3_BUCKET the right one? "
            "If it is, the next upload ends this"
        )
    in_flight = Arrivals(instance).in_flight
    return [partition for partition in partitions if partition not in there and partition not in in_flight]


def _there(bucket: Bucket) -> Iterator[str]:
    for prefix in (prefixes.UPLOADS, prefixes.PROCESSED):
        for stored in bucket.list(prefix):
            if prefix == prefixes.UPLOADS or not prefixes.is_own_output(stored.key):
                yield prefixes.partition_key(prefixes.key_of_object(stored.key))


def _quiet(instance: DagsterInstance, partitions: Sequence[str]) -> list[str]:
    """Those of which nothing was heard for a while."""
    since = datetime.now(UTC) - QUIET
    busy: set[str] = set()
    for first in range(0, len(partitions), _LOOKED_UP_AT_ONCE):
        some = set(partitions[first : first + _LOOKED_UP_AT_ONCE])
        latest = instance.get_latest_storage_id_by_partition(
            AssetKey(RAW_UPLOADS), DagsterEventType.ASSET_MATERIALIZATION, some
        )
        if latest:
            events = AssetRecordsFilter(
                AssetKey(RAW_UPLOADS), storage_ids=list(latest.values()), after_timestamp=since.timestamp()
            )
            records = instance.fetch_materializations(events, limit=len(latest)).records
            busy |= {record.partition_key for record in records if record.partition_key}
    return [partition for partition in partitions if partition not in busy]


def _in_use(warehouse: Warehouse, kept_for: timedelta) -> Set[str]:
    """Partitions of the uploads that have rows in the tables, and were loaded not so long ago."""
    table = warehouse.placement.table(TRIPS)
    rows: Mapping[str, int] = warehouse.engine.pairs(f"SELECT upload, count() FROM {table} GROUP BY upload")
    loaded = {event.upload: event.at for event in history.latest_loads(warehouse.engine, warehouse.placement)}
    since = datetime.now(UTC) - kept_for
    return {prefixes.partition_key(upload) for upload in rows if _at(loaded.get(upload)) >= since}


def _at(moment: datetime | None) -> datetime:
    """A moment of the history; rows that it does not know of are as good as new."""
    if moment is None:
        return datetime.max.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _drop(instance: DagsterInstance, bucket: Bucket, partition: str) -> bool:
    """Drop a partition, unless its upload is back; one that comes back at this very moment gets it again."""
    key = prefixes.upload_object(prefixes.key_of_partition(partition))
    if bucket.head(key) is not None:
        return False
    instance.delete_dynamic_partition(UPLOADS, partition)
    if bucket.head(key) is None:
        return True
    instance.add_dynamic_partitions(UPLOADS, [partition])
    return False
