"""Dagster's partitions: one for each upload."""

from dagster import DynamicPartitionsDefinition

UPLOADS = "uploads"

uploads_partitions = DynamicPartitionsDefinition(name=UPLOADS)
"""One partition per object below ``uploads/``; its key is `storage.prefixes.partition_key` of the object's."""
