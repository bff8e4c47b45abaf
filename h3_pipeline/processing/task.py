"""What uploads are processed with, and how one of them is looked at before it is read."""

from dataclasses import dataclass

from h3_pipeline.errors import StorageError, UploadRefused
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import HEAD_BYTES, describe_upload
from h3_pipeline.processing.engine import TaskEngine
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.trips.upload import UploadDescription


@dataclass(frozen=True, slots=True)
class ProcessingTask:
    """What uploads are processed with.

    Attributes:
        bucket: The bucket.
        engine: The task's engine, which knows the bucket as a named collection, and its folder.
        catalog: Feeds to recognise uploads by.
        resolution: H3 resolution of the cells.
        max_reject_ratio: Share of refused rows above which a whole upload is refused.
        handovers: Where to leave the trips for a warehouse on this machine; None for one elsewhere.
    """

    bucket: Bucket
    engine: TaskEngine
    catalog: FeedCatalog
    resolution: int
    max_reject_ratio: float
    handovers: Handovers | None = None


@dataclass(frozen=True, slots=True)
class DescribedUpload:
    """One version of an upload, and how it is to be read."""

    stored: StoredObject
    upload: UploadDescription

    @property
    def key(self) -> str:
        """Key below ``uploads/``."""
        return self.upload.key


def find(key: str, bucket: Bucket) -> StoredObject:
    """The object that an upload is.

    Raises:
        UploadRefused: It is not there.
    """
    stored = bucket.head(prefixes.upload_object(key))
    if stored is None:
        raise UploadRefused("not_found", f"There is no object {prefixes.upload_object(key)} in the bucket")
    return stored


def describe(key: str, stored: StoredObject, task: ProcessingTask) -> DescribedUpload:
    """Read the beginning of an upload.

    Raises:
        UploadRefused: It cannot be loaded; see `describe_upload`.
        StorageError: The bucket failed.
    """
    try:
        head = task.bucket.read(stored.key, length=min(HEAD_BYTES, stored.size), etag=stored.etag)
    except StorageError:
        refuse_changed(task.bucket, stored)
        raise
    return DescribedUpload(stored, describe_upload(key, head, task.catalog, complete=stored.size <= HEAD_BYTES))


def refuse_changed(bucket: Bucket, stored: StoredObject) -> None:
    """Refuse an upload that is no longer the version that was read."""
    if is_changed(bucket, stored):
        raise UploadRefused(
            "changed_while_read", "The object was replaced while it was read; its new version is loaded on its own"
        )


def is_changed(bucket: Bucket, stored: StoredObject) -> bool:
    """Whether an object is gone, or another version is in its place."""
    now = bucket.head(stored.key)
    return now is None or now.etag != stored.etag
