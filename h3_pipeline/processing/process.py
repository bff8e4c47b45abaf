"""Process one upload: read it, judge every record, write what is clean and what is refused.

Nothing of a refused upload reaches ``processed/``, so the last good version of it stays there.
"""

import errno
import logging
import time
from collections.abc import Callable
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.errors import StorageError, UploadRefused
from h3_pipeline.processing.engine_errors import disk_full, explain, is_out_of_memory
from h3_pipeline.processing.judged import JudgedRecords, Judgement, judged_records
from h3_pipeline.processing.manifest import Counts
from h3_pipeline.processing.results import (
    SAMPLE_ROWS,
    JudgedUpload,
    ProcessedUpload,
    complete,
    hand_over,
    write_loaded,
    write_refused,
)
from h3_pipeline.processing.source import Source, readable
from h3_pipeline.processing.task import ProcessingTask, describe, refuse_changed
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import S3_SETTINGS
from h3_pipeline.trips.select import TEXT_FAULT_NUL, Reading
from h3_pipeline.trips.upload import UploadDescription

logger = logging.getLogger(__name__)


class RefusedAfterReading(UploadRefused):
    """An upload refused for what its rows say.

    Attributes:
        feed: The feed that matched.
        counts: The rows as judged.
    """

    def __init__(self, code: str, message: str, feed: str, counts: Counts) -> None:
        super().__init__(code, message)
        self.feed = feed
        self.counts = counts


def process_upload(
    key: str, task: ProcessingTask, *, on_stage: Callable[[str], None] = logger.debug
) -> ProcessedUpload:
    """Process one upload.

    Args:
        key: Key below ``uploads/``.
        task: What it is processed with.
        on_stage: Told the name of each stage as it begins.

    Raises:
        UploadRefused: The upload cannot be loaded; the message says why and how to mend it.
        StorageError: The bucket failed; trying again may help.
    """
    began = time.monotonic()
    on_stage("describe")
    described = describe(key, task)
    stored, upload = described.stored, described.upload
    engine = task.engine.clickhouse

    on_stage("judge")
    try:
        with readable(upload, stored, task.bucket, task.engine.scratch) as source, judged_records(engine) as records:
            judgement = _judge(records, upload, source, task.resolution)
            _refuse_unsound(judgement)
            if judgement.last_spans_lines:
                _refuse_unclosed_quote(engine, source, judgement)
            refuse_changed(task.bucket, stored)
            on_stage("write")
            judged = [JudgedUpload(described, judgement)]
            write_refused(task, records, judged)
            if judgement.counts.too_many_rejected(task.max_reject_ratio):
                raise _too_many_rejected(judgement.counts, upload, task.max_reject_ratio)
            written = write_loaded(task, records, judged)
            if task.handovers:
                on_stage("hand over")
                hand_over(task.handovers, records, written)
            samples = records.samples([judgement], SAMPLE_ROWS)
    except (UploadRefused, StorageError):
        refuse_changed(task.bucket, stored)  # a mixture of two versions may have any fault
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise disk_full(stored.key) from error
    except QueryError as error:
        refuse_changed(task.bucket, stored)
        raise explain(error, stored.key) from error

    return complete(task, written, samples, began)[0]


def _judge(records: JudgedRecords, upload: UploadDescription, source: Source, resolution: int) -> Judgement:
    """Judge line by line; anew with the parser if there is a quote somewhere, or lines too long to be held."""
    if not upload.quoted:
        try:
            records.judge(upload, source.of(Reading.LINES), resolution, Reading.LINES)
        except QueryError as error:
            if not is_out_of_memory(error):
                raise
        else:
            judgement = records.scan()
            if not judgement.needs_parser:
                return judgement
    records.judge(upload, source.of(Reading.FIELDS), resolution, Reading.FIELDS)
    return records.scan()


def write_refusal(bucket: Bucket, key: str, refusal: UploadRefused) -> None:
    """Leave a note under ``rejected/`` that says why an upload was refused, for whoever sent it."""
    note: dict[str, Any] = {"upload": key, "code": refusal.code, "error": str(refusal)}
    stored = bucket.head(prefixes.upload_object(key))
    if stored is not None:
        note["upload_etag"] = stored.etag
    if isinstance(refusal, RefusedAfterReading):
        note |= {"feed": refusal.feed, "rows_in": refusal.counts.rows_in, "rejected": refusal.counts.rejected}
    bucket.write_json(prefixes.refusal_object(key), note)


def _refuse_unsound(judgement: Judgement) -> None:
    if judgement.counts.rows_in == 0:
        raise UploadRefused("no_data_rows", "The file has a header but no data rows")
    if judgement.text_fault is None:
        return
    kind, row = judgement.text_fault
    if kind == TEXT_FAULT_NUL:
        raise UploadRefused("nul_bytes", f"Row {row} holds a NUL byte, which no CSV has; export the file again")
    raise UploadRefused(
        "undecodable",
        f"Row {row} is not UTF-8; convert the file, e.g. with `iconv -f LATIN1 -t UTF-8`, and upload it again",
    )


def _refuse_unclosed_quote(engine: ClickHouse, source: Source, judgement: Judgement) -> None:
    """A quote that is never closed swallows the rest of the file, line ends and all, without an error.

    It shows in a last record that spans lines, in a file with an odd number of quotes.
    """
    quotes = engine.value(f"SELECT sum(countSubstrings(line, '\"')) FROM {source.lines}", settings=S3_SETTINGS)
    if quotes % 2:
        row = judgement.counts.rows_in
        raise UploadRefused(
            "unclosed_quote", f"A quote that opens in row {row} is never closed; the rest of the file is inside it"
        )


def _too_many_rejected(counts: Counts, upload: UploadDescription, max_reject_ratio: float) -> RefusedAfterReading:
    reasons = ", ".join(f"{reason}: {n:,}" for reason, n in sorted(counts.rejected.items(), key=lambda item: -item[1]))
    share = counts.rows_rejected / counts.rows_in
    limit = "no row can be loaded" if not counts.rows_loaded else f"at most {max_reject_ratio:.0%} may be"
    return RefusedAfterReading(
        "too_many_rejected",
        f"{counts.rows_rejected:,} of {counts.rows_in:,} rows ({share:.1%}) are refused, {limit} ({reasons}); "
        f"see {prefixes.rejected_object(upload.key)}, mend the file or the feed ({upload.feed}), or raise "
        "H3_MAX_REJECT_RATIO",
        upload.feed,
        counts,
    )
