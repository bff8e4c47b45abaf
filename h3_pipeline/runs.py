"""Which uploads go into which run.

A run takes a range of partitions, so the uploads of one run must stand next to each other in
Dagster's list of partitions, which keeps the order in which they were added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dagster import DagsterInstance

from h3_pipeline.partitions import UPLOADS

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

MAX_UPLOADS = 200
MAX_BYTES = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Arrival:
    """One upload to be taken into a run.

    Attributes:
        partition: Its partition key.
        version: Digest of its key and ETag.
        size: Bytes.
    """

    partition: str
    version: str
    size: int


def batches(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Split arrivals, in order, into runs of bounded bytes and number."""
    batch: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        if batch and (len(batch) == MAX_UPLOADS or size + arrival.size > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(arrival)
        size += arrival.size
    if batch:
        yield batch


def contiguous(partitions: Sequence[str], known: Sequence[str]) -> Iterator[list[str]]:
    """Split partitions into ranges of Dagster's list, each in that list's order.

    Args:
        partitions: Partition keys to run, all of them in ``known``.
        known: All partition keys, in Dagster's order.
    """
    wanted = set(partitions)
    run: list[str] = []
    for partition in known:
        if partition in wanted:
            run.append(partition)
        elif run:
            yield run
            run = []
    if run:
        yield run


def range_tags(partitions: Sequence[str]) -> dict[str, str]:
    """Tags of a run over a range of partitions."""
    return {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]}


def add_partitions(instance: DagsterInstance, partitions: Sequence[str]) -> list[str]:
    """Add partitions that are not there yet and return all, in Dagster's order."""
    instance.add_dynamic_partitions(UPLOADS, list(partitions))
    return list(instance.get_dynamic_partitions(UPLOADS))
