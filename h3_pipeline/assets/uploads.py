"""``raw_uploads``: the users' files, which the pipeline only observes."""

from datetime import timedelta

from dagster import AssetMaterialization, AssetSpec, FreshnessPolicy, MetadataValue

from h3_pipeline.partitions import uploads_partitions
from h3_pipeline.storage.bucket import StoredObject
from h3_pipeline.storage.prefixes import partition_key

RAW_UPLOADS = "raw_uploads"

FRESH_WITHIN = timedelta(days=7)
"""Dagster shows the uploads as stale when none has come for so long."""

raw_uploads = AssetSpec(
    key=RAW_UPLOADS,
    description="The users' trip files below `uploads/`, never changed. One partition a file.",
    group_name="uploads",
    kinds={"s3", "csv"},
    partitions_def=uploads_partitions,
    freshness_policy=FreshnessPolicy.time_window(fail_window=FRESH_WITHIN),
)

DATA_VERSION_TAG = "dagster/data_version"
LAST_MODIFIED = "last modified"


def observed(key: str, stored: StoredObject) -> AssetMaterialization:
    """The event that an upload has arrived, or was replaced.

    Args:
        key: Key below ``uploads/``.
        stored: The object's identity.
    """
    return AssetMaterialization(
        asset_key=RAW_UPLOADS,
        partition=partition_key(key),
        metadata={
            "object": MetadataValue.path(stored.key),
            "size": stored.size,
            "etag": stored.etag,
            LAST_MODIFIED: MetadataValue.timestamp(stored.modified_at),
        },
        tags={DATA_VERSION_TAG: stored.etag},
    )
