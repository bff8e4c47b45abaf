"""What uploads are processed with, and how one of them is looked at before it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from h3_pipeline.errors import UploadRefused
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


def describe(key: str, task: ProcessingTask) -> DescribedUpload:
    """Read the beginning of an upload.

    Raises:
        UploadRefused: It is not there, or cannot be loaded; see `describe_upload`.
        StorageError: The bucket failed.
    """
    name = prefixes.upload_object(key)
    beginning = task.bucket.beginning(name, HEAD_BYTES)
    if beginning is None:
        raise UploadRefused("not_found", f"There is no object {name} in the bucket")
    stored, head = beginning
    return DescribedUpload(stored, describe_upload(key, head, task.catalog, complete=stored.size <= HEAD_BYTES))


def refuse_changed(bucket: Bucket, stored: StoredObject) -> None:
    """Refuse an upload that is no longer the version that was read."""
    if not unchanged(bucket, [stored]):
        raise UploadRefused(
            "changed_while_read", "The object was replaced while it was read; its new version is loaded on its own"
        )


def unchanged(bucket: Bucket, objects: Sequence[StoredObject]) -> set[str]:
    """Keys of those objects that are still there in the same version."""
    now = bucket.head_all(stored.key for stored in objects)
    return {stored.key for stored in objects if stored.key in now and now[stored.key].etag == stored.etag}
