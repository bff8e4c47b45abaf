"""Fills the hourly staging tables from the staged trips, a span of time after the other.

Groups are counted in memory, so only so many trips may be counted at once. A group's hour is one of its
keys: trips cut at full hours never share a group, at whatever resolution, and each group is written once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.short_lived import NEVER_MERGED
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import literal
from h3_pipeline.warehouse.templates import render_statement

SPAN_TRIPS = 1_000_000
"""Trips that are counted at once, but for those of a single hour; their groups take some 300 MB."""

_IN_MEMORY = "Memory"
_ON_DISK = f"MergeTree ORDER BY tuple() SETTINGS {NEVER_MERGED}"

COUNT_SETTINGS = {
    # the trips of one hour may be many: large groupings go to disk before they take the memory of a small task
    "max_bytes_before_external_group_by": 350_000_000,
    # groups come whole, so there is nothing to add up when they are written: looking for it takes most of the time
    "optimize_on_insert": 0,
}


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time between two full hours.

    Attributes:
        begin: Its first instant; None has no beginning.
        end: The first instant after it; None has no end.
        trips: Trips that depart in it.
    """

    begin: datetime | None = None
    end: datetime | None = None
    trips: int = 0

    def holds(self, column: str) -> str:
        """SQL condition: the column's instant lies in the span."""
        conditions = [f"{column} {sign} {_instant(at)}" for sign, at in ((">=", self.begin), ("<", self.end)) if at]
        return " AND ".join(conditions) or "true"

    @property
    def departs(self) -> str:
        """SQL condition: a trip departs in the span."""
        return self.holds("started_at")

    @property
    def arrives(self) -> str:
        """SQL condition: a trip arrives in the span, which it cannot before it departs."""
        arrives = f"ended_at IS NOT NULL AND {self.holds('ended_at')}"
        return f"{arrives} AND started_at < {_instant(self.end)}" if self.end else arrives


def _instant(at: datetime) -> str:
    return f"toDateTime({literal(f'{at:%Y-%m-%d %H:%M:%S}')}, 'UTC')"


def spans(trips_by_hour: Sequence[tuple[datetime, int]], span_trips: int = SPAN_TRIPS) -> list[Span]:
    """Cut time so that each span holds few enough trips; the first and the last span are open.

    Args:
        trips_by_hour: Full hours, ascending, and the trips that depart in each.
        span_trips: Most trips of a span, unless a single hour has more.
    """
    found: list[Span] = []
    begin, held = None, 0
    for hour, trips in trips_by_hour:
        if held and held + trips > span_trips:
            found.append(Span(begin, hour, held))
            begin, held = hour, 0
        held += trips
    return [*found, Span(begin, None, held)]


@dataclass(frozen=True, slots=True)
class ScratchTables:
    """Qualified names of three tables that exist while groups are counted."""

    labels: str
    cell_groups: str
    flow_groups: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is counted: its name in statements, and the columns that say where and how many."""

    name: str
    place: str
    counts: str


_CELLS = _Kind("cell", "cell", "departures, arrivals")
_FLOWS = _Kind("flow", "origin, destination", "trips")


@dataclass(frozen=True, slots=True)
class RollUp:
    """Counts one set of staged trips into two hourly tables.

    Attributes:
        engine: The warehouse.
        trips: Qualified name of the staged trips.
        cell_hourly: Qualified name of the table to fill.
        flow_hourly: Likewise.
        scratch: Names of tables that do not exist yet.
        settings: Engine settings of every insert.
    """

    engine: ClickHouse
    trips: str
    cell_hourly: str
    flow_hourly: str
    scratch: ScratchTables
    settings: dict[str, int]

    def run(self, resolutions: Sequence[int]) -> None:
        """Fill both tables at every resolution.

        Args:
            resolutions: H3 resolutions, each no finer than the trips' cells.
        """
        hours = self.engine.rows(
            f"SELECT toStartOfHour(started_at) AS hour, count() FROM {self.trips} GROUP BY hour ORDER BY hour"
        )
        ordered = sorted(resolutions, reverse=True)
        for span in spans([(hour, int(trips)) for hour, trips in hours]):
            with self._table("create_labels", self.scratch.labels, _IN_MEMORY):
                self._label(span)
                self._count(_CELLS, self.scratch.cell_groups, self.cell_hourly, span, ordered)
                self._count(_FLOWS, self.scratch.flow_groups, self.flow_hourly, span, ordered)

    def _label(self, span: Span) -> None:
        labels = self.scratch.labels
        self._insert("label_trips", labels=labels, trips=self.trips, departs=span.departs, arrives=span.arrives)
        known, different = self.engine.rows(f"SELECT count(), uniqExact(label) FROM {labels}")[0]
        if known != different:
            raise WarehouseError(
                "Two regions or datasources of the upload have the same hash; nothing was loaded. "
                "Rename one of them in the feed, and please report this."
            )

    def _count(self, kind: _Kind, groups: str, target: str, span: Span, resolutions: Sequence[int]) -> None:
        finer, *coarser = resolutions
        # groups of more trips, all of one hour, outgrow the memory of a small task
        storage = _ON_DISK if span.trips > SPAN_TRIPS else _IN_MEMORY
        with self._table(f"create_{kind.name}_groups", groups, storage):
            self._insert(
                f"count_{kind.name}s",
                groups=groups,
                trips=self.trips,
                resolution=finer,
                departs=span.departs,
                arrives=span.arrives,
            )
            for resolution in coarser:
                self._insert(f"coarsen_{kind.name}s", groups=groups, resolution=resolution, finer=finer)
                finer = resolution
            self._insert(
                "write_groups",
                target=target,
                groups=groups,
                labels=self.scratch.labels,
                place=kind.place,
                counts=kind.counts,
            )

    def _insert(self, statement: str, **values: object) -> None:
        self.engine.command(render_statement(statement, **values), settings=self.settings | COUNT_SETTINGS)

    @contextmanager
    def _table(self, statement: str, table: str, storage: str) -> Iterator[None]:
        """A table that is gone, with what is in it, at the end."""
        self.engine.command(render_statement(statement, table=table, storage=storage))
        try:
            yield
        finally:
            self.engine.command(f"DROP TABLE IF EXISTS {table} SYNC", repeatable=True)
