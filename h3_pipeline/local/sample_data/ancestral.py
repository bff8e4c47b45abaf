"""Sample trips of many cities, in the CSV form of the project's ancestry."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from h3_pipeline.local.sample_data.cities import CITIES, City
from h3_pipeline.local.sample_data.clock import WallClock, texts
from h3_pipeline.local.sample_data.demand import Demand
from h3_pipeline.local.sample_data.dirt import Dirt, Fault, Table, fields, wrong_column_count
from h3_pipeline.local.sample_data.files import SampleSummary, write_table
from h3_pipeline.local.sample_data.flows import Flows

DATASOURCES = ("funny_car", "paper_boat_rides", "tin_comet", "velvet_wheels", "quiet_otter", "brisk_bison")
"""Names of no real company."""

_SECOND_SOURCE_FACTOR = 0.6  # each further source of a city has so much of the trips of the one before

_DECIMALS = 7  # of a degree: a centimetre

_FAULTS = (
    Fault("missing_started_at", True, fields({"datetime": ""})),
    Fault(
        "invalid_started_at",
        True,
        fields({"datetime": "not recorded"}, {"datetime": "2018-02-30 12:00:00"}, {"datetime": "2018-05-28 25:61:00"}),
    ),
    Fault("missing_origin", True, fields({"origin_coord": ""}, {"origin_coord": "POINT EMPTY"})),
    Fault("invalid_origin", True, fields({"origin_coord": "POINT (nan nan)"}, {"origin_coord": "somewhere"})),
    Fault(
        "origin_out_of_range",
        True,
        fields({"origin_coord": "POINT (14.43 500.08)"}, {"origin_coord": "POINT (214.43 50.08)"}),
    ),
    Fault("origin_null_island", True, fields({"origin_coord": "POINT (0 0)"})),
    Fault("wrong_column_count", True, wrong_column_count),
    Fault("missing_destination", False, fields({"destination_coord": ""})),
    Fault("destination_null_island", False, fields({"destination_coord": "POINT (0 0)"})),
)


def write_ancestral(
    path: Path,
    *,
    rows: int,
    seed: int,
    cities: Sequence[City] = CITIES,
    first_day: date = date(2018, 5, 7),
    days: int = 28,
    dirt: float = 0.01,
    progress: Callable[[int], None] | None = None,
) -> SampleSummary:
    """Write trips as ``region,origin_coord,destination_coord,datetime,datasource``.

    Timestamps are UTC and rise through the file; the rush hours are those of each city's own clock.

    Args:
        path: Where to; ``.gz`` at the end of the name compresses it.
        rows: Number of rows.
        seed: The same seed gives the same bytes.
        cities: Where the trips are.
        first_day: First day, UTC.
        days: Number of days, at least 1.
        dirt: Share of the rows that have a fault.
        progress: Called with the number of rows after each part.

    Raises:
        ValueError: An argument makes no sense.
        PipelineError: The file cannot be written.
    """
    if days < 1 or not cities:
        raise ValueError(f"there must be a day and a city, but there are {days} and {len(cities)}")
    midnight = datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC)
    start, end = int(midnight.timestamp()), int((midnight + timedelta(days=days)).timestamp())
    clocks = [WallClock(city.timezone, start, end) for city in cities]
    demand = Demand(clocks, [city.weight for city in cities], start, end)
    flows = [Flows(city) for city in cities]
    names = np.array([city.name for city in cities], dtype=object)
    source_share = _SECOND_SOURCE_FACTOR ** np.arange(len(DATASOURCES))
    source_share /= source_share.sum()

    def make(rng: np.random.Generator, first: int, last: int) -> Table:
        count = last - first
        seconds = demand.instants((first + np.sort(rng.random(count)) * count) / max(rows, 1))
        city = demand.places(rng, seconds)
        slots = demand.slots(city, seconds)
        points = np.empty((4, count))
        for index, flow in enumerate(flows):
            here = city == index
            points[:, here] = flow.draw(rng, slots[here])
        # Each city has a market leader of its own.
        source = (rng.choice(len(DATASOURCES), count, p=source_share) + city) % len(DATASOURCES)
        origin_lat, origin_lng, destination_lat, destination_lng = np.round(points, _DECIMALS).tolist()
        return Table(
            {
                "region": names[city].tolist(),
                "origin_coord": [f"POINT ({x} {y})" for x, y in zip(origin_lng, origin_lat, strict=True)],
                "destination_coord": [
                    f"POINT ({x} {y})" for x, y in zip(destination_lng, destination_lat, strict=True)
                ],
                "datetime": texts(seconds),
                "datasource": np.array(DATASOURCES, dtype=object)[source].tolist(),
            }
        )

    return write_table(path, make, rows=rows, seed=seed, dirt=Dirt(_FAULTS, dirt), line_end="\n", progress=progress)
