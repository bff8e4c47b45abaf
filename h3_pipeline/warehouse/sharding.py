"""The tables of several shards read as one: ``trips_everywhere`` and its like, and the views over them.

Each shard has the whole schema and is loaded as a warehouse of its own, so that every promise of a load holds there
as it does on one server. Nothing is written through the distributed tables. The deployment of today has one shard, and
nothing calls this; docs/scaling.md tells when it is worth it, and what else it takes.
"""

from dataclasses import dataclass
from enum import Enum

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import LOADED_TABLES, TRIPS, Placement
from h3_pipeline.warehouse.templates import render_migration, render_statement

EVERYWHERE = "_everywhere"
"""Ending of the tables and views over all shards."""

REGION_RESOLUTION = 3
"""Cells of this H3 resolution, of about 12,000 km², are never split between shards by `ShardKey.REGION`."""

_VIEWS = {"cell_hourly_view": "0004_cell_hourly_view", "flow_hourly_view": "0005_flow_hourly_view"}


class ShardKey(Enum):
    """What decides which shard a trip is on.

    Attributes:
        expression: Over the columns of ``trips``.
    """

    UPLOAD = "cityHash64(upload)"
    """Whole uploads: each is loaded by one shard alone. The one to choose, unless most questions are about one city."""

    REGION = f"cityHash64(h3ToParent(origin_h3, {REGION_RESOLUTION}))"
    """Cities: a question about one is answered by one shard; an upload of many cities is loaded in parts."""

    @property
    def expression(self) -> str:
        """Over the columns of ``trips``."""
        return self.value


@dataclass(frozen=True, slots=True)
class Sharding:
    """How trips are spread.

    Attributes:
        shards: Number of shards.
        key: What decides.
    """

    shards: int
    key: ShardKey = ShardKey.UPLOAD

    def condition(self, shard: int) -> str:
        """Which rows of a clean CSV are a shard's.

        Args:
            shard: From 0 on, as ClickHouse counts them where all have the same weight.
        """
        return f"{self.key.expression} % {self.shards} = {shard}"

    def shard_of(self, engine: ClickHouse, upload: str) -> int:
        """The only shard of an upload, for `ShardKey.UPLOAD`."""
        if self.key is not ShardKey.UPLOAD:
            raise ValueError(f"{self.key} spreads an upload over all shards")
        return int(
            engine.value(
                f"SELECT {self.key.expression} % {{shards:UInt64}} FROM (SELECT {{upload:String}} AS upload)",
                {"upload": upload, "shards": self.shards},
            )
        )


def create_everywhere(engine: ClickHouse, placement: Placement, sharding: Sharding, *, cluster: str) -> list[str]:
    """Make the tables and views over all shards, where they are not there yet.

    Args:
        engine: A server of the cluster, with all migrations applied.
        placement: Where the tables of each shard are.
        sharding: How trips are spread.
        cluster: The cluster in the servers' ``remote_servers`` whose shards are meant.

    Returns:
        Names of the tables and views.
    """
    made = []
    for table in LOADED_TABLES:
        # Only trips can be asked of one shard alone: arrivals are counted where their trip is, not where they arrive.
        # Without a key, a table on several shards cannot be inserted into.
        engine.command(
            render_statement(
                "distributed",
                everywhere=placement.table(table + EVERYWHERE),
                local=placement.table(table),
                on_cluster=placement.on_cluster(),
                cluster=cluster,
                database=placement.database,
                table=table,
                key=sharding.key.expression if table == TRIPS else None,
            )
        )
        made.append(table + EVERYWHERE)
    for view, migration in _VIEWS.items():
        name = view.replace("_view", f"{EVERYWHERE}_view")
        engine.command(
            render_migration(
                migration,
                table=lambda _, name=name: f"{placement.table(name)} {placement.on_cluster()}",
                qualified=lambda table: placement.table(table + EVERYWHERE),
            )
        )
        made.append(name)
    return made
