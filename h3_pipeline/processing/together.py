"""Process small uploads together: those that are read in the same way are judged in one statement.

Planning the statement that judges an upload takes as long as judging some 25,000 rows. Only what goes
well goes together. An upload that is to be refused, that needs the parser, or that was changed meanwhile is left
to `process_upload`, and so are all where a statement fails: there each is told what is wrong with it alone.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace

from h3_pipeline.batching import batched, bounded
from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import StorageError, UploadRefused
from h3_pipeline.processing.judged import JudgedRecords, Judgement, judged_records
from h3_pipeline.processing.results import (
    SAMPLE_ROWS,
    JudgedUpload,
    ProcessedUpload,
    complete,
    hand_over,
    write_loaded,
    write_refused,
)
from h3_pipeline.processing.source import check_packed, in_bucket, reads_from_bucket
from h3_pipeline.processing.task import DescribedUpload, ProcessingTask, describe, unchanged
from h3_pipeline.sql import mapped
from h3_pipeline.trips.select import Reading

logger = logging.getLogger(__name__)

SMALL_BYTES = 8 * 1024**2
"""Stored bytes of an upload above which planning is a small part of its time."""

MOST_UPLOADS = 40
MOST_BYTES = 64 * 1024**2
"""Judged at once: what is done again if the task is killed."""

THREADS = 2
"""Batches at once; two of them take about the memory that a large upload does."""


def process_together(
    keys: Sequence[str], task: ProcessingTask, *, on_stage: Callable[[str], None] = logger.debug
) -> dict[str, ProcessedUpload]:
    """Process those uploads that can be processed together.

    Args:
        keys: Keys below ``uploads/``.
        task: What they are processed with.
        on_stage: Told the name of each stage as it begins.

    Returns:
        What was processed, by key. The others are still to be processed, each on its own.
    """
    on_stage("describe")
    processed: dict[str, ProcessedUpload] = {}
    for alike in _alike([described for key in keys if (described := _described(key, task))]):
        for group in bounded(alike, lambda each: each.stored.size, most=MOST_UPLOADS, most_size=MOST_BYTES):
            if len(group) > 1:
                processed |= _process(group, task, on_stage)
    return processed


def side_by_side(
    keys: Sequence[str],
    task: ProcessingTask,
    process: Callable[[Sequence[str], ProcessingTask], dict[str, ProcessedUpload]],
) -> Iterator[dict[str, ProcessedUpload]]:
    """Process batches of uploads in threads: of small ones, most of the work is in one thread at a time.

    Args:
        keys: Keys below ``uploads/``.
        task: What they are processed with.
        process: Processes a batch with a task of its own; `process_together`.

    Returns:
        What was processed of each batch, in order.
    """

    def work(batch: Sequence[str]) -> dict[str, ProcessedUpload]:
        with task.engine.on_one_core() as engine:
            return process(batch, replace(task, engine=engine))

    size = min(MOST_UPLOADS, -(-len(keys) // THREADS))
    with ThreadPoolExecutor(THREADS) as threads:
        begun = [threads.submit(copy_context().run, work, batch) for batch in batched(keys, size)]
        try:
            for processed in begun:
                yield processed.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _described(key: str, task: ProcessingTask) -> DescribedUpload | None:
    """An upload that may be processed with others; None for any other."""
    try:
        described = describe(key, task)
        stored = described.stored
        # in a list of keys, a comma stands between two
        if stored.size > SMALL_BYTES or "," in stored.key or not reads_from_bucket(described.upload, stored):
            return None
        check_packed(described.upload, stored, task.bucket)
    except (UploadRefused, StorageError):
        return None
    return described


def _alike(uploads: Sequence[DescribedUpload]) -> Iterator[list[DescribedUpload]]:
    """Uploads that are read in the same way."""
    by_form: dict[str, list[DescribedUpload]] = defaultdict(list)
    for described in uploads:
        by_form[repr(replace(described.upload, key=""))].append(described)
    yield from by_form.values()


def _process(
    uploads: Sequence[DescribedUpload], task: ProcessingTask, on_stage: Callable[[str], None]
) -> dict[str, ProcessedUpload]:
    began = time.monotonic()
    try:
        with judged_records(task.engine.clickhouse) as records:
            on_stage("judge")
            judged = _judge(uploads, task, records)
            if not judged:
                return {}
            on_stage("write")
            write_refused(task, records, judged)
            written = write_loaded(task, records, judged)
            if task.handovers:
                on_stage("hand over")
                hand_over(task.handovers, records, written)
            samples = records.samples([each.judgement for each in written], SAMPLE_ROWS)
        return {each.manifest.upload: each for each in complete(task, written, samples, began)}
    except (QueryError, StorageError, OSError) as error:
        logger.info("%d uploads are processed one by one, since together they failed: %s", len(uploads), error)
        return {}


def _judge(uploads: Sequence[DescribedUpload], task: ProcessingTask, records: JudgedRecords) -> list[JudgedUpload]:
    """Judge uploads; return those that can be loaded as they are."""
    upload = uploads[0].upload
    reading = Reading.FIELDS if upload.quoted else Reading.LINES
    source = in_bucket(upload, [described.stored for described in uploads]).of(reading)
    numbers = {f"{task.bucket.access.name}/{each.stored.key}": number for number, each in enumerate(uploads, 1)}
    records.judge(upload, source, task.resolution, reading, mapped("_path", numbers, otherwise=0))
    judgements = records.scan_all()
    if 0 in judgements:  # records of nobody, so that somebody lacks them
        return []
    whole = unchanged(task.bucket, [described.stored for described in uploads])
    return [
        JudgedUpload(described, judgement)
        for number, described in enumerate(uploads, 1)
        if (judgement := judgements.get(number))
        and _can_be_loaded(judgement, task.max_reject_ratio)
        and described.stored.key in whole
    ]


def _can_be_loaded(judgement: Judgement, max_reject_ratio: float) -> bool:
    return not (
        judgement.needs_parser
        or judgement.last_spans_lines
        or judgement.text_fault
        or judgement.counts.too_many_rejected(max_reject_ratio)
    )
