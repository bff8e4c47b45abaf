"""Rollups against a recount from the trips: every group, at every resolution, in one scan of each table.

Each group's numbers are added up, each times a factor of its own, to a *weight*; a table's checksum is the
sum over its groups of the hash of the group's keys times its weight, modulo 2^64. Weights add up, so the
trips give the same sum one by one, without being grouped. Two tables that differ in any number of any group
have the same checksum by chance alone: once in some 2^60 cases.
"""

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
        groups: Rows of the table.
        trips: Departures (cells) or trips (flows) in the table.
        recounted_trips: Those that the trips give.
        equal: Whether every group has the same numbers on both sides.
    """

    table: str
    resolution: int
    groups: int
    trips: int
    recounted_trips: int
    equal: bool


def recount(
    engine: ClickHouse, trips: str, cell_hourly: str, flow_hourly: str, resolutions: Sequence[int]
) -> list[ResolutionCheck]:
    """Compare hourly tables with a recount from trips.

    Args:
        engine: The warehouse.
        trips: Qualified name of the trips to count.
        cell_hourly: Qualified name of the table to compare.
        flow_hourly: Likewise.
        resolutions: H3 resolutions to compare at.
    """
    checks = []
    for name, table in ((CELL_HOURLY, cell_hourly), (FLOW_HOURLY, flow_hourly)):
        weighed = {
            int(resolution): (int(groups), int(total), int(checksum))
            for resolution, groups, total, checksum in engine.rows(render_statement(f"weigh_{name}", table=table))
        }
        recounted = engine.rows(render_statement(f"weigh_trips_for_{name}", trips=trips, resolutions=resolutions))
        counted, *checksums = (int(value) for value in recounted[0])
        for resolution, expected in zip(resolutions, checksums, strict=True):
            groups, total, checksum = weighed.get(resolution, (0, 0, 0))
            equal = (total, checksum) == (counted, expected)
            checks.append(ResolutionCheck(name, resolution, groups, total, counted, equal))
    return checks
