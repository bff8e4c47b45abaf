"""Sample trips in the CSV form in which New York published its yellow taxis' trips of 2015."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from h3_pipeline.local.sample_data.cities import NEW_YORK
from h3_pipeline.local.sample_data.clock import Seconds, WallClock, texts
from h3_pipeline.local.sample_data.demand import Demand
from h3_pipeline.local.sample_data.dirt import Dirt, Fault, Spoil, Table, fields, wrong_column_count
from h3_pipeline.local.sample_data.files import SampleSummary, write_table
from h3_pipeline.local.sample_data.flows import Flows, distance_km

_Floats = npt.NDArray[np.float64]

_KM_PER_MILE = 1.609344
_DETOUR = 1.3  # streets against the straight line
_MILES_PER_HOUR = np.array(
    [
        *(19.0, 20.0, 21.0, 21.0, 22.0, 21.0, 17.0, 13.0, 11.0, 11.0, 11.5, 11.5),
        *(11.0, 11.0, 10.5, 10.5, 10.0, 9.5, 10.0, 11.5, 13.0, 14.5, 16.0, 17.5),
    ]
)
_HALF_A_DAY = 12 * 3600

_FARE_START, _FARE_PER_MILE, _FARE_PER_MINUTE = 2.5, 2.0, 0.35
_TAX, _SURCHARGE, _TOLL = 0.5, 0.3, 5.54


def _a_day_early(table: Table, row: int, count: int) -> None:
    del count
    pickup = datetime.fromisoformat(table.columns["tpep_pickup_datetime"][row])
    table.columns["tpep_dropoff_datetime"][row] = str(pickup - timedelta(days=1))


def _at(end: str, *points: tuple[str, str]) -> Spoil:
    return fields(*({f"{end}_longitude": lng, f"{end}_latitude": lat} for lng, lat in points))


_FAULTS = (
    Fault("missing_started_at", True, fields({"tpep_pickup_datetime": ""})),
    Fault(
        "invalid_started_at",
        True,
        fields({"tpep_pickup_datetime": "not recorded"}, {"tpep_pickup_datetime": "2015-02-30 12:00:00"}),
    ),
    Fault("missing_origin", True, _at("pickup", ("", ""), ("-73.98", ""))),
    Fault("invalid_origin", True, _at("pickup", ("nan", "nan"), ("west", "north"))),
    Fault("origin_out_of_range", True, _at("pickup", ("-73.98", "404.7"), ("-739.8", "40.7"))),
    Fault("origin_null_island", True, _at("pickup", ("0", "0"))),
    Fault("ends_before_start", True, _a_day_early),
    Fault("wrong_column_count", True, wrong_column_count),
    Fault("missing_destination", False, _at("dropoff", ("", ""))),
    Fault("destination_null_island", False, _at("dropoff", ("0", "0"))),
)


def write_nyc_like(
    path: Path,
    *,
    rows: int,
    seed: int,
    year: int = 2015,
    month: int = 1,
    days: int | None = None,
    dirt: float = 0.01,
    faults: Collection[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> SampleSummary:
    """Write trips in New York as yellow taxis' trips of 2015 were published, CRLF included.

    Times are New York's, without a zone. None of them is ambiguous: trips in the hour that occurs
    twice when the clocks go back take place half a day later.

    Args:
        path: Where to; ``.gz`` at the end of the name compresses it.
        rows: Number of rows.
        seed: The same seed gives the same bytes.
        year: Year of the trips' start.
        month: Month of the trips' start, 1 to 12.
        days: Only the first so many days of the month; None takes all.
        dirt: Share of the rows that have a fault.
        faults: Only faults that get one of these codes from the pipeline; None takes all kinds.
        progress: Called with the number of rows after each part.

    Raises:
        ValueError: An argument makes no sense.
        PipelineError: The file cannot be written.
    """
    zone = ZoneInfo(NEW_YORK.timezone)
    first, next_month = (
        datetime(year, month, 1, tzinfo=zone),
        datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone),
    )
    start = int(first.timestamp())
    end = int((next_month if days is None else min(next_month, first + timedelta(days=days))).timestamp())
    known = {fault.code for fault in _FAULTS}
    if days is not None and days < 1:
        raise ValueError(f"there must be a day, not {days}")
    if faults is not None and (not faults or set(faults) - known):
        raise ValueError(f"faults must be some of {', '.join(sorted(known))}")
    clock = WallClock(NEW_YORK.timezone, start, end)
    demand = Demand([clock], [1], start, end)
    flows = Flows(NEW_YORK)

    def make(rng: np.random.Generator, first: int, last: int) -> Table:
        count = last - first
        pickup = demand.instants((first + np.sort(rng.random(count)) * count) / max(rows, 1))
        slots = demand.slots(np.zeros(count, dtype=np.int64), pickup)
        # The meter stores single precision.
        points = [each.astype(np.float32).astype(np.float64) for each in flows.draw(rng, slots)]
        miles = _miles(rng, points)
        seconds = _seconds(rng, miles, slots)
        ambiguous = clock.shows_twice(pickup) | clock.shows_twice(pickup + seconds)
        pickup = np.where(ambiguous, pickup + _HALF_A_DAY, pickup)
        pickup_lat, pickup_lng, dropoff_lat, dropoff_lng = points
        return Table(
            {
                "VendorID": _pick(rng, ("1", "2"), (0.47, 0.53), count),
                "tpep_pickup_datetime": texts(clock.local(pickup)),
                "tpep_dropoff_datetime": texts(clock.local(pickup + seconds)),
                "passenger_count": _pick(rng, "123456", (0.70, 0.14, 0.04, 0.02, 0.06, 0.04), count),
                "trip_distance": [f"{each:.2f}" for each in miles.tolist()],
                "pickup_longitude": list(map(repr, pickup_lng.tolist())),
                "pickup_latitude": list(map(repr, pickup_lat.tolist())),
                "RateCodeID": ["1"] * count,
                "store_and_fwd_flag": _pick(rng, "NY", (0.993, 0.007), count),
                "dropoff_longitude": list(map(repr, dropoff_lng.tolist())),
                "dropoff_latitude": list(map(repr, dropoff_lat.tolist())),
                **_money(rng, miles, seconds, slots),
            }
        )

    spoils = Dirt([fault for fault in _FAULTS if faults is None or fault.code in faults], dirt)
    return write_table(path, make, rows=rows, seed=seed, dirt=spoils, line_end="\r\n", progress=progress)


def _miles(rng: np.random.Generator, points: list[_Floats]) -> _Floats:
    straight = distance_km(points[0], points[1], points[2], points[3]) / _KM_PER_MILE
    detour = np.maximum(rng.lognormal(np.log(_DETOUR), 0.1, len(straight)), 1.02)
    return np.maximum(np.round(straight * detour, 2), 0.1)


def _seconds(rng: np.random.Generator, miles: _Floats, slots: npt.NDArray[np.int64]) -> Seconds:
    """Slow in the rush hours; faster the longer the way, since long ways have highways."""
    speed = _MILES_PER_HOUR[slots % 24] * np.where(slots >= 24, 1.15, 1.0)
    speed = speed * np.minimum(0.85 + 0.08 * miles, 2.0) * rng.lognormal(0, 0.18, len(miles))
    return (60 + 3600 * miles / np.clip(speed, 3, 55)).astype(np.int64)


def _money(
    rng: np.random.Generator, miles: _Floats, seconds: Seconds, slots: npt.NDArray[np.int64]
) -> dict[str, list[str]]:
    """The columns from ``payment_type`` on, US dollars."""
    count = len(miles)
    hour, weekend = slots % 24, slots >= 24
    fare = np.round(2 * (_FARE_START + _FARE_PER_MILE * miles + _FARE_PER_MINUTE * seconds / 60)) / 2
    extra = np.where((hour >= 20) | (hour < 6), 0.5, np.where((hour >= 16) & ~weekend, 1.0, 0.0))
    by_card = rng.random(count) < 0.62
    tip = np.where(by_card, np.round(fare * np.clip(rng.normal(0.2, 0.06, count), 0, None), 2), 0.0)
    tolls = np.where((miles > 9) & (rng.random(count) < 0.5), _TOLL, 0.0)
    return {
        "payment_type": _either(by_card, "1", "2"),
        "fare_amount": _amounts(fare),
        "extra": _amounts(extra),
        "mta_tax": [f"{_TAX:g}"] * count,
        "tip_amount": _amounts(tip),
        "tolls_amount": _either(tolls > 0, f"{_TOLL:g}", "0"),
        "improvement_surcharge": [f"{_SURCHARGE:g}"] * count,
        "total_amount": _amounts(fare + extra + _TAX + tip + tolls + _SURCHARGE),
    }


def _amounts(dollars: _Floats) -> list[str]:
    """Amounts as the meter writes them: two decimals at most, and none where there are no cents."""
    cents, place = np.unique(np.round(100 * dollars).astype(np.int64), return_inverse=True)
    return np.array([f"{each / 100:g}" for each in cents.tolist()], dtype=object)[place].tolist()


def _either(condition: npt.NDArray[np.bool_], yes: str, no: str) -> list[str]:
    return np.where(condition, np.array(yes, dtype=object), np.array(no, dtype=object)).tolist()


def _pick(rng: np.random.Generator, values: tuple[str, ...] | str, shares: tuple[float, ...], count: int) -> list[str]:
    return np.array(list(values), dtype=object)[rng.choice(len(values), count, p=shares)].tolist()
