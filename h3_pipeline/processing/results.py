"""What is left of an upload that was accepted: its clean rows, its refused rows, its manifest.

Every object is written whole or not at all, the manifest last: a run that is killed leaves nothing that
counts, and running again gives the same objects.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from h3_pipeline.errors import StorageError
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.judged import REFUSED_COLUMNS, HandedOver, JudgedRecords, Judgement
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.task import DescribedUpload, ProcessingTask
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import StoredObject, at_once
from h3_pipeline.storage.named_collection import S3_SETTINGS, s3_table, s3_targets
from h3_pipeline.trips.columns import PROCESSED_COLUMNS
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
class JudgedUpload:
    """An upload whose records were judged.

    Attributes:
        described: The upload.
        judgement: What became of its rows.
    """

    described: DescribedUpload
    judgement: Judgement

    @property
    def number(self) -> int:
        """Which of the uploads that were judged at once."""
        return self.judgement.upload_number

    @property
    def rejected_key(self) -> str | None:
        """Object key of its refused rows, None where there are none."""
        return prefixes.rejected_object(self.described.key) if self.judgement.counts.rows_rejected else None


@dataclass(frozen=True, slots=True)
class WrittenUpload(JudgedUpload):
    """An upload whose rows are in the bucket, still without a manifest.

    Attributes:
        processed: The clean CSV.
    """

    processed: StoredObject


def write_refused(task: ProcessingTask, records: JudgedRecords, uploads: Sequence[JudgedUpload]) -> None:
    """Write the refused rows of uploads that are read in the same way."""
    keys = {upload.number: key for upload in uploads if (key := upload.rejected_key)}
    # an earlier version may have had some
    task.bucket.delete_all(prefixes.rejected_object(each.described.key) for each in uploads if each.number not in keys)
    if keys:
        refused = [upload.judgement for upload in uploads if upload.number in keys]
        _write(task, keys, REFUSED_COLUMNS, records.refused(refused, uploads[0].described.upload.delimiter))


def write_loaded(task: ProcessingTask, records: JudgedRecords, uploads: Sequence[JudgedUpload]) -> list[WrittenUpload]:
    """Write the clean CSVs, after the refused rows."""
    keys = {upload.number: prefixes.processed_object(upload.described.key) for upload in uploads}
    _write(task, keys, PROCESSED_COLUMNS, records.loaded([upload.judgement for upload in uploads]))
    stored = task.bucket.head_all(keys.values())
    for key in keys.values():
        if key not in stored:
            raise StorageError(f"{task.bucket} lost {key} just after it was written; run the upload again")
    return [WrittenUpload(each.described, each.judgement, stored[keys[each.number]]) for each in uploads]


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


def _write(task: ProcessingTask, keys: Mapping[int, str], columns: Sequence[str], select: str) -> None:
    """Write rows as compressed CSV, those of several uploads to an object each.

    Args:
        task: What they are processed with.
        keys: Object key by number of the upload.
        columns: Columns of the CSV.
        select: SELECT of them; of several uploads, with ``upload_number``.
    """
    settings = _WRITE_SETTINGS
    if len(keys) == 1:
        target = s3_table(*keys.values(), csv_format="CSVWithNames")
    else:
        # the format can leave out the column that rows are told apart by; it is slower where there are many rows
        target = s3_targets(keys, "upload_number", csv_format="Template", compression="zstd")
        settings = {**settings, **_as_csv(columns)}
    task.engine.clickhouse.command(f"INSERT INTO FUNCTION {target} {select}", settings=settings)


def _as_csv(columns: Sequence[str]) -> dict[str, str]:
    """Settings of the format ``Template`` that write what ``CSVWithNames`` does."""
    header = ",".join(f'"{column}"' for column in columns)
    return {
        "format_template_resultset_format": f"{header}\n${{data}}\n",
        "format_template_row_format": ",".join(f"${{{column}:CSV}}" for column in columns),
        "format_template_rows_between_delimiter": "\n",
    }


def complete(
    task: ProcessingTask,
    uploads: Sequence[WrittenUpload],
    samples: Mapping[int, Sequence[dict[str, Any]]],
    began: float,
) -> list[ProcessedUpload]:
    """Write manifests, and forget that earlier versions may have been refused.

    Args:
        task: What they were processed with.
        uploads: The uploads.
        samples: A few loaded rows, by number of the upload.
        began: When the work on all of them began, on the monotonic clock.
    """
    seconds_a_row = (time.monotonic() - began) / sum(upload.judgement.counts.rows_in for upload in uploads)
    manifests = [_manifest(task, upload, seconds_a_row) for upload in uploads]
    at_once(lambda each: task.bucket.write_json(prefixes.manifest_object(each.upload), each.to_json()), manifests)
    task.bucket.delete_all(prefixes.refusal_object(manifest.upload) for manifest in manifests)
    return [
        ProcessedUpload(manifest, samples[upload.number]) for manifest, upload in zip(manifests, uploads, strict=True)
    ]


def _manifest(task: ProcessingTask, written: WrittenUpload, seconds_a_row: float) -> Manifest:
    stored, upload = written.described.stored, written.described.upload
    judgement, processed = written.judgement, written.processed
    counts = judgement.counts
    return Manifest(
        upload=written.described.key,
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
        h3_resolution=task.resolution,
        processed_key=processed.key,
        processed_etag=processed.etag,
        processed_bytes=processed.size,
        rejected_key=written.rejected_key,
        first_started_at=judgement.first_started_at.isoformat(),
        last_started_at=judgement.last_started_at.isoformat(),
        code_version=version("h3_pipeline"),
        seconds=round(seconds_a_row * counts.rows_in, 3),
    )


def _dialect(upload: UploadDescription) -> dict[str, Any]:
    described = asdict(upload)
    names = upload.column_names
    described["columns"] = {column: names[position] for column, position in upload.columns.items()}
    described["column_names"] = list(names[:100])
    for name in ("key", "feed"):
        del described[name]
    return described
