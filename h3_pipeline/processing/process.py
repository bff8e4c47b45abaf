"""Process one upload: read it, judge every record, write what is clean and what is refused.

Nothing of a refused upload reaches ``processed/``, so the last good version of it stays there. Every
object is written whole or not at all, the manifest last: a run that is killed leaves nothing that
counts, and running again gives the same objects.
"""

import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.errors import StorageError, UploadRefused
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import HEAD_BYTES, describe_upload
from h3_pipeline.processing.engine_errors import disk_full, explain, is_out_of_memory
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.judged import JudgedRecords, Judgement, judged_records
from h3_pipeline.processing.manifest import Counts, Manifest
from h3_pipeline.processing.source import Source, readable
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.storage.named_collection import S3_SETTINGS, s3_table
from h3_pipeline.trips.select import TEXT_FAULT_NUL, Reading
from h3_pipeline.trips.upload import UploadDescription

logger = logging.getLogger(__name__)

SAMPLE_ROWS = 200
"""Loaded rows kept for previews and for the check against h3-py."""

_WRITE_SETTINGS = {
    **S3_SETTINGS,
    "s3_truncate_on_insert": 1,
    "output_format_compression_level": 1,
    # NULL is an empty field, as every other reader expects
    "format_csv_null_representation": "",
    "s3_min_upload_part_size": 16 * 1024 * 1024,
    "s3_max_inflight_parts_for_one_file": 4,
}


@dataclass(frozen=True, slots=True)
class ProcessedUpload:
    """An upload that was accepted.

    Attributes:
        manifest: Its counts and where the results are.
        sample: A few of its rows, `SAMPLE_ROWS` at most, by canonical column.
    """

    manifest: Manifest
    sample: Sequence[dict[str, Any]]


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
    key: str,
    *,
    bucket: Bucket,
    engine: ClickHouse,
    catalog: FeedCatalog,
    scratch: Path,
    resolution: int,
    max_reject_ratio: float,
    handovers: Handovers | None = None,
    on_stage: Callable[[str], None] = logger.debug,
) -> ProcessedUpload:
    """Process one upload.

    Args:
        key: Key below ``uploads/``.
        bucket: The bucket.
        engine: The task engine, which knows the bucket as a named collection.
        catalog: Feeds to recognise it by.
        scratch: Folder on disk for uploads that must be unpacked.
        resolution: H3 resolution of the cells.
        max_reject_ratio: Share of refused rows above which the whole upload is refused.
        handovers: Where to leave the trips for a warehouse on this machine; None for one elsewhere.
        on_stage: Told the name of each stage as it begins.

    Raises:
        UploadRefused: The upload cannot be loaded; the message says why and how to mend it.
        StorageError: The bucket failed; trying again may help.
    """
    began = time.monotonic()
    on_stage("describe")
    stored = bucket.head(prefixes.upload_object(key))
    if stored is None:
        raise UploadRefused("not_found", f"There is no object {prefixes.upload_object(key)} in the bucket")
    try:
        head = bucket.read(stored.key, length=min(HEAD_BYTES, stored.size), etag=stored.etag)
    except StorageError:
        _refuse_changed(bucket, stored)
        raise
    upload = describe_upload(key, head, catalog, complete=stored.size <= HEAD_BYTES)

    on_stage("judge")
    try:
        with readable(upload, stored, bucket, scratch) as source, judged_records(engine) as records:
            judgement = _judge(records, upload, source, resolution)
            counts = judgement.counts
            _refuse_unsound(judgement)
            if judgement.last_spans_lines:
                _refuse_unclosed_quote(engine, source, judgement)
            _refuse_changed(bucket, stored)
            on_stage("write")
            rejected_key = _write_refused(engine, bucket, records, upload, judgement)
            _refuse_too_many(counts, upload, max_reject_ratio)
            processed = _write_loaded(engine, bucket, records, key, judgement)
            if handovers:
                on_stage("hand over")
                _hand_over(records, handovers, processed, stored, key, judgement)
            sample = records.sample(SAMPLE_ROWS, counts.rows_loaded)
    except (UploadRefused, StorageError):
        _refuse_changed(bucket, stored)  # a mixture of two versions may have any fault
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise disk_full(stored.key) from error
    except QueryError as error:
        _refuse_changed(bucket, stored)
        raise explain(error, stored.key) from error

    manifest = Manifest(
        upload=key,
        upload_etag=stored.etag,
        upload_version_id=stored.version_id,
        upload_bytes=stored.size,
        feed=upload.feed,
        dialect=_dialect(upload),
        rows_in=counts.rows_in,
        rows_loaded=counts.rows_loaded,
        rows_rejected=counts.rows_rejected,
        rejected=counts.rejected,
        warnings=counts.warnings,
        h3_resolution=resolution,
        processed_key=processed.key,
        processed_etag=processed.etag,
        processed_bytes=processed.size,
        rejected_key=rejected_key,
        first_started_at=judgement.first_started_at.isoformat(),
        last_started_at=judgement.last_started_at.isoformat(),
        code_version=_code_version(),
        seconds=round(time.monotonic() - began, 3),
    )
    bucket.write_json(prefixes.manifest_object(key), manifest.to_json())
    bucket.delete(prefixes.refusal_object(key))
    return ProcessedUpload(manifest, sample)


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


def _code_version() -> str:
    return version("h3_pipeline")


def write_refusal(bucket: Bucket, key: str, refusal: UploadRefused) -> None:
    """Leave a note under ``rejected/`` that says why an upload was refused, for whoever sent it."""
    note: dict[str, Any] = {"upload": key, "code": refusal.code, "error": str(refusal)}
    stored = bucket.head(prefixes.upload_object(key))
    if stored is not None:
        note["upload_etag"] = stored.etag
    if isinstance(refusal, RefusedAfterReading):
        note |= {"feed": refusal.feed, "rows_in": refusal.counts.rows_in, "rejected": refusal.counts.rejected}
    bucket.write_json(prefixes.refusal_object(key), note)


def _dialect(upload: UploadDescription) -> dict[str, Any]:
    described = asdict(upload)
    names = upload.column_names
    described["columns"] = {column: names[position] for column, position in upload.columns.items()}
    described["column_names"] = list(names[:100])
    for name in ("key", "feed"):
        del described[name]
    return described


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


def _refuse_changed(bucket: Bucket, stored: StoredObject) -> None:
    now = bucket.head(stored.key)
    if now is None or now.etag != stored.etag:
        raise UploadRefused(
            "changed_while_read", "The object was replaced while it was read; its new version is loaded on its own"
        )


def _refuse_too_many(counts: Counts, upload: UploadDescription, max_reject_ratio: float) -> None:
    if counts.rows_rejected <= counts.rows_in * max_reject_ratio and counts.rows_loaded:
        return
    reasons = ", ".join(f"{reason}: {n:,}" for reason, n in sorted(counts.rejected.items(), key=lambda item: -item[1]))
    share = counts.rows_rejected / counts.rows_in
    limit = "no row can be loaded" if not counts.rows_loaded else f"at most {max_reject_ratio:.0%} may be"
    raise RefusedAfterReading(
        "too_many_rejected",
        f"{counts.rows_rejected:,} of {counts.rows_in:,} rows ({share:.1%}) are refused, {limit} ({reasons}); "
        f"see {prefixes.rejected_object(upload.key)}, mend the file or the feed ({upload.feed}), or raise "
        "H3_MAX_REJECT_RATIO",
        upload.feed,
        counts,
    )


def _write_refused(
    engine: ClickHouse, bucket: Bucket, records: JudgedRecords, upload: UploadDescription, judgement: Judgement
) -> str | None:
    key = prefixes.rejected_object(upload.key)
    if not judgement.counts.rows_rejected:
        bucket.delete(key)  # an earlier version may have had some
        return None
    select = records.refused(upload.delimiter, blank_lines_inside=judgement.blank_lines_inside)
    engine.command(
        f"INSERT INTO FUNCTION {s3_table(key, csv_format='CSVWithNames')} {select}", settings=_WRITE_SETTINGS
    )
    return key


def _hand_over(
    records: JudgedRecords,
    handovers: Handovers,
    processed: StoredObject,
    stored: StoredObject,
    key: str,
    judgement: Judgement,
) -> None:
    file = handovers.file(processed.key, processed.etag)
    unfinished = file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    records.hand_over(unfinished, key, stored.etag, blank_lines_inside=judgement.blank_lines_inside)
    unfinished.rename(file)


def _write_loaded(
    engine: ClickHouse, bucket: Bucket, records: JudgedRecords, key: str, judgement: Judgement
) -> StoredObject:
    target = prefixes.processed_object(key)
    select = records.loaded(blank_lines_inside=judgement.blank_lines_inside)
    engine.command(
        f"INSERT INTO FUNCTION {s3_table(target, csv_format='CSVWithNames')} {select}", settings=_WRITE_SETTINGS
    )
    written = bucket.head(target)
    if written is None:
        raise StorageError(f"{bucket} lost {target} just after it was written; run the upload again")
    return written
