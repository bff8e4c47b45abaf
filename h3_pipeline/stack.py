"""What a command or a run works with: the bucket, with its local server where there is one.

The local object store belongs to the home folder: whoever needs it first starts it, others join,
the last one to leave stops it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from h3_pipeline.errors import FeedError
from h3_pipeline.exports.catalog import ExportCatalog
from h3_pipeline.exports.syntax import check_syntax
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.local.object_store import local_object_store
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket, BucketAccess


@contextmanager
def bucket_access(settings: Settings) -> Iterator[BucketAccess]:
    """Where the bucket is, with the local object store running if the settings name no other."""
    if not settings.local_object_store:
        yield BucketAccess(settings.s3_bucket, settings.aws_region, settings.s3_endpoint_url)
        return
    with local_object_store(settings.home) as store:
        access = BucketAccess(settings.s3_bucket, store.region, store.endpoint_url, store.access_key, store.secret_key)
        Bucket(access).create()
        yield access


def load_catalog(settings: Settings) -> FeedCatalog:
    """The feeds: the user's own, then the built-in ones.

    Raises:
        FeedError: The user's file cannot be read or is not valid.
    """
    path = settings.h3_pipeline_feeds
    if path is None:
        return FeedCatalog.load(None)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"H3_PIPELINE_FEEDS: cannot read {path}: {error}") from None
    return FeedCatalog.load(text, str(path))


def load_exports(settings: Settings) -> ExportCatalog:
    """The exports: the shipped queries, and the user's own of ``H3_EXPORTS``, whose SQL the engine has parsed.

    Raises:
        ExportError: A file of the user's cannot be read or is not valid; the message names file and line.
    """
    catalog = ExportCatalog.load(settings.h3_exports)
    check_syntax(catalog.user)
    return catalog
