"""Ingests uploads to the end in this process, as the command line does: the same job, no daemon."""

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    JobDefinition,
    RunsFilter,
)

from h3_pipeline.assets.processing import process_uploads
from h3_pipeline.assets.reporting import report_without_run
from h3_pipeline.assets.uploads import observed, raw_uploads
from h3_pipeline.assets.warehouse import MAX_RETRIES, TRIPS, load_uploads
from h3_pipeline.checks import WHOLE_WAREHOUSE_CHECKS
from h3_pipeline.errors import PipelineError, StorageError
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.ops.logs import console_logger
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.resources import pipeline_resource
from h3_pipeline.runs import add_partitions, contiguous, range_tags
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, at_once

logger = logging.getLogger(__name__)

PROCESS_TAG = "h3_pipeline/process"
"""Names the process that executes a run, so that the next command knows whether it still lives."""


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """What became of one upload; the fields are those of ``ingest --json``."""

    upload: str
    status: str
    feed: str | None = None
    rows_in: int | None = None
    rows_loaded: int = 0
    rows_rejected: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of all uploads of a command.

    Attributes:
        uploads: One outcome an upload, in the order given.
        run_id: Dagster run; the last one where the uploads took several.
        seconds: From start to end.
    """

    uploads: list[UploadOutcome]
    run_id: str | None
    seconds: float


def ingest(
    keys: Sequence[str],
    *,
    bucket: Bucket,
    instance: DagsterInstance,
) -> IngestReport:
    """Ingest uploads that are in the bucket already.

    Args:
        keys: Keys below ``uploads/``, each once.
        bucket: The bucket.
        instance: Where the runs are recorded.

    Raises:
        StorageError: An upload is not in the bucket, or the bucket failed.
        PipelineError: A run failed for another reason than what is in the files.
    """
    began = time.monotonic()
    end_runs_of_dead_processes(instance)
    objects = {key: prefixes.upload_object(key) for key in keys}
    found = bucket.head_all(objects.values())
    for name in objects.values():
        if name not in found:
            raise StorageError(f"{bucket} has no object {name}; upload it first")
    report_without_run(instance, [observed(key, found[name]) for key, name in objects.items()])
    partitions = [prefixes.partition_key(key) for key in keys]
    known = add_partitions(instance, partitions)
    run_id = None
    seconds: dict[str, float] = {}
    for batch in contiguous(partitions, known):
        result = _execute(batch, instance)
        run_id = result.run_id
        loaded = _load_seconds(instance, run_id, batch)
        if not result.success:
            _raise_unless_refused(result, bucket, [partition for partition in batch if partition not in loaded])
        seconds |= loaded
    outcomes = at_once(lambda key: outcome(bucket, key, seconds.get(prefixes.partition_key(key))), keys)
    return IngestReport(outcomes, run_id, round(time.monotonic() - began, 3))


def outcome(bucket: Bucket, key: str, load_seconds: float | None = None) -> UploadOutcome:
    """What became of one upload, from what processing left in the bucket.

    Args:
        bucket: The bucket.
        key: Key below ``uploads/``.
        load_seconds: How long loading it took, if it is known to have been loaded.
    """
    refusal = bucket.read_json(prefixes.refusal_object(key)) if load_seconds is None else None
    if refusal is not None:
        rejected = dict(refusal.get("rejected", {}))
        return UploadOutcome(
            upload=key,
            status="refused",
            feed=refusal.get("feed"),
            rows_in=refusal.get("rows_in"),
            rows_rejected=sum(rejected.values()),
            rejected=rejected,
            error=refusal["error"],
        )
    document = bucket.read_json(prefixes.manifest_object(key))
    if document is None:
        raise PipelineError(f"{key} left neither a manifest nor a refusal; run it again")
    manifest = Manifest.from_json(document)
    return UploadOutcome(
        upload=key,
        status="loaded",
        feed=manifest.feed,
        rows_in=manifest.rows_in,
        rows_loaded=manifest.rows_loaded,
        rows_rejected=manifest.rows_rejected,
        rejected=manifest.rejected,
        warnings=manifest.warnings,
        seconds=round(manifest.seconds + (load_seconds or 0.0), 3),
    )


def end_runs_of_dead_processes(instance: DagsterInstance) -> None:
    """Fail the runs whose command was killed, and give back the pool's slots that they held."""
    unfinished = RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])
    for run in instance.get_runs(unfinished):
        process = run.tags.get(PROCESS_TAG)
        if process and not _lives(process):
            logger.info("run %s was left behind by a process that died; it is marked as failed", run.run_id)
            instance.report_run_failed(run, "The process that executed this run died; run it again.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def ingestion_job() -> JobDefinition:
    """The job of the project's definitions, made without what only other jobs need, sensors and exports above all."""
    return Definitions(
        assets=[raw_uploads, process_uploads, load_uploads],
        asset_checks=WHOLE_WAREHOUSE_CHECKS,  # which the job leaves out by name
        jobs=[ingest_uploads],
        resources={"pipeline": pipeline_resource()},
        loggers={"console": console_logger},
    ).resolve_job_def(ingest_uploads.name)


def _execute(partitions: Sequence[str], instance: DagsterInstance) -> ExecuteInProcessResult:
    return ingestion_job().execute_in_process(
        instance=instance,
        tags={PROCESS_TAG: _this_process(), **range_tags(partitions)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def _raise_unless_refused(result: ExecuteInProcessResult, bucket: Bucket, not_loaded: Sequence[str]) -> None:
    """A run fails when an upload is refused; any other failure is the command's."""
    keys = [prefixes.key_of_partition(partition) for partition in not_loaded]
    if keys and all(bucket.head(prefixes.refusal_object(key)) is not None for key in keys):
        return
    raise PipelineError(_cause(result))


def _cause(result: ExecuteInProcessResult) -> str:
    """The innermost message of the run's first failure."""
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return error.message.split(":", 1)[-1].strip()
    return f"run {result.run_id} failed; `h3-pipeline dev` shows its log"


def _load_seconds(instance: DagsterInstance, run_id: str, partitions: Sequence[str]) -> dict[str, float]:
    """Seconds that loading took in a run, by partition, for those that were loaded."""
    of_partitions = AssetRecordsFilter(asset_key=AssetKey(TRIPS), asset_partitions=list(partitions))
    # the newest come first: those of this run, which may have tried more than once
    records = instance.fetch_materializations(of_partitions, limit=(1 + MAX_RETRIES) * len(partitions)).records
    seconds = {}
    for record in records:
        if record.run_id == run_id and record.asset_materialization and record.partition_key:
            value: Any = record.asset_materialization.metadata["seconds"].value
            seconds[record.partition_key] = float(value)
    return seconds


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def _lives(process: str) -> bool:
    host, pid, created = process.rsplit(":", 2)
    if host != socket.gethostname():
        return True  # not ours to judge
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(created)) < 2
    except psutil.NoSuchProcess:
        return False
