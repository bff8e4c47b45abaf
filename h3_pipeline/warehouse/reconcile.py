"""Rollups against a recount from the trips: every group, at every resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import CELL_HOURLY, FLOW_HOURLY
from h3_pipeline.warehouse.templates import render_statement


@dataclass(frozen=True, slots=True)
class ResolutionCheck:
    """One hourly table at one resolution, and its recount.

    Attributes:
        table: ``cell_hourly`` or ``flow_hourly``.
        resolution: H3 resolution.
        groups: Groups in the table.
        trips: Departures (cells) or trips (flows) in the table.
        recounted_groups: Groups that the trips give.
        recounted_trips: Trips that they give.
        equal: Whether every group has the same numbers on both sides.
    """

    table: str
    resolution: int
    groups: int
    trips: int
    recounted_groups: int
    recounted_trips: int
    equal: bool


_SETTINGS = {"max_bytes_before_external_group_by": 250_000_000}


def recount(
    engine: ClickHouse, trips: str, cell_hourly: str, flow_hourly: str, resolutions: Sequence[int]
) -> list[ResolutionCheck]:
    """Compare hourly tables with a recount from trips.

    Groups are compared by a checksum over their keys, counts and integer sums, so any difference
    in any group shows.

    Args:
        engine: The warehouse.
        trips: Qualified name of the trips to count.
        cell_hourly: Qualified name of the table to compare.
        flow_hourly: Likewise.
        resolutions: H3 resolutions to compare at.
    """
    checks = []
    for name, table, statement in (
        (CELL_HOURLY, cell_hourly, "recount_cells"),
        (FLOW_HOURLY, flow_hourly, "recount_flows"),
    ):
        for resolution in resolutions:
            sql = render_statement(statement, table=table, trips=trips, resolution=resolution)
            found = {row[0]: row[1:] for row in engine.rows(sql, settings=_SETTINGS)}
            rolled, counted = found["rollup"], found["recount"]
            checks.append(
                ResolutionCheck(
                    name,
                    resolution,
                    int(rolled[0]),
                    int(rolled[1]),
                    int(counted[0]),
                    int(counted[1]),
                    rolled == counted,
                )
            )
    return checks
