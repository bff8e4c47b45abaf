"""Typical questions, each asked of the hourly tables and of the trips themselves; both ways give the same rows.

Sums are asked of the hourly tables, as the shipped exports do; finished numbers, such as medians, of their
views. A view first makes a row for each cell, hour, region and source, which a sum over hours does not need.
"""

from dataclasses import dataclass

from benchmarks.full_tables import YEAR

RESOLUTION = 8
FINE_RESOLUTION = 9
REGION = "New York"
BOX = "h3ToGeo(cell).1 BETWEEN 40.70 AND 40.76 AND h3ToGeo(cell).2 BETWEEN -74.02 AND -73.96"
BOX_POLYGON = "[(-74.02, 40.70), (-73.96, 40.70), (-73.96, 40.76), (-74.02, 40.76)]"
"""The same box; its cells are those whose centre is in it, and the table is sorted by them."""

_WEEK = (f"{YEAR}-06-02 00:00:00", f"{YEAR}-06-09 00:00:00")
_MONTH = (f"{YEAR}-06-01 00:00:00", f"{YEAR}-07-01 00:00:00")


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        name: What it asks.
        of_rollups: SQL over the views of the hourly tables.
        of_trips: SQL over ``trips``.
    """

    name: str
    of_rollups: str
    of_trips: str


def questions(cell: int) -> list[Question]:
    """The questions.

    Args:
        cell: The cell that some of them are about, of `RESOLUTION`.
    """
    week, month = (f"BETWEEN '{first}' AND toDateTime('{end}', 'UTC') - 1" for first, end in (_WEEK, _MONTH))
    origin, destination = (f"h3ToParent({end}, {RESOLUTION})" for end in ("origin_h3", "assumeNotNull(destination_h3)"))
    fine = f"h3ToParent(origin_h3, {FINE_RESOLUTION})"
    return [
        Question(
            "a cell's week: departures and arrivals by hour",
            "SELECT h.hour, sum(h.departures), sum(h.arrivals) FROM cell_hourly AS h "
            f"WHERE resolution = {RESOLUTION} AND cell = {cell} AND hour {week} GROUP BY hour ORDER BY hour",
            "SELECT hour, sum(departs), sum(1 - departs) FROM ("
            "SELECT toStartOfHour(started_at) AS hour, 1 AS departs FROM trips "
            f"WHERE {origin} = {cell} AND started_at {week} "
            "UNION ALL SELECT toStartOfHour(assumeNotNull(ended_at)), 0 FROM trips WHERE destination_h3 IS NOT NULL "
            f"AND {destination} = {cell} AND ended_at {week}) GROUP BY hour ORDER BY hour",
        ),
        Question(
            "a cell's week: median minutes by hour",
            f"SELECT hour, datasource, duration_min_p50 FROM cell_hourly_view WHERE resolution = {RESOLUTION} "
            f"AND cell = {cell} AND hour {week} AND departures > 0 ORDER BY hour, datasource",
            "SELECT toStartOfHour(started_at) AS hour, datasource, "
            "quantileExactInclusive(0.5)(dateDiff('second', started_at, assumeNotNull(ended_at))) / 60 "
            f"FROM trips WHERE {origin} = {cell} AND started_at {week} "
            "GROUP BY hour, datasource ORDER BY hour, datasource",
        ),
        Question(
            "the 20 busiest cells of a month",
            "SELECT cell, sum(h.departures) AS n FROM cell_hourly AS h "
            f"WHERE resolution = {RESOLUTION} AND hour {month} GROUP BY cell ORDER BY n DESC, cell LIMIT 20",
            f"SELECT {origin} AS cell, count() AS n FROM trips WHERE started_at {month} "
            "GROUP BY cell ORDER BY n DESC, cell LIMIT 20",
        ),
        Question(
            "the 20 busiest cells of all time",
            "SELECT cell, sum(h.departures) AS n FROM cell_hourly AS h "
            f"WHERE resolution = {RESOLUTION} GROUP BY cell ORDER BY n DESC, cell LIMIT 20",
            f"SELECT {origin} AS cell, count() AS n FROM trips GROUP BY cell ORDER BY n DESC, cell LIMIT 20",
        ),
        Question(
            "where a month's trips into a cell come from",
            "SELECT origin, sum(f.trips) AS n FROM flow_hourly AS f "
            f"WHERE resolution = {RESOLUTION} AND destination = {cell} AND hour {month} "
            "GROUP BY origin ORDER BY n DESC, origin LIMIT 20",
            f"SELECT {origin} AS from_cell, count() AS n FROM trips WHERE destination_h3 IS NOT NULL "
            f"AND {destination} = {cell} AND started_at {month} GROUP BY from_cell ORDER BY n DESC, from_cell LIMIT 20",
        ),
        Question(
            "where a month's trips out of a cell go",
            "SELECT destination, sum(f.trips) AS n FROM flow_hourly AS f "
            f"WHERE resolution = {RESOLUTION} AND origin = {cell} AND hour {month} "
            "GROUP BY destination ORDER BY n DESC, destination LIMIT 20",
            f"SELECT {destination} AS to_cell, count() AS n FROM trips WHERE destination_h3 IS NOT NULL "
            f"AND {origin} = {cell} AND started_at {month} GROUP BY to_cell ORDER BY n DESC, to_cell LIMIT 20",
        ),
        Question(
            "a bounding box, a month, by cell",
            "SELECT cell, sum(h.departures) FROM cell_hourly AS h "
            f"WHERE resolution = {FINE_RESOLUTION} AND hour {month} AND departures > 0 "
            f"AND cell IN (SELECT arrayJoin(h3PolygonToCells({BOX_POLYGON}, {FINE_RESOLUTION}))) "
            "GROUP BY cell ORDER BY cell",
            f"SELECT {fine} AS cell, count() FROM trips WHERE started_at {month} AND {BOX} GROUP BY cell ORDER BY cell",
        ),
        Question(
            "a region's weekly average",
            "SELECT sum(h.departures) / uniqExact(toMonday(hour)) FROM cell_hourly AS h "
            f"WHERE resolution = 5 AND region = '{REGION}' AND departures > 0",
            f"SELECT count() / uniqExact(toMonday(started_at)) FROM trips WHERE region = '{REGION}'",
        ),
    ]
