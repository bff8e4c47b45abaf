"""Which uploads go into which run.

A run takes a range of partitions, so the uploads of one run must stand next to each other in
Dagster's list of partitions, which keeps the order in which they were added. Dagster resolves a range
when the run begins, and takes *everything* between its ends: a partition between them that nobody
asked for would be run too. Hence partitions are added first, the list is read back, and the ranges
are cut where a stranger stands. A partition is only ever added at the list's end, so none gets in between later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from h3_pipeline.batching import bounded
from h3_pipeline.partitions import UPLOADS

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

MAX_UPLOADS = 200
MAX_BYTES = 4 * 1024**3
"""Of one run: what a task does in minutes, and what is to be done again if it is killed."""

MAX_RUNS_PER_LOOK = 5
MAX_RUNS_IN_FLIGHT = 20
"""Runs that a sensor asks for at once, and that may be unfinished before it asks for more. Dagster
lets a few of them run and queues the others; what is not asked for yet costs nothing."""

_UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One upload to be taken into a run.

    Attributes:
        partition: Its partition key.
        version: Digest of its key, its ETag and the time of its arrival.
        size: Bytes.
        replaced: Whether another version of it was there before.
    """

    partition: str
    version: str
    size: int
    replaced: bool = False


def batches(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Split arrivals, in order, into runs of bounded bytes and number."""
    return bounded(arrivals, lambda arrival: arrival.size, most=MAX_UPLOADS, most_size=MAX_BYTES)


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


def grouped(arrivals: Sequence[Arrival], known: Sequence[str]) -> Iterator[list[Arrival]]:
    """Group arrivals into runs: each a range of Dagster's list, of bounded bytes and number.

    A replaced upload is run on its own, so that its run says what it was for, unless there are too
    many of them for that.

    Args:
        arrivals: What is to be run; each partition once, all of them in ``known``.
        known: All partition keys, in Dagster's order.
    """
    replaced = [arrival for arrival in arrivals if arrival.replaced]
    if len(replaced) > MAX_RUNS_PER_LOOK:
        replaced = []
    yield from ([arrival] for arrival in replaced)
    by_partition = {arrival.partition: arrival for arrival in arrivals if arrival not in replaced}
    for stretch in contiguous(list(by_partition), known):
        yield from batches([by_partition[partition] for partition in stretch])


def range_tags(partitions: Sequence[str]) -> dict[str, str]:
    """Tags of a run over a range of partitions."""
    return {RANGE_START_TAG: partitions[0], RANGE_END_TAG: partitions[-1]}


def add_partitions(instance: DagsterInstance, partitions: Sequence[str]) -> list[str]:
    """Add partitions that are not there yet and return all, in Dagster's order."""
    instance.add_dynamic_partitions(UPLOADS, list(partitions))
    return list(instance.get_dynamic_partitions(UPLOADS))


def unfinished_runs(instance: DagsterInstance) -> Sequence[DagsterRun]:
    """All runs that are queued or under way."""
    return instance.get_runs(RunsFilter(statuses=_UNFINISHED))


def partitions_of(run: DagsterRun, places: Mapping[str, int], known: Sequence[str]) -> Sequence[str]:
    """Partitions of the uploads that a run is for; a range with an unknown end has none.

    Args:
        run: The run.
        places: Place of each partition key in ``known``.
        known: All partition keys, in Dagster's order.
    """
    if partition := run.tags.get(PARTITION_TAG):
        return [partition]
    first, last = (places.get(run.tags.get(tag, "")) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    return [] if first is None or last is None else known[first : last + 1]
