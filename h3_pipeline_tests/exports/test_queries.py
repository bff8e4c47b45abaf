"""Every shipped question answered again without SQL, on the real trips."""

from collections.abc import Iterator
from datetime import date

import esda
import h3
import libpysal
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.stats import norm

from h3_pipeline.exports.catalog import ExportCatalog
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.exports import oracle
from h3_pipeline_tests.exports.conftest import NewYork, ReadExport

pytestmark = pytest.mark.slow

ANSWERED: set[str] = set()


@pytest.fixture(scope="module")
def ends(new_york: NewYork) -> pd.DataFrame:
    return oracle.trip_ends(new_york.trips)


def equal(answer: ReadExport, expected: pd.DataFrame, keys: list[str]) -> None:
    """The export has exactly these rows, in whatever order, and its identifiers are its cells."""
    ANSWERED.add(answer.query.name)
    found = answer.table
    for cell in answer.query.header.cells:
        assert (found[cell].map(h3.str_to_int) == found[f"{cell}_id"]).all()
    columns = list(expected.columns)
    assert len(expected)
    assert_frame_equal(
        found[columns].sort_values(keys, ignore_index=True),
        expected.sort_values(keys, ignore_index=True),
        check_dtype=False,
        rtol=1e-9,
    )
    assert answer.exported.recounted == len(found)
    assert answer.exported.undisturbed
    assert not answer.exported.damaged


def test_busiest_cells(new_york: NewYork, ends: pd.DataFrame) -> None:
    week = ends.assign(hour_of_week=ends["local"].dt.dayofweek * 24 + ends["local"].dt.hour)
    expected = oracle.counts(week, ["hour_of_week"], 8)
    expected["trip_ends"] = expected["departures"] + expected["arrivals"]
    ranked = expected.sort_values(["hour_of_week", "trip_ends", "cell"], ascending=[True, False, True])
    expected["rank"] = ranked.groupby("hour_of_week").cumcount() + 1
    answer = new_york.export("busiest_cells")
    equal(answer, expected, ["hour_of_week", "cell"])
    # the order of the query is that of the file
    assert answer.table[["hour_of_week", "rank"]].apply(tuple, axis=1).is_monotonic_increasing

    top = new_york.export("busiest_cells", {"top": "3", "resolution": "6"})
    assert top.table.groupby("hour_of_week")["rank"].max().max() == 3
    assert {h3.get_resolution(cell) for cell in top.table["cell"]} == {6}


def test_hourly_cells(new_york: NewYork, ends: pd.DataFrame) -> None:
    days = ends.groupby(ends["local"].dt.date)["hour"].agg(lambda hours: hours.dt.date.nunique())
    day = days[days == 2].index[-1]  # a local day is parts of two days of UTC
    expected = oracle.counts(ends[ends["local"].dt.date == day], ["hour", "local"], 8)
    expected["net_flow"] = expected["arrivals"] - expected["departures"]
    expected["local_hour"] = expected.pop("local").dt.hour
    expected["hour"] = expected["hour"].dt.tz_localize("UTC").astype("datetime64[ms, UTC]")
    assert expected["hour"].dt.day.nunique() == 2
    answer = new_york.export("hourly_cells", day=day)
    equal(answer, expected, ["hour", "cell"])
    assert answer.exported.place.prefix == f"exports/hourly_cells/partition={day}/"


def test_a_day_without_trips(new_york: NewYork) -> None:
    answer = new_york.export("hourly_cells", day=date(2012, 1, 1))
    assert answer.exported.manifest.rows == len(answer.table) == 0


def test_flows(new_york: NewYork) -> None:
    trips = oracle.flows(new_york.trips, 7)
    expected = (
        trips.groupby(["origin", "destination"])
        .agg(
            trips=("local", "size"),
            duration_min=("duration_min", "mean"),
            distance_km=("distance_km", "mean"),
            fare=("fare", "mean"),
        )
        .reset_index()
    )
    # distances are stored in millimetres
    answer = new_york.export("origin_destination_flows")
    found = answer.table
    np.testing.assert_allclose(
        found.sort_values(["origin", "destination"])["distance_km"],
        expected.pop("distance_km"),
        atol=1e-6,
    )
    equal(answer, expected, ["origin", "destination"])


def test_similar_trips(new_york: NewYork) -> None:
    trips = oracle.flows(new_york.trips, 8)
    trips["from_hour"] = trips["local"].dt.hour // 3 * 3
    trips["day"] = trips["local"].dt.date
    expected = (
        trips.groupby(["origin", "destination", "from_hour"])
        .agg(
            trips=("local", "size"),
            days=("day", "nunique"),
            first_day=("day", "min"),
            last_day=("day", "max"),
            duration_min=("duration_min", "mean"),
            fare=("fare", "mean"),
        )
        .reset_index()
    )
    expected = expected[expected["trips"] >= 2]
    equal(new_york.export("similar_trips"), expected, ["origin", "destination", "from_hour"])


@pytest.mark.parametrize(
    ("box", "resolution"),
    [
        ({}, 9),
        ({"south": "40.70", "north": "40.75", "west": "-74.02", "east": "-73.97"}, 9),
        ({"south": "40.60", "north": "40.70", "west": "-74.0", "east": "-73.7"}, 6),
    ],
    ids=["world", "manhattan", "coarse"],
)
def test_weekly_average(new_york: NewYork, ends: pd.DataFrame, box: dict[str, str], resolution: int) -> None:
    departures = ends[ends["what"] == "departures"]
    weeks = departures["local"].dt.to_period("W-SUN").dt.start_time
    cells = oracle.coarser(departures["cell"], resolution)
    edges = {"south": -90, "north": 90, "west": -180, "east": 180} | {name: float(v) for name, v in box.items()}
    inside = cells.isin(oracle.centre_in_box(cells.unique(), **edges))
    count = (weeks.max() - weeks.min()).days // 7 + 1
    expected = pd.DataFrame(
        {
            "region": ["New York"],
            "first_week": [weeks.min().date()],
            "last_week": [weeks.max().date()],
            "weeks": [count],
            "weeks_without_trips": [count - weeks[inside].nunique()],
            "trips": [inside.sum()],
            "weekly_average": [inside.sum() / count],
        }
    )
    assert inside.sum() > 0
    answer = new_york.export("weekly_average_trips", {**box, "resolution": str(resolution)})
    equal(answer, expected, ["region"])


def test_weekly_average_of_weeks_that_are_given(new_york: NewYork) -> None:
    answer = new_york.export("weekly_average_trips", {"from": "2016-02-29", "to": "2016-03-20"})
    [row] = answer.table.to_dict("records")
    started = pd.to_datetime(new_york.trips["started_at"]) + pd.to_timedelta(
        new_york.trips["utc_offset_minutes"], unit="min"
    )
    trips = int(((started >= "2016-02-29") & (started < "2016-03-21")).sum())
    assert (row["weeks"], row["trips"], row["weekly_average"]) == (3, trips, trips / 3)
    assert row["weeks_without_trips"] == 1


def test_cell_speed(new_york: NewYork) -> None:
    trips = new_york.trips.assign(
        cell=[
            h3.latlng_to_cell(lat, lng, oracle.BASE)
            for lat, lng in zip(new_york.trips["origin_lat"], new_york.trips["origin_lng"], strict=True)
        ],
        seconds=(
            pd.to_datetime(new_york.trips["ended_at"]) - pd.to_datetime(new_york.trips["started_at"])
        ).dt.total_seconds(),
    )
    speed = trips["distance_km"] / (trips["seconds"] / 3600)
    kept = trips[(trips["seconds"] >= 30) & (speed <= 150)]
    assert 0 < len(trips) - len(kept) < 100
    tables = []
    for resolution in (7, 8):
        grouped = kept.assign(cell=oracle.coarser(kept["cell"], resolution)).groupby("cell")
        table = pd.DataFrame(
            {
                "resolution": resolution,
                "trips": grouped.size(),
                "speed_kmh": grouped["distance_km"].sum().div(grouped["seconds"].sum().div(3600)),
                "duration_min_avg": grouped["seconds"].mean().div(60),
                "duration_min_p50": grouped["seconds"].quantile(0.5) / 60,
                "duration_min_p90": grouped["seconds"].quantile(0.9) / 60,
            }
        )
        tables.append(table.reset_index())
    expected = pd.concat(tables)
    answer = new_york.export("cell_speed")
    # sums of kilometres: in millimetres there, in binary fractions here
    found = answer.table.sort_values(["resolution", "cell"])
    np.testing.assert_allclose(found["speed_kmh"], expected.pop("speed_kmh"), rtol=1e-5)
    equal(answer, expected, ["resolution", "cell"])


@pytest.mark.filterwarnings("ignore:The weights matrix is not fully connected")
@pytest.mark.parametrize("k", [1, 2])
def test_hot_spots(new_york: NewYork, ends: pd.DataFrame, k: int) -> None:
    counted = oracle.counts(ends, [], 8).set_index("cell")
    observed = counted["departures"] + counted["arrivals"]
    area = sorted({cell for seen in observed.index for cell in h3.grid_disk(seen, k)})
    values = observed.reindex(area, fill_value=0).astype(float)
    neighbours = {cell: [c for c in h3.grid_disk(cell, k) if c in values.index and c != cell] for cell in area}
    weights = libpysal.weights.W(neighbours, silence_warnings=True)
    local = esda.G_Local(values.reindex(weights.id_order), weights, transform="B", star=True, permutations=0)
    expected = pd.DataFrame(
        {
            "cell": weights.id_order,
            "trip_ends": values.reindex(weights.id_order).to_numpy(),
            "cells_around": [len(neighbours[cell]) + 1 for cell in weights.id_order],
            "z_score": local.Zs,
            "p_value": 2 * norm.sf(np.abs(local.Zs)),
        }
    )
    answer = new_york.export("hot_spots", {"k": str(k)})
    equal(answer, expected, ["cell"])
    hot = answer.table[answer.table["spot"].str.startswith("hot")]
    assert len(hot)
    assert (hot["z_score"] > norm.ppf(0.975)).all()


def test_coverage(new_york: NewYork, ends: pd.DataFrame) -> None:
    base = oracle.counts(ends, [], 9).set_index("cell")
    total = base["departures"] + base["arrivals"]
    compacted = h3.compact_cells(list(total.index))
    rows = []
    for cell in compacted:
        children = h3.cell_to_children(cell, 9)
        rows.append((cell, h3.get_resolution(cell), len(children), sum(total[child] for child in children)))
    expected = pd.DataFrame(rows, columns=["cell", "resolution", "base_cells", "trip_ends"])
    assert expected["resolution"].nunique() == 3  # something was compacted twice
    equal(new_york.export("coverage"), expected, ["cell"])


@pytest.fixture(scope="module")
def elsewhere(new_york: NewYork) -> Iterator[NewYork]:
    """Regions of their own with departures where the difficult places are: the antimeridian, a pentagon, a pole."""
    pentagon = next(cell for cell in h3.get_res0_cells() if h3.is_pentagon(cell))
    places = {
        "Fiji": [h3.latlng_to_cell(-17, lng, 7) for lng in (176.5, 179.2, 179.98, -179.98, -179.3, -176.5)],
        "Pentagon": [
            *h3.cell_to_children(pentagon, 5)[:70],
            *h3.cell_to_children(h3.cell_to_center_child(pentagon, 3), 5),
        ],
        "Pole": list(h3.grid_disk(h3.latlng_to_cell(90, 0, 5), 2)),
    }
    table = "cell_hourly"
    with open_warehouse(new_york.settings, None) as warehouse:
        for region, cells in places.items():
            for cell in sorted(set(cells)):
                warehouse.engine.command(
                    f"INSERT INTO {table} (resolution, cell, hour, region, upload, departures) VALUES "
                    "({resolution:UInt8}, {cell:UInt64}, '2020-01-01 00:00:00', {region:String}, 'elsewhere', 1)",
                    {"resolution": h3.get_resolution(cell), "cell": h3.str_to_int(cell), "region": region},
                )
    yield new_york
    with open_warehouse(new_york.settings, None) as warehouse:
        warehouse.engine.command(
            f"ALTER TABLE {table} DELETE WHERE upload = 'elsewhere'", settings={"mutations_sync": 1}
        )


@pytest.mark.parametrize(
    ("west", "east", "trips"), [("179", "-179", 4), ("-179", "179", 2), ("176", "180", 3), ("-180", "-176", 3)]
)
def test_a_box_across_the_antimeridian(elsewhere: NewYork, west: str, east: str, trips: int) -> None:
    answer = elsewhere.export(
        "weekly_average_trips",
        {"region": "Fiji", "south": "-18", "north": "-16", "west": west, "east": east, "resolution": "7"},
    )
    assert answer.table["trips"].to_list() == [trips]


def test_compacting_a_pentagon(elsewhere: NewYork) -> None:
    with open_warehouse(elsewhere.settings, None) as warehouse:
        rows = warehouse.engine.rows("SELECT DISTINCT cell FROM cell_hourly WHERE region = 'Pentagon'")
    cells = [h3.int_to_str(cell) for (cell,) in rows]
    answer = elsewhere.export("coverage", {"region": "Pentagon", "resolution": "5"})
    assert sorted(answer.table["cell"]) == sorted(h3.compact_cells(cells))
    assert any(h3.is_pentagon(cell) for cell in answer.table["cell"])
    assert answer.table["base_cells"].sum() == len(cells)


def test_hot_spots_of_regions_are_their_own(elsewhere: NewYork) -> None:
    answer = elsewhere.export("hot_spots", {"resolution": "5"}).table
    pole = answer[answer["region"] == "Pole"]
    assert pole["trip_ends"].sum() == 19
    assert pole["z_score"].idxmax() in pole[pole["trip_ends_around"] == 7].index
    assert set(answer["region"]) == {"New York", "Pentagon", "Pole"}


def test_every_shipped_question_was_answered() -> None:
    if not ANSWERED:
        pytest.skip("the other tests of this module did not run")
    assert set(ExportCatalog.load().queries) == ANSWERED
