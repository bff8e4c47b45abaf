"""Tables with any number of trips in them, made inside the engine: what the pipeline would have loaded, without files.

Trips of three of the sample cities over a year, most of them in one as in a city's own warehouse; one
upload a month, with hot spots and rush hours. They are a function of their number, so that the same
arguments give the same tables.
"""

import calendar
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.tables import DATABASE, rollups
from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.local.sample_data import NEW_YORK, City
from h3_pipeline.local.sample_data.cities import PRAGUE, TOKYO
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import LOADED_TABLES, Placement

YEAR = 2014
MONTHS = 12

_SLOTS = 4096  # a draw is a look into an array, in which each thing stands as often as it weighs
_KM_PER_DEGREE = 111.195
# a city, its share, and its clock: without summer time, which no question here is about
_CITIES = ((NEW_YORK, 7, -300), (TOKYO, 2, 540), (PRAGUE, 1, 60))
_DATASOURCES = 2
_HOURS = (3, 2, 1, 1, 2, 4, 8, 14, 17, 12, 9, 9, 10, 10, 10, 11, 13, 18, 19, 15, 11, 9, 7, 5)  # of a local day

_SETTINGS = {
    "max_bytes_before_external_group_by": 300_000_000,
    "max_bytes_before_external_sort": 300_000_000,
    # the arrays of slots are looked into row by row, as if each row had its own
    "max_block_size": 8_192,
    "max_insert_block_size": 262_144,
    "max_partitions_per_insert_block": 0,
}


def fill(home: Path, trips: int, say: Callable[[str], None]) -> None:
    """Fill the warehouse of a home, unless that was done before.

    Args:
        home: Folder of the pipeline's state.
        trips: Number of trips.
        say: Told what goes on.
    """
    complete = home / f"filled-with-{trips}"
    if complete.exists():
        say(f"{trips:,} trips are there already")
        return
    with open_embedded(home / "warehouse") as engine:
        migrate(engine, Placement(DATABASE))
        for month in range(1, MONTHS + 1):
            first, end = trips * (month - 1) // MONTHS, trips * month // MONTHS
            fill_month(engine, month, first, end)
            say(f"{end:,} of {trips:,} trips are there, and their hourly rows")
        say("merging the parts, as they would be after some days")
        for table in LOADED_TABLES:
            engine.command(f"OPTIMIZE TABLE `{DATABASE}`.{table} FINAL")
    complete.touch()


def fill_month(engine: ClickHouse, month: int, first: int, end: int) -> None:
    """Add the upload of one month: its trips, its hourly rows, and its notes in the ledger and the history.

    Args:
        engine: The warehouse.
        month: 1 to 12.
        first: Number of its first trip.
        end: Number after its last.
    """
    upload = upload_of(month)
    engine.command(_trips(month, first, end, upload), settings=_SETTINGS)
    its_own = f"upload = '{upload}'"
    for statement in rollups(Settings.load().h3_rollup_resolutions, trips_where=its_own, rollup_where=its_own):
        engine.command(statement, settings=_SETTINGS)
    for table in LOADED_TABLES:
        engine.command(
            "INSERT INTO publications SELECT upload, {table:String}, _partition_id, 'published', count(), "
            f"toUnixTimestamp64Nano(now64(9)) FROM {table} WHERE {its_own} GROUP BY upload, _partition_id",
            {"table": table},
        )
    engine.command(
        "INSERT INTO load_history (upload, upload_etag, event, at, feed, rows_in, rows_loaded) "
        f"SELECT upload, any(upload_etag), 'loaded', now64(6, 'UTC'), 'generic', count(), count() FROM trips "
        f"WHERE {its_own} GROUP BY upload"
    )


def upload_of(month: int) -> str:
    """Key of a month's upload."""
    return f"{YEAR}/{month:02d}.csv"


def _trips(month: int, first: int, end: int, upload: str) -> str:
    days = calendar.monthrange(YEAR, month)[1]
    return f"""
        INSERT INTO trips (
            upload, upload_etag, row_number, region, datasource, started_at, ended_at, utc_offset_minutes,
            origin_lat, origin_lng, destination_lat, destination_lng, origin_h3, destination_h3,
            distance_km, passenger_count, fare_amount, total_amount)
        WITH
            (n, purpose) -> cityHash64(n, purpose) AS draw,
            (n, purpose) -> (bitAnd(cityHash64(n, purpose), 4294967295) + 0.5) / 4294967296 AS share,
            {_array(city.name for city, _, _ in _CITIES)} AS city_names,
            {_array(offset for _, _, offset in _CITIES)} AS city_offsets,
            {_array(_slots([weight for _, weight, _ in _CITIES]))} AS city_slots,
            {_nested(_slots([spot.weight for spot in city.spots]) for city, _, _ in _CITIES)} AS spot_slots,
            {_nested(_places(city) for city, _, _ in _CITIES)} AS spots,
            {_array(_slots(_HOURS))} AS hours
        SELECT '{upload}', 'made', number - {first} + 1, city_names[city],
               toString(1 + draw(number, 1) % {_DATASOURCES}), started,
               started + toIntervalSecond(toUInt32(120 + 200 * km * (0.7 + 0.6 * share(number, 2)))),
               city_offsets[city], lat, lng, to_lat, to_lng, geoToH3(lat, lng, 10), geoToH3(to_lat, to_lng, 10),
               km, 1 + draw(number, 3) % 4, round(2 * (2.5 + 1.2 * km)) / 2 AS fare, fare + 1
        FROM (
            SELECT number, city_slots[1 + draw(number, 4) % {_SLOTS}] AS city,
                   spots[city][spot_slots[city][1 + draw(number, 5) % {_SLOTS}]] AS origin,
                   spots[city][spot_slots[city][1 + draw(number, 6) % {_SLOTS}]] AS destination,
                   {_point("origin", 7)}, {_point("destination", 9, "to_")},
                   toFloat32(1.3 * greatCircleDistance(lng, lat, to_lng, to_lat) / 1000) AS km,
                   toDateTime('{YEAR}-{month:02d}-01 00:00:00', 'UTC') + toIntervalSecond(
                       86400 * (draw(number, 11) % {days})
                       + (3600 * (hours[1 + draw(number, 12) % {_SLOTS}] - 1) + draw(number, 13) % 3600
                          - 60 * city_offsets[city] + 86400) % 86400) AS started
            FROM numbers({first}, {end - first})
        )"""


def _point(spot: str, purpose: int, prefix: str = "") -> str:
    """Columns ``lat`` and ``lng`` of a point about a spot, by a normal distribution."""
    radius = f"{spot}.3 / {_KM_PER_DEGREE} * sqrt(-2 * log(share(number, {purpose})))"
    turn = f"{2 * math.pi} * share(number, {purpose + 1})"
    return (
        f"{spot}.1 + {radius} * sin({turn}) AS {prefix}lat, "
        f"{spot}.2 + {radius} * cos({turn}) / cos(radians({spot}.1)) AS {prefix}lng"
    )


def _slots(weights: Sequence[float]) -> list[int]:
    """Which thing, counted from 1, stands in each slot; things have slots by their weight."""
    ends, so_far = [], 0.0
    for weight in weights:
        so_far += weight
        ends.append(so_far)
    return [next(i for i, end in enumerate(ends, 1) if (slot + 0.5) / _SLOTS * so_far <= end) for slot in range(_SLOTS)]


def _places(city: City) -> list[tuple[float, float, float]]:
    return [(spot.lat, spot.lng, spot.spread_km) for spot in city.spots]


def _nested(arrays: Iterable[Iterable[object]]) -> str:
    return f"[{', '.join(map(_array, arrays))}]"


def _array(values: Iterable[object]) -> str:
    return repr(list(values))
