"""What is left of an upload that was accepted: its clean rows, its refused rows, its manifest.

Every object is written whole or not at all, the manifest last: a run that is killed leaves nothing that
counts, and running again gives the same objects.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from h3_pipeline.errors import StorageError
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.judged import HandedOver, JudgedRecords, Judgement
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.task import DescribedUpload, ProcessingTask
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import StoredObject
from h3_pipeline.storage.named_collection import S3_SETTINGS, s3_table
from h3_pipeline.trips.upload import UploadDescription

SAMPLE_ROWS = 100
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


@dataclass(frozen=True, slots=True)
class WrittenUpload:
    """An upload whose rows are in the bucket, still without a manifest.

    Attributes:
        described: The upload.
        judgement: What became of its rows.
        rejected_key: Object key of the refused rows, None where there are none.
        processed: The clean CSV.
    """

    described: DescribedUpload
    judgement: Judgement
    rejected_key: str | None
    processed: StoredObject


def write_refused(
    task: ProcessingTask, records: JudgedRecords, described: DescribedUpload, judgement: Judgement
) -> str | None:
    """Write the refused rows; return where they are, None where there are none."""
    key = prefixes.rejected_object(described.key)
    if not judgement.counts.rows_rejected:
        task.bucket.delete(key)  # an earlier version may have had some
        return None
    _write(task, key, records.refused(judgement, described.upload.delimiter))
    return key


def write_loaded(
    task: ProcessingTask,
    records: JudgedRecords,
    described: DescribedUpload,
    judgement: Judgement,
    rejected_key: str | None,
) -> WrittenUpload:
    """Write the clean CSV, after the refused rows."""
    target = prefixes.processed_object(described.key)
    _write(task, target, records.loaded(judgement))
    processed = task.bucket.head(target)
    if processed is None:
        raise StorageError(f"{task.bucket} lost {target} just after it was written; run the upload again")
    return WrittenUpload(described, judgement, rejected_key, processed)


def hand_over(handovers: Handovers, records: JudgedRecords, uploads: Sequence[WrittenUpload]) -> None:
    """Leave the trips for a warehouse on this machine."""
    files = [handovers.file(written.processed.key, written.processed.etag) for written in uploads]
    unfinished = [file.with_suffix(".unfinished") for file in files]
    for file in unfinished:
        file.unlink(missing_ok=True)
    records.hand_over(
        [
            HandedOver(written.judgement, written.described.key, written.described.stored.etag, file)
            for written, file in zip(uploads, unfinished, strict=True)
        ]
    )
    for before, after in zip(unfinished, files, strict=True):
        before.rename(after)


def _write(task: ProcessingTask, key: str, select: str) -> None:
    task.engine.clickhouse.command(
        f"INSERT INTO FUNCTION {s3_table(key, csv_format='CSVWithNames')} {select}", settings=_WRITE_SETTINGS
    )


def complete(
    task: ProcessingTask, written: WrittenUpload, sample: Sequence[dict[str, Any]], seconds: float
) -> ProcessedUpload:
    """Write the manifest, and forget that an earlier version may have been refused.

    Args:
        task: What it was processed with.
        written: The upload.
        sample: A few loaded rows.
        seconds: How long it took.
    """
    described, judgement, processed = written.described, written.judgement, written.processed
    stored, counts = described.stored, judgement.counts
    manifest = Manifest(
        upload=described.key,
        upload_etag=stored.etag,
        upload_version_id=stored.version_id,
        upload_bytes=stored.size,
        feed=described.upload.feed,
        dialect=_dialect(described.upload),
        rows_in=counts.rows_in,
        rows_loaded=counts.rows_loaded,
        rows_rejected=counts.rows_rejected,
        rejected=counts.rejected,
        warnings=counts.warnings,
        h3_resolution=task.resolution,
        processed_key=processed.key,
        processed_etag=processed.etag,
        processed_bytes=processed.size,
        rejected_key=written.rejected_key,
        first_started_at=judgement.first_started_at.isoformat(),
        last_started_at=judgement.last_started_at.isoformat(),
        code_version=version("h3_pipeline"),
        seconds=round(seconds, 3),
    )
    task.bucket.write_json(prefixes.manifest_object(described.key), manifest.to_json())
    task.bucket.delete(prefixes.refusal_object(described.key))
    return ProcessedUpload(manifest, sample)


def _dialect(upload: UploadDescription) -> dict[str, Any]:
    described = asdict(upload)
    names = upload.column_names
    described["columns"] = {column: names[position] for column, position in upload.columns.items()}
    described["column_names"] = list(names[:100])
    for name in ("key", "feed"):
        del described[name]
    return described
