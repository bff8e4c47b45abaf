"""What the pipeline's work means in metrics."""

from datetime import UTC, datetime

from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.telemetry import metric_names as names
from h3_pipeline.telemetry import metrics
from h3_pipeline.telemetry.metric_names import Dimension
from h3_pipeline.trips.rules import REASONS


def admit_feeds(catalog: FeedCatalog) -> None:
    """Let metrics be broken down by these feeds, and by the reasons for which rows are refused."""
    metrics.admit(Dimension.FEED, (feed.name for feed in (*catalog.user, *catalog.builtin)))
    metrics.admit(Dimension.REASON, (rule.code for rule in REASONS))


def upload_processed(manifest: Manifest) -> None:
    """An upload was accepted."""
    metrics.emit(
        {
            names.ROWS_IN: manifest.rows_in,
            names.ROWS_LOADED: manifest.rows_loaded,
            names.ROWS_REJECTED: manifest.rows_rejected,
            names.UPLOAD_BYTES: manifest.upload_bytes,
        },
        manifest.feed,
        upload=manifest.upload,
    )
    for reason, rows in manifest.rejected.items():
        metrics.emit({names.ROWS_REJECTED_BY_REASON: rows}, reason, upload=manifest.upload)


def upload_refused(upload: str, code: str) -> None:
    """An upload was refused whole."""
    metrics.emit({names.UPLOADS_REFUSED: 1}, upload=upload, code=code)


def upload_loaded(manifest: Manifest, bucket: Bucket) -> None:
    """An upload's rows are published."""
    if not metrics.are_on():
        return  # the object's age costs a request
    values: dict[names.Metric, float] = {names.UPLOADS_LOADED: 1}
    stored = bucket.head(prefixes.upload_object(manifest.upload))
    if stored is not None:
        values[names.UPLOAD_AGE] = round((datetime.now(UTC) - stored.modified_at).total_seconds(), 3)
    metrics.emit(values, manifest.feed, upload=manifest.upload)


def check_evaluated(name: str, *, passed: bool) -> None:
    """An asset check was evaluated."""
    metrics.admit(Dimension.CHECK, [name])
    metrics.emit({names.CHECK_FAILURES: 0 if passed else 1}, name)
