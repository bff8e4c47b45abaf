"""The warehouse's tables as SQL: their definitions, and how they are filled in the plainest way.

Definitions are the pipeline's own. How it fills the tables is its own business, so the statements
here are not the pipeline's: only the measures are, since they are part of what the columns mean.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.warehouse.measures import MEASURES
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement

DATABASE = "h3_pipeline"

_KEYS = "region, datasource, utc_offset_minutes, upload"
_TABLES = ("trips", "cell_hourly", "flow_hourly", "cell_hourly_view", "flow_hourly_view")


def definitions(folder: Path) -> list[str]:
    """Statements that make the database and its tables, as the pipeline's migrations leave them.

    Args:
        folder: An empty folder for an engine that is asked for them.
    """
    with open_embedded(folder) as engine:
        migrate(engine, Placement(DATABASE))
        made = engine.pairs(
            "SELECT name, create_table_query FROM system.tables WHERE database = {database:String}",
            {"database": DATABASE},
        )
    return [f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`", *(str(made[name]) for name in _TABLES)]


def rollups(resolutions: Sequence[int], *, trips_where: str = "true", rollup_where: str = "true") -> Iterator[str]:
    """Statements that fill both hourly tables: the finest resolution from trips, each coarser from the finer.

    Args:
        resolutions: The resolutions.
        trips_where: Only these trips.
        rollup_where: Which rows of the hourly tables came of them.
    """
    finest, *coarser = sorted(resolutions, reverse=True)
    yield _cells(finest, trips_where)
    for finer, resolution in pairwise((finest, *coarser)):
        yield _coarser_cells(resolution, finer, rollup_where)
    yield _flows(finest, trips_where)
    for finer, resolution in pairwise((finest, *coarser)):
        yield _coarser_flows(resolution, finer, rollup_where)


def _cells(resolution: int, where: str) -> str:
    return f"""
        INSERT INTO cell_hourly
        SELECT {resolution}, h3ToParent(end_cell, {resolution}) AS cell, toStartOfHour(end_time) AS hour, {_KEYS},
               countIf(departs), countIf(NOT departs), {_measures()}
        FROM (
            SELECT true AS departs, origin_h3 AS end_cell, started_at AS end_time, {_KEYS},
                   started_at, ended_at, distance_km, fare_amount
            FROM trips WHERE {where}
            UNION ALL
            SELECT false, assumeNotNull(destination_h3), assumeNotNull(trip.ended_at), {_KEYS},
                   trip.started_at, NULL, NULL, NULL
            FROM trips AS trip WHERE destination_h3 IS NOT NULL AND trip.ended_at IS NOT NULL AND {where}
        )
        GROUP BY cell, hour, {_KEYS}"""


def _flows(resolution: int, where: str) -> str:
    return f"""
        INSERT INTO flow_hourly
        SELECT {resolution}, h3ToParent(origin_h3, {resolution}) AS origin,
               h3ToParent(assumeNotNull(destination_h3), {resolution}) AS destination,
               toStartOfHour(started_at) AS hour, {_KEYS}, count(), {_measures()}
        FROM trips WHERE destination_h3 IS NOT NULL AND {where}
        GROUP BY origin, destination, hour, {_KEYS}"""


def _coarser_cells(resolution: int, finer: int, where: str) -> str:
    return f"""
        INSERT INTO cell_hourly
        SELECT {resolution}, h3ToParent(f.cell, {resolution}) AS parent, f.hour, {_KEYS},
               sum(f.departures), sum(f.arrivals), {_measures_of_finer()}
        FROM cell_hourly AS f WHERE f.resolution = {finer} AND {where}
        GROUP BY parent, f.hour, {_KEYS}"""


def _coarser_flows(resolution: int, finer: int, where: str) -> str:
    return f"""
        INSERT INTO flow_hourly
        SELECT {resolution}, h3ToParent(f.origin, {resolution}) AS parent_origin,
               h3ToParent(f.destination, {resolution}) AS parent_destination, f.hour, {_KEYS},
               sum(f.trips), {_measures_of_finer()}
        FROM flow_hourly AS f WHERE f.resolution = {finer} AND {where}
        GROUP BY parent_origin, parent_destination, f.hour, {_KEYS}"""


def _measures() -> str:
    return ", ".join(aggregate for measure in MEASURES for aggregate in measure.from_trips())


def _measures_of_finer() -> str:
    return ", ".join(aggregate for measure in MEASURES for aggregate in measure.from_finer())
