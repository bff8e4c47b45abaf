"""Tells which objects are new to Dagster. Its own records are the only memory that counts.

A version of an upload has been asked for when ``raw_uploads`` was observed in that version *and* a
run was created for its partition after that: creating a run is what writes the planned
materialization. An observation alone proves nothing, since the daemon may die right after it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

from dagster import AssetKey, AssetRecordsFilter, DagsterEventType, DagsterInstance

from h3_pipeline.assets.processing import PROCESSED_TRIPS
from h3_pipeline.assets.uploads import DATA_VERSION_TAG, LAST_MODIFIED, RAW_UPLOADS
from h3_pipeline.assets.warehouse import TRIPS
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.runs import partitions_of, unfinished_runs
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import StoredObject
from h3_pipeline.storage.watch import Judgement

_MATERIALIZED = DagsterEventType.ASSET_MATERIALIZATION
_PLANNED = DagsterEventType.ASSET_MATERIALIZATION_PLANNED


class Arrivals:
    """What Dagster knows of uploads, as of one look; its lists are read once, when they are needed.

    Args:
        instance: Dagster's storage.
    """

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    @cached_property
    def partitions(self) -> Mapping[str, int]:
        """Place of each partition in Dagster's list."""
        return {partition: place for place, partition in enumerate(self._instance.get_dynamic_partitions(UPLOADS))}

    @cached_property
    def in_flight(self) -> frozenset[str]:
        """Partitions of the runs that are queued or under way."""
        runs = unfinished_runs(self._instance)
        known = list(self.partitions) if runs else []
        return frozenset(partition for run in runs for partition in partitions_of(run, self.partitions, known))

    def judge(self, objects: Sequence[StoredObject]) -> Judgement:
        """Tell which versions of objects nobody has asked for.

        One that was loaded is not new, even if it was retracted since: only ``ingest`` loads it
        again. One whose partition is being run waits, since that run may read it, and two runs must not
        write one upload's results.
        """
        by_partition = {_partition(stored): stored for stored in objects}
        loaded = self._versions(TRIPS, list(by_partition))
        open_ones = [partition for partition, stored in by_partition.items() if loaded.get(partition) != stored.etag]
        if not open_ones:
            return Judgement()
        asked = self._asked(open_ones)
        left = [partition for partition in open_ones if not _same(asked.get(partition), by_partition[partition])]
        waiting = [by_partition[partition] for partition in left if partition in self.in_flight]
        new = [by_partition[partition] for partition in left if partition not in self.in_flight]
        return Judgement(new, waiting)

    def replaced(self, objects: Sequence[StoredObject]) -> frozenset[str]:
        """Partitions of those objects of which another version was seen before."""
        partitions = {_partition(stored): stored.etag for stored in objects}
        seen = self._versions(RAW_UPLOADS, list(partitions))
        return frozenset(partition for partition, etag in partitions.items() if seen.get(partition, etag) != etag)

    def _versions(self, asset: str, partitions: Sequence[str]) -> Mapping[str, str]:
        """The latest data version of an asset, by partition."""
        if not partitions:
            return {}
        tags = self._instance.event_log_storage.get_latest_tags_by_partition(
            AssetKey(asset), _MATERIALIZED, [DATA_VERSION_TAG], list(partitions)
        )
        return {partition: found[DATA_VERSION_TAG] for partition, found in tags.items()}

    def _asked(self, partitions: Sequence[str]) -> Mapping[str, tuple[str, float]]:
        """The version that was asked for last, as ETag and time of arrival, by partition."""
        there = {partition for partition in partitions if partition in self.partitions}
        if not there:
            return {}
        latest = self._instance.get_latest_storage_id_by_partition
        observed = latest(AssetKey(RAW_UPLOADS), _MATERIALIZED, there)
        planned = latest(AssetKey(PROCESSED_TRIPS), _PLANNED, there)
        ids = [event for partition, event in observed.items() if planned.get(partition, 0) > event]
        if not ids:
            return {}
        records = self._instance.fetch_materializations(
            AssetRecordsFilter(AssetKey(RAW_UPLOADS), storage_ids=ids), limit=len(ids)
        ).records
        asked = {}
        for record in records:
            event = record.asset_materialization
            if event is not None and event.partition is not None and event.tags:
                arrived = event.metadata.get(LAST_MODIFIED)
                at = float(arrived.value) if arrived is not None else 0.0  # type: ignore[arg-type]
                asked[event.partition] = (event.tags[DATA_VERSION_TAG], at)
        return asked


def _partition(stored: StoredObject) -> str:
    return prefixes.partition_key(prefixes.key_of_object(stored.key))


def _same(asked: tuple[str, float] | None, stored: StoredObject) -> bool:
    """Whether a version is the one that was asked for.

    A refused or failed upload that is put there again with the same content is a wish to try
    again. A listing and a look at one object may tell its time with different precision.
    """
    if asked is None:
        return False
    etag, arrived = asked
    return etag == stored.etag and stored.modified_at.timestamp() < arrived + 2
