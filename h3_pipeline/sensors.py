"""The sensors: they notice what arrived and ask for runs; they never do the work."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b

from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetRecordsFilter,
    DagsterInstance,
    DefaultSensorStatus,
    RunFailureSensorContext,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    run_failure_sensor,
    sensor,
)

from h3_pipeline.assets.uploads import DATA_VERSION_TAG, observed
from h3_pipeline.assets.warehouse import TRIPS
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.partitions import UPLOADS, uploads_partitions
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import Arrival, batches, range_tags
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import StoredObject
from h3_pipeline.storage.watch import Seen, digest

SECONDS_BETWEEN_TICKS = 15


@sensor(
    job=ingest_uploads,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Loads every new or replaced object below `uploads/`.",
)
def uploads_sensor(context: SensorEvaluationContext, pipeline: PipelineResource) -> SensorResult:
    """Look below ``uploads/``."""
    with pipeline.bucket() as bucket:
        listing = list(bucket.list(prefixes.UPLOADS))
    return _look(context, listing)


@sensor(
    job=ingest_uploads,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Loads clean CSVs that another producer puts below `processed/`.",
)
def processed_sensor(context: SensorEvaluationContext, pipeline: PipelineResource) -> SensorResult:
    """Look below ``processed/``, at what this project did not write itself."""
    with pipeline.bucket() as bucket:
        listing = [stored for stored in bucket.list(prefixes.PROCESSED) if not prefixes.is_own_output(stored.key)]
    return _look(context, listing)


def _look(context: SensorEvaluationContext, listing: Sequence[StoredObject]) -> SensorResult:
    seen = Seen.from_cursor(context.cursor)
    new = [stored for stored in listing if seen.is_new(stored)]
    new = _not_loaded_yet(context.instance, new)
    requests, events, added = _requests(context.instance, new)
    return SensorResult(
        run_requests=requests,
        asset_events=events,
        dynamic_partitions_requests=[uploads_partitions.build_add_request(added)] if added else [],
        cursor=seen.after(listing, datetime.now(UTC)).to_cursor(),
    )


def _requests(
    instance: DagsterInstance, new: Sequence[StoredObject]
) -> tuple[list[RunRequest], list[AssetMaterialization], list[str]]:
    """Run requests, observations and partitions to add for new objects."""
    known = set(instance.get_dynamic_partitions(UPLOADS)) if new else set()
    arrivals = [
        (prefixes.key_of_object(stored.key), stored) for stored in sorted(new, key=lambda stored: stored.modified_at)
    ]
    first: list[Arrival] = []
    requests = []
    for key, stored in arrivals:
        arrival = Arrival(prefixes.partition_key(key), digest(stored), stored.size)
        if arrival.partition in known:  # replaced: it stands elsewhere in the list, so it runs on its own
            requests.append(_request([arrival]))
        else:
            first.append(arrival)
    requests += [_request(batch) for batch in batches(first)]
    events = [observed(key, stored) for key, stored in arrivals]
    return requests, events, [arrival.partition for arrival in first]


def _not_loaded_yet(instance: DagsterInstance, new: Sequence[StoredObject]) -> list[StoredObject]:
    """Leave out what the command line has loaded since the last look, in the same version."""
    versions = {}
    for stored in new:
        partition = prefixes.partition_key(prefixes.key_of_object(stored.key))
        latest = instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(TRIPS), asset_partitions=[partition]), limit=1
        ).records
        materialization = latest[0].asset_materialization if latest else None
        versions[stored.key] = (
            materialization.tags.get(DATA_VERSION_TAG) if materialization and materialization.tags else None
        )
    return [stored for stored in new if versions[stored.key] != stored.etag]


def _request(batch: Sequence[Arrival]) -> RunRequest:
    if len(batch) == 1:
        return RunRequest(run_key=batch[0].version, partition_key=batch[0].partition)
    run_key = blake2b("".join(arrival.version for arrival in batch).encode(), digest_size=16).hexdigest()
    return RunRequest(run_key=run_key, tags=range_tags([arrival.partition for arrival in batch]))


@run_failure_sensor(
    default_status=DefaultSensorStatus.RUNNING,
    description="Writes one line for each failed run, with what to do, to the daemon's log.",
)
def report_failed_runs(context: RunFailureSensorContext) -> None:
    """Report a failed run."""
    context.log.error(
        "Run %s of %s failed: %s",
        context.dagster_run.run_id,
        context.dagster_run.job_name,
        context.failure_event.message,
    )
