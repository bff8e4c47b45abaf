"""The S3 server of a benchmark: the project's local one, started once, used by all contenders."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from h3_pipeline.local.object_store import local_object_store
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, BucketAccess

_BUCKET = "trips-data-bucket"


@dataclass(frozen=True, slots=True)
class Store:
    """The server, running.

    Attributes:
        bucket: The bucket.
        access: How to reach it.
    """

    bucket: Bucket
    access: BucketAccess

    def upload(self, file: Path, key: str) -> str:
        """Put a file below ``uploads/``, in parts where it is large; returns its ETag."""
        whole_key = prefixes.upload_object(key)
        self.bucket.upload(file, whole_key)
        stored = self.bucket.head(whole_key)
        assert stored is not None
        return stored.etag

    def forget_outputs(self) -> None:
        """Delete what the pipeline wrote, so that each run begins with a bucket that holds uploads only."""
        for prefix in (prefixes.PROCESSED, prefixes.REJECTED):
            self.bucket.delete_all([stored.key for stored in self.bucket.list(prefix)])

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which a process finds the bucket."""
        return {
            "S3_ENDPOINT_URL": self.access.endpoint_url or "",
            "S3_BUCKET": self.access.name,
            "AWS_ACCESS_KEY_ID": self.access.access_key or "",
            "AWS_SECRET_ACCESS_KEY": self.access.secret_key or "",
            "AWS_REGION": self.access.region,
        }


@contextmanager
def running_store(home: Path) -> Iterator[Store]:
    """Start the server of a home, and stop it at the end."""
    with local_object_store(home) as connection:
        access = BucketAccess(
            _BUCKET, connection.region, connection.endpoint_url, connection.access_key, connection.secret_key
        )
        bucket = Bucket(access)
        bucket.create()
        yield Store(bucket, access)
