"""The warehouse's tables by name, and what loading must know of each."""

from dataclasses import dataclass

from h3_pipeline.sql import literal
from h3_pipeline.trips.columns import TRIP_COLUMNS
from h3_pipeline.warehouse.codecs import NARROW

TRIPS = "trips"
CELL_HOURLY = "cell_hourly"
FLOW_HOURLY = "flow_hourly"

LOADED_TABLES: tuple[str, ...] = (TRIPS, CELL_HOURLY, FLOW_HOURLY)
"""Tables that hold uploads' rows, partitioned by month, in the order in which they are published."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the tables live.

    Attributes:
        database: Database name.
        cluster: Cluster on which every statement of definition runs; None for a single server.
    """

    database: str
    cluster: str | None = None

    def table(self, name: str) -> str:
        """A table's qualified name."""
        return f"`{self.database}`.`{name}`"

    def on_cluster(self) -> str:
        """``ON CLUSTER …``, or nothing."""
        return f"ON CLUSTER {literal(self.cluster)}" if self.cluster else ""

    def engine(self, family: str, *arguments: str) -> str:
        """A MergeTree engine of some family, replicated on a cluster."""
        if not self.cluster:
            return f"{family}({', '.join(arguments)})"
        path = ("'/clickhouse/tables/{shard}/{database}/{table}'", "'{replica}'")
        return f"Replicated{family}({', '.join((*path, *arguments))})"

    def no_deduplication(self) -> str:
        """Settings that keep every inserted part: identical parts are meant."""
        name = "replicated_deduplication_window" if self.cluster else "non_replicated_deduplication_window"
        return f"{name} = 0"


def trip_column_definitions() -> str:
    """The columns of ``trips`` for its CREATE TABLE."""
    return ",\n    ".join(
        f"{c.name} {c.type} COMMENT {literal(c.description)} {NARROW if c.name in _NARROW_COLUMNS else ''}".rstrip()
        for c in TRIP_COLUMNS
    )


# origins are the table's order, so their cells compress by themselves
_NARROW_COLUMNS = ("row_number", "started_at", "ended_at", "destination_h3")
