"""The sensors: they notice what arrived and ask for runs; they never do the work.

What has been asked for is in Dagster's records alone (`arrivals`). The cursor only saves looking
again (`storage.watch`), and a message of the queue is deleted only once those records say that nothing
is left to do about it. So a tick that dies anywhere loses nothing: the next one finds the same.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from h3_pipeline.arrivals import Arrivals
from h3_pipeline.assets.uploads import observed
from h3_pipeline.errors import StorageError
from h3_pipeline.feeds.model import Feed
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.ops.logs import CONSOLE
from h3_pipeline.ops.observed import observed_tick
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import (
    MAX_RUNS_IN_FLIGHT,
    MAX_RUNS_PER_LOOK,
    MAX_UPLOADS,
    Arrival,
    add_partitions,
    grouped,
    range_tags,
    unfinished_runs,
)
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.storage.notifications import MESSAGES_PER_CALL, Notification, NotificationQueue
from h3_pipeline.storage.watch import Progress, look, version
from h3_pipeline.task_sizes import feed_tag, task_size

SECONDS_BETWEEN_TICKS = 15

TICK_SECONDS = 20.0
"""A tick begins nothing new after so long. Dagster itself gives it up after 60 s."""

QUEUE_SECONDS = 10.0
"""Of those, how long messages are taken from the queue."""

LONG_POLL_SECONDS = 2

MAX_MESSAGES = 500
"""Taken from the queue in one tick."""

HIDDEN_SECONDS = 120
"""A message that led to a request comes back after so long, and is deleted if the run exists by then."""

WAITING_SECONDS = 15 * 60
"""The same where the upload is just being run in another version."""

LISTING_INTERVAL = timedelta(hours=1)
"""With a queue, the whole listing is gone through so often, for what S3 did not tell."""

_HEADS_AT_ONCE = 8  # fewer than the client has connections


@sensor(
    job=ingest_uploads,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Loads every new or replaced object below `uploads/`.",
)
@observed_tick
def uploads_sensor(context: SensorEvaluationContext, pipeline: PipelineResource) -> SensorResult:
    """Look below ``uploads/``."""
    settings = pipeline.settings()
    with pipeline.bucket() as bucket:
        tick = _Tick(context, bucket, prefixes.UPLOADS, pipeline.user_feeds())
        if not tick.room:
            return tick.result()
        listing_is_due = True
        if settings.uploads_queue_url:
            queue = NotificationQueue(settings.uploads_queue_url, settings.s3_bucket, settings.aws_region)
            listing_is_due = not tick.read_queue(queue) or tick.listing_is_due
        if listing_is_due:
            tick.read_listing(prefixes.is_upload)
        return tick.result()


@sensor(
    job=ingest_uploads,
    minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Loads clean CSVs that another producer puts below `processed/`.",
)
@observed_tick
def processed_sensor(context: SensorEvaluationContext, pipeline: PipelineResource) -> SensorResult:
    """Look below ``processed/``, at what this project did not write itself."""
    with pipeline.bucket() as bucket:
        tick = _Tick(context, bucket, prefixes.PROCESSED, pipeline.user_feeds())
        if tick.room:
            tick.read_listing(lambda key: not prefixes.is_own_output(key))
        return tick.result()


class _Tick:
    """One look of a sensor, within its time and the room that there is for runs."""

    def __init__(self, context: SensorEvaluationContext, bucket: Bucket, prefix: str, feeds: Sequence[Feed]) -> None:
        self._began = time.monotonic()
        self._context = context
        self._bucket = bucket
        self._prefix = prefix
        self._feeds = feeds
        self._progress = Progress.from_cursor(context.cursor)
        self._arrivals = Arrivals(context.instance)
        self._new: dict[str, StoredObject] = {}
        job = [run for run in unfinished_runs(context.instance) if run.job_name == ingest_uploads.name]
        self.room = max(0, min(MAX_RUNS_PER_LOOK, MAX_RUNS_IN_FLIGHT - len(job)))

    @property
    def listing_is_due(self) -> bool:
        """Whether a scan is under way, or the last one was long ago."""
        completed = self._progress.completed_at
        under_way = bool(self._progress.after)
        return under_way or completed is None or datetime.now(UTC) - completed >= LISTING_INTERVAL

    def read_listing(self, watched: Callable[[str], bool]) -> None:
        """Go on through the listing, with an eye on some keys."""
        room = self.room * MAX_UPLOADS - len(self._new)
        if room <= 0:
            return
        found = look(
            self._bucket,
            self._prefix,
            self._progress,
            self._arrivals.judge,
            room=room,
            is_over=lambda: self._seconds >= TICK_SECONDS,
            watched=watched,
        )
        self._progress = found.progress
        self._new |= {stored.key: stored for stored in found.new}

    def read_queue(self, queue: NotificationQueue) -> bool:
        """Take what the queue tells, and delete what is done with; tells whether the queue could be used."""
        try:
            for _ in range(0, MAX_MESSAGES, MESSAGES_PER_CALL):
                messages = queue.receive(wait_seconds=LONG_POLL_SECONDS, hidden_seconds=HIDDEN_SECONDS)
                self._deal_with(queue, messages)
                if not messages or self._seconds >= QUEUE_SECONDS or len(self._new) >= self.room * MAX_UPLOADS:
                    break
        except StorageError as error:
            self._context.log.warning("%s; the whole listing is looked through instead", error)
            return False
        return True

    def _deal_with(self, queue: NotificationQueue, messages: Sequence[Notification]) -> None:
        readable = []
        for message in messages:
            if message.fault is None:
                readable.append(message)
            elif message.deliveries == 1:  # it stays, for the queue's own rule about dead letters
                self._context.log.warning(
                    "message %s of %s is left alone: %s", message.message_id, queue, message.fault
                )
        there, unknown = self._heads({key for message in readable for key in message.keys if _concerns_us(key)})
        judgement = self._arrivals.judge(there)
        self._new |= {stored.key: stored for stored in judgement.new}
        new = {stored.key for stored in judgement.new}
        waiting = {stored.key for stored in judgement.waiting}
        undone = new | waiting | unknown
        queue.delete([message for message in readable if not undone.intersection(message.keys)])
        queue.hide([message for message in readable if waiting.intersection(message.keys)], WAITING_SECONDS)

    def _heads(self, keys: Iterable[str]) -> tuple[list[StoredObject], set[str]]:
        """Objects that are there, and keys that the store does not tell about."""
        there: list[StoredObject] = []
        unknown: set[str] = set()
        with ThreadPoolExecutor(_HEADS_AT_ONCE) as threads:
            looks = {key: threads.submit(self._bucket.head, key) for key in keys}
        for key, found in looks.items():
            try:
                stored = found.result()
            except StorageError as error:
                self._context.log.warning("%s", error)
                unknown.add(key)
            else:
                there += [stored] if stored else []
        return there, unknown

    def result(self) -> SensorResult:
        """What Dagster is to do."""
        if not self.room:
            return SensorResult(
                skip_reason=f"{MAX_RUNS_IN_FLIGHT} runs are queued or under way; new uploads wait for them",
                cursor=self._context.cursor,
            )
        requested = self._requested()
        return SensorResult(
            run_requests=[_request([arrival for arrival, _ in batch], self._feeds) for batch in requested],
            asset_events=[
                observed(prefixes.key_of_object(stored.key), stored) for batch in requested for _, stored in batch
            ],
            cursor=self._progress.to_cursor(),
        )

    def _requested(self) -> list[list[tuple[Arrival, StoredObject]]]:
        """The new objects in runs, as many as there is room for; the others are found again."""
        if not self._new:
            return []
        objects = sorted(self._new.values(), key=lambda stored: (stored.modified_at, stored.key))
        replaced = self._arrivals.replaced(objects)
        arrivals: dict[str, tuple[Arrival, StoredObject]] = {}
        for stored in objects:
            partition = prefixes.partition_key(prefixes.key_of_object(stored.key))
            arrival = Arrival(partition, version(stored).hex(), stored.size, partition in replaced)
            arrivals[partition] = (arrival, stored)
        known = add_partitions(self._context.instance, list(arrivals))
        batches = grouped([arrival for arrival, _ in arrivals.values()], known)
        return [[arrivals[each.partition] for each in batch] for batch in islice(batches, self.room)]

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _concerns_us(key: str) -> bool:
    return prefixes.is_upload(key) and not key.endswith("/")


def _request(batch: Sequence[Arrival], feeds: Sequence[Feed]) -> RunRequest:
    tags = task_size(sum(arrival.size for arrival in batch)) | _feed_tag(batch, feeds)
    if len(batch) == 1:
        return RunRequest(run_key=batch[0].version, partition_key=batch[0].partition, tags=tags, run_config=CONSOLE)
    run_key = blake2b("".join(arrival.version for arrival in batch).encode(), digest_size=16).hexdigest()
    tags |= range_tags([arrival.partition for arrival in batch])
    return RunRequest(run_key=run_key, tags=tags, run_config=CONSOLE)


def _feed_tag(batch: Sequence[Arrival], feeds: Sequence[Feed]) -> dict[str, str]:
    """Whose uploads they are, if they are all of one: the instance limits the runs of each."""
    names = {_whose(prefixes.key_of_partition(arrival.partition), feeds) for arrival in batch}
    name = names.pop()
    return feed_tag(name) if name and not names else {}


def _whose(key: str, feeds: Sequence[Feed]) -> str:
    """The user's feed that a key matches; else its first folder, since built-in feeds are told by content."""
    matching = (feed.name for feed in feeds if feed.matches_key(key))
    return next(matching, key.rpartition("/")[0].partition("/")[0])
