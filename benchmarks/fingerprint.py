"""What a warehouse holds, in few numbers that do not depend on the order of its rows.

Two warehouses with the same fingerprint hold the same trips and the same hourly numbers, the
quantiles too. A process of its own takes it, since chDB opens one folder a process.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import DATABASE
from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded

Fingerprint = Mapping[str, int]
"""Numbers by name; ``trips rows``, ``cell_hourly_view 9 checksum`` and the like."""

_SETTINGS = {
    # both views group by what their tables are sorted by: groups end as they pass, and need no memory
    "optimize_aggregation_in_order": 1,
    # a buffer for each column of each part that was not merged yet
    "max_read_buffer_size": 131_072,
    "max_threads": 2,
}

# neither `row_number`, which the engine alone cannot know, nor coordinates, whose last bit depends on who parses
_TRIP = """started_at, ifNull(toUnixTimestamp(ended_at), 0), utc_offset_minutes, region, datasource, upload, origin_h3,
    ifNull(destination_h3, 0), ifNull(round(distance_km * 1e6), -1), ifNull(passenger_count, 0),
    ifNull(round(fare_amount * 1e4), -1e9), ifNull(round(total_amount * 1e4), -1e9)"""

_MEASURES = ("duration_min_avg", "duration_min_p50", "duration_min_p90", "distance_km_sum", "fare_sum", "fare_p50")

_VIEWS = {
    "cell_hourly_view": ("cell, hour, region, datasource, departures, arrivals", "departures"),
    "flow_hourly_view": ("origin, destination, hour, region, datasource, trips", "trips"),
}


def fingerprint(engine: ClickHouse) -> dict[str, int]:
    """The fingerprint of a warehouse that is open."""
    return dict(_numbers(engine))


def _numbers(engine: ClickHouse) -> Iterator[tuple[str, int]]:
    rows, checksum = engine.rows(f"SELECT count(), sum(cityHash64({_TRIP})) FROM `{DATABASE}`.trips")[0]
    yield "trips rows", int(rows)
    yield "trips checksum", int(checksum)
    for view, (columns, counted) in _VIEWS.items():
        found: dict[str, int] = {}
        # no group has rows in two months
        for (month,) in engine.rows(f"SELECT DISTINCT toYYYYMM(hour) AS month FROM `{DATABASE}`.{view} ORDER BY month"):
            for resolution, *numbers in _of_month(engine, view, columns, counted, int(month)):
                for name, number in zip(("groups", counted, "checksum"), numbers, strict=True):
                    key = f"{view} {resolution} {name}"
                    found[key] = (found.get(key, 0) + int(number)) % 2**64
        yield from sorted(found.items())


def _of_month(engine: ClickHouse, view: str, columns: str, counted: str, month: int) -> Sequence[Sequence[Any]]:
    measures = ", ".join(f"ifNull({name}, -1)" for name in _MEASURES)
    return engine.rows(
        f"SELECT resolution, count(), sum({counted}), sum(cityHash64({columns}, {measures})) "
        f"FROM `{DATABASE}`.{view} WHERE toYYYYMM(hour) = {{month:UInt32}} GROUP BY resolution",
        {"month": month},
        settings=_SETTINGS,
    )


def differences(reference: Fingerprint, other: Fingerprint) -> list[str]:
    """Names of the numbers that are not the same."""
    return sorted(name for name in reference.keys() | other.keys() if reference.get(name) != other.get(name))


def main(folder: str) -> None:
    """Print the fingerprint of the warehouse in a folder as JSON."""
    with open_embedded(Path(folder)) as engine:
        engine.command("SYSTEM STOP MERGES")  # merging takes memory, and a table is looked at once
        print(json.dumps(fingerprint(engine)))


if __name__ == "__main__":
    main(sys.argv[1])
