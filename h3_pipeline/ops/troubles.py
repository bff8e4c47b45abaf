"""Finds troubles in Dagster's records, and writes the metrics of the instance on the way."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from dagster import (
    AssetCheckSeverity,
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)

from h3_pipeline.feeds.model import Feed
from h3_pipeline.ops.alerts import EXAMPLES, Kind, Trouble
from h3_pipeline.ops.health import SILENT_AFTER_SECONDS
from h3_pipeline.storage.prefixes import key_of_partition
from h3_pipeline.telemetry import metric_names as names
from h3_pipeline.telemetry import metrics
from h3_pipeline.telemetry.metric_names import Dimension

RAW_UPLOADS = AssetKey("raw_uploads")
UPLOAD_MANIFESTS = AssetKey("upload_manifests")
WAREHOUSE_BACKUP = AssetKey("warehouse_backup")

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

PAGE = 1000
"""Records taken at once; what is beyond is found by the next look."""

_LATE = timedelta(minutes=5)
"""A record may be written so much later than its time says."""

_WILL_RETRY_TAG = "dagster/will_retry"
_MOST_ARRIVALS = 10 * PAGE


@dataclass(slots=True)
class Seen:
    """How far the records were read.

    Attributes:
        since: When watching began; what was before is nobody's alarm.
        runs_until: Time of the last run that was read.
        run_ids: Runs around that time.
    """

    since: datetime
    runs_until: datetime
    run_ids: list[str] = field(default_factory=list)

    @classmethod
    def nothing(cls, now: datetime) -> Self:
        """The beginning."""
        return cls(now, now)

    def to_json(self) -> dict[str, Any]:
        """For the cursor."""
        return {
            "since": self.since.isoformat(),
            "runs_until": self.runs_until.isoformat(),
            "run_ids": self.run_ids,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """From the cursor."""
        moment = datetime.fromisoformat
        since, until = moment(document["since"]), moment(document["runs_until"])
        return cls(since, until, list(document["run_ids"]))


def finished_runs(instance: DagsterInstance, seen: Seen) -> list[RunRecord]:
    """Runs that ended since the last look, well or not, at most `PAGE`."""
    ended = RunsFilter(
        statuses=[DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS],
        updated_after=max(seen.runs_until, seen.since) - _LATE,
    )
    known = set(seen.run_ids)
    records = [
        record
        for record in instance.get_run_records(ended, limit=3 * PAGE, order_by="update_timestamp", ascending=True)
        if record.update_timestamp >= seen.since and record.dagster_run.run_id not in known
    ][:PAGE]
    if records:
        seen.runs_until = max(seen.runs_until, records[-1].update_timestamp)
    # those that the next look may find again
    seen.run_ids = (seen.run_ids + [record.dagster_run.run_id for record in records])[-2 * PAGE :]
    return records


def failed_runs(instance: DagsterInstance, records: Iterable[RunRecord]) -> list[Trouble]:
    """Runs that failed, and will not be repeated by themselves."""
    final = [
        record
        for record in records
        if record.dagster_run.status is DagsterRunStatus.FAILURE
        and record.dagster_run.tags.get(_WILL_RETRY_TAG) != "true"
    ]
    for job, count in Counter(record.dagster_run.job_name for record in final).items():
        metrics.admit(Dimension.JOB, [job])
        metrics.emit({names.RUNS_FAILED: count}, job)
    return [
        Trouble(Kind.RUN_FAILED, _run_text(instance, record) if place < EXAMPLES else record.dagster_run.run_id)
        for place, record in enumerate(final)
    ]


def _run_text(instance: DagsterInstance, record: RunRecord) -> str:
    run = record.dagster_run
    cause = "its process ended without a word"
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE):
        error = entry.get_dagster_event().step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            cause = error.message.partition(": ")[2] or error.message
            break
    return f"{run.job_name}, run {run.run_id}: {cause}"


def failed_checks(instance: DagsterInstance, records: Iterable[RunRecord]) -> Iterator[Trouble]:
    """Asset checks of these runs that failed as errors."""
    for record in records:
        run_id = record.dagster_run.run_id
        for entry in instance.all_logs(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION):
            check = entry.get_dagster_event().asset_check_evaluation_data
            if not check.passed and check.severity is AssetCheckSeverity.ERROR:
                name = f"{check.asset_key.to_user_string()}.{check.check_name}"
                stops = "it blocks what comes after" if check.blocking else "it blocks nothing"
                yield Trouble(Kind.CHECK_FAILED, f"{name} in run {run_id}; {stops}")


def silent_feeds(instance: DagsterInstance, feeds: Iterable[Feed], since: datetime, now: datetime) -> Iterator[Trouble]:
    """Feeds of which no upload came for longer than they say.

    Args:
        instance: The instance.
        feeds: The user's feeds.
        since: When watching began; a feed has its time from then on.
        now: The time.
    """
    for feed in feeds:
        if feed.expect_every is None or now - since < feed.expect_every:
            continue
        if not any(feed.matches_key(key) for key in _arrived(instance, now - feed.expect_every)):
            text = f"feed {feed.name}: no upload that matches {feed.match!r} for more than {_shown(feed.expect_every)}"
            yield Trouble(Kind.NO_UPLOADS, text, state=feed.name)


def _arrived(instance: DagsterInstance, after: datetime) -> Iterator[str]:
    """Keys that arrived since then, the newest first."""
    wanted = AssetRecordsFilter(RAW_UPLOADS, after_timestamp=after.timestamp())
    cursor = None
    for _ in range(_MOST_ARRIVALS // PAGE):
        page = instance.fetch_materializations(wanted, limit=PAGE, cursor=cursor)
        yield from (key_of_partition(record.partition_key) for record in page.records if record.partition_key)
        if not page.has_more:
            return
        cursor = page.cursor


def stale_backup(
    instance: DagsterInstance, longest: timedelta, since: datetime, now: datetime, *, expected: bool
) -> Iterator[Trouble]:
    """The last backup, if it is too old.

    Args:
        instance: The instance.
        longest: How old it may be.
        since: When watching began.
        now: The time.
        expected: Whether there must be one though there never was.
    """
    latest = instance.get_latest_materialization_event(WAREHOUSE_BACKUP)
    if latest is None:
        if expected and now - since > longest:
            yield Trouble(Kind.BACKUP_STALE, "there is no backup of the warehouse", state="none")
        return
    made = datetime.fromtimestamp(latest.timestamp, UTC)
    metrics.emit({names.BACKUP_AGE: round((now - made).total_seconds(), 3)})
    if now - made > longest:
        text = f"the last backup of the warehouse is of {made:%Y-%m-%d %H:%M} UTC; it may be {_shown(longest)} old"
        yield Trouble(Kind.BACKUP_STALE, text, state="old")


def silent_daemons(instance: DagsterInstance, since: datetime, now: datetime) -> Iterator[Trouble]:
    """Parts of the daemon that have not been heard of."""
    heartbeats = instance.get_daemon_heartbeats()
    silences = {}
    for daemon in instance.get_required_daemon_types():
        heard = datetime.fromtimestamp(heartbeats[daemon].timestamp, UTC) if daemon in heartbeats else since
        silences[daemon] = (now - max(heard, since)).total_seconds()
    if silences:
        metrics.emit({names.DAEMON_SILENCE: round(max(0.0, *silences.values()), 3)})
    silent = {daemon: seconds for daemon, seconds in silences.items() if seconds > SILENT_AFTER_SECONDS}
    if silent:
        shown = ", ".join(sorted(daemon.lower() for daemon in silent))
        text = f"not heard of for {max(silent.values()) / 60:.0f} minutes: {shown}"
        yield Trouble(Kind.DAEMON_SILENT, text, state="daemon")


def measure_queues(instance: DagsterInstance) -> None:
    """Write how much waits: runs in the queue, and uploads without a verdict. Only where metrics are wanted."""
    if not metrics.are_on():
        return
    queued = instance.get_runs_count(RunsFilter(statuses=[DagsterRunStatus.QUEUED]))
    waiting = instance.get_materialized_partitions(RAW_UPLOADS) - instance.get_materialized_partitions(UPLOAD_MANIFESTS)
    metrics.emit({names.QUEUE_DEPTH: queued, names.FILES_WAITING: len(waiting)})


def _shown(time: timedelta) -> str:
    """A length of time in hours, or in minutes where it is short."""
    minutes = time / timedelta(minutes=1)
    return f"{minutes / 60:,.4g} h" if minutes >= 60 else f"{minutes:.3g} minutes"


def now() -> datetime:
    """The time, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)
