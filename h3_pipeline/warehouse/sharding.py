"""The shards of a cluster, and which of them an upload is on.

A shard is a warehouse of its own, so that every promise of a load holds there as it does on one server. An upload is
on one shard, and the key alone says on which: the next version of a file goes where its last one is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError

SHARDING_KEY = "cityHash64(upload)"
"""Decides the shard, over the columns of any table that holds uploads."""

_ASKED_AT_ONCE = 100
"""Keys in one question: they are in its address, whose length is limited."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the warehouse that holds uploads whole.

    Attributes:
        number: Counted from 1, as ClickHouse does.
        host: The replica that publishers meet at, since leases and staging tables are on one server; None for the
            server or engine that the settings name.
        weight: How much of the uploads it gets, compared with the others.
    """

    number: int
    host: str | None = None
    weight: int = 1


NAMED = Shard(1)
"""The server or engine that the settings name: the only shard, where nothing is spread."""


def shards_of(engine: ClickHouse, cluster: str) -> tuple[Shard, ...]:
    """The shards of a cluster, as its servers know them.

    Args:
        engine: Any of its servers.
        cluster: Its name in their ``remote_servers``.

    Raises:
        WarehouseError: The servers know no such cluster.
    """
    rows = engine.rows(
        "SELECT shard_num, argMin(host_name, replica_num), any(shard_weight) FROM system.clusters "
        "WHERE cluster = {cluster:String} GROUP BY shard_num ORDER BY shard_num",
        {"cluster": cluster},
    )
    if not rows:
        raise WarehouseError(
            f"CLICKHOUSE_CLUSTER: {engine.where} knows no cluster {cluster!r}; see system.clusters there"
        )
    return tuple(Shard(int(number), str(host), int(weight)) for number, host, weight in rows)


def group_by_shard(engine: ClickHouse, shards: Sequence[Shard], uploads: Iterable[str]) -> dict[Shard, list[str]]:
    """Uploads by their shard, in the order given; a shard without any is left out.

    Args:
        engine: Any engine: it is asked for nothing but the hash.
        shards: All shards, in order.
        uploads: Keys below ``uploads/``.
    """
    # as a Distributed table counts: a shard has as many places as its weight says
    places = [shard for shard in shards for _ in range(shard.weight)]
    keys = list(uploads)
    groups: dict[Shard, list[str]] = {}
    for first in range(0, len(keys), _ASKED_AT_ONCE):
        rows = engine.rows(
            f"SELECT upload, {SHARDING_KEY} % {{places:UInt64}} "
            "FROM (SELECT arrayJoin({uploads:Array(String)}) AS upload)",
            {"uploads": keys[first : first + _ASKED_AT_ONCE], "places": len(places)},
        )
        for upload, place in rows:
            groups.setdefault(places[int(place)], []).append(str(upload))
    return groups
