"""A sensor's evaluations, and what the daemon does with them, without a daemon."""

from dagster import DagsterInstance, DagsterRunStatus, RunRequest, SensorResult, build_sensor_context
from dagster._core.definitions.partitions.context import partition_loading_context

from h3_pipeline.definitions import build_definitions
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from h3_pipeline.sensors import processed_sensor, uploads_sensor


def look(
    instance: DagsterInstance, pipeline: PipelineResource, cursor: str | None = None, *, processed: bool = False
) -> SensorResult:
    """One evaluation; what it asks for is not done."""
    sensor = processed_sensor if processed else uploads_sensor
    with build_sensor_context(instance=instance, cursor=cursor) as context:
        result = sensor(context, pipeline=pipeline)
    assert isinstance(result, SensorResult)
    return result


def requested(result: SensorResult, instance: DagsterInstance) -> list[list[str]]:
    """Partitions of each run that was asked for."""
    known = list(instance.get_dynamic_partitions(UPLOADS))

    def partitions(request: RunRequest) -> list[str]:
        if request.partition_key is not None:
            return [request.partition_key]
        first, last = known.index(request.tags[RANGE_START_TAG]), known.index(request.tags[RANGE_END_TAG])
        return known[first : last + 1]

    return [partitions(request) for request in result.run_requests or []]


def submit(
    result: SensorResult, instance: DagsterInstance, status: DagsterRunStatus = DagsterRunStatus.STARTED
) -> list[list[str]]:
    """Do what the daemon does with a result; the partitions of the runs."""
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    job = build_definitions().resolve_job_def(ingest_uploads.name)
    with partition_loading_context(dynamic_partitions_store=instance):
        for request in result.run_requests or []:
            tags = {**request.tags, **({PARTITION_TAG: request.partition_key} if request.partition_key else {})}
            instance.create_run_for_job(job, tags=tags, status=status)
    return requested(result, instance)


def end_runs(instance: DagsterInstance) -> None:
    for run in instance.get_runs():
        if not run.is_finished:
            instance.report_run_failed(run, "the test ended it")
