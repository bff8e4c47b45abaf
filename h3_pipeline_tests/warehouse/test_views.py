"""The views' numbers against pandas, numpy and h3-py, which see nothing but the raw files."""

from collections.abc import Iterator
from pathlib import Path

import h3
import numpy as np
import pandas as pd
import pytest

from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.reconcile import recount
from h3_pipeline_tests.uploads import process_all

RESOLUTIONS = (9, 8, 7, 6, 5)
FILES = tuple(f"yellow_tripdata_{month}.csv" for month in ("2015-01", "2016-01", "2016-02", "2016-03"))
KEYS = ["hour", "region", "datasource"]


@pytest.fixture(scope="module")
def taxis(bucket: Bucket, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """A warehouse with four files of taxi trips."""
    home = tmp_path_factory.mktemp("home")
    manifests = process_all(bucket, home, {name: shared_data / "nyc-yellow" / name for name in FILES})
    with open_warehouse(Settings.load(h3_pipeline_home=home), bucket.access) as warehouse:
        for manifest in manifests.values():
            warehouse.load(manifest)
        yield warehouse


def cells(lat: pd.Series, lng: pd.Series) -> pd.Series:
    return pd.Series([h3.latlng_to_cell(*point, 10) for point in zip(lat, lng, strict=True)], index=lat.index)


def parents(cell: pd.Series, resolution: int) -> pd.Series:
    known = {one: np.uint64(h3.str_to_int(h3.cell_to_parent(one, resolution))) for one in cell.unique()}
    return cell.map(known)


@pytest.fixture(scope="module")
def trips(shared_data: Path) -> pd.DataFrame:
    """The trips of the raw files, by rules written down here once more."""
    raw = pd.concat(
        [pd.read_csv(shared_data / "nyc-yellow" / name, float_precision="round_trip") for name in FILES],
        ignore_index=True,
    )
    started, ended = (
        pd.to_datetime(raw[name]).dt.tz_localize("America/New_York").dt.tz_convert("UTC").dt.tz_localize(None)
        for name in ("tpep_pickup_datetime", "tpep_dropoff_datetime")
    )
    good = ~(raw.pickup_latitude.eq(0) & raw.pickup_longitude.eq(0)) & (ended >= started)
    arrived = good & ~(raw.dropoff_latitude.eq(0) & raw.dropoff_longitude.eq(0))
    kilometres = (raw.trip_distance * 1.609344).astype("float32").astype("float64")
    frame = pd.DataFrame(
        {
            "started": started,
            "ended": ended,
            "seconds": (ended - started).dt.total_seconds(),
            "millimetres": np.round(kilometres * 1e6),
            "fare": np.round(raw.fare_amount.astype("float32").astype("float64") * 1e4),
            "region": "New York",
            "datasource": raw.VendorID.astype(str),
            "arrived": arrived,
        }
    )
    frame["origin"] = cells(raw.pickup_latitude[good], raw.pickup_longitude[good])
    frame["destination"] = cells(raw.dropoff_latitude[arrived], raw.dropoff_longitude[arrived])
    return frame[good].reset_index(drop=True)


def measures(departures: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    groups = departures.groupby(by)
    return pd.DataFrame(
        {
            "duration_min_avg": groups.seconds.mean() / 60,
            "duration_min_p50": groups.seconds.quantile(0.5) / 60,
            "duration_min_p90": groups.seconds.quantile(0.9) / 60,
            "distance_km_sum": groups.millimetres.sum() / 1e6,
            "distance_km_avg": groups.millimetres.mean() / 1e6,
            "fare_sum": groups.fare.sum() / 1e4,
            "fare_avg": groups.fare.mean() / 1e4,
            "fare_p50": groups.fare.quantile(0.5) / 1e4,
        }
    )


def expected_cells(trips: pd.DataFrame, resolution: int) -> pd.DataFrame:
    by = ["cell", *KEYS]
    departures = trips.assign(cell=parents(trips.origin, resolution), hour=trips.started.dt.floor("h"))
    arrived = trips[trips.arrived]
    arrivals = arrived.assign(cell=parents(arrived.destination, resolution), hour=arrived.ended.dt.floor("h"))
    counts = {"departures": departures.groupby(by).size(), "arrivals": arrivals.groupby(by).size()}
    return pd.DataFrame(counts).fillna(0).astype(int).join(measures(departures, by)).sort_index()


def expected_flows(trips: pd.DataFrame, resolution: int) -> pd.DataFrame:
    by = ["origin", "destination", *KEYS]
    there = trips[trips.arrived]
    flows = there.assign(
        origin=parents(there.origin, resolution),
        destination=parents(there.destination, resolution),
        hour=there.started.dt.floor("h"),
    )
    return pd.DataFrame({"trips": flows.groupby(by).size()}).join(measures(flows, by)).sort_index()


def found(warehouse: Warehouse, view: str, resolution: int, by: list[str]) -> pd.DataFrame:
    frame = warehouse.engine.dataframe(f"SELECT * FROM {view} WHERE resolution = {{r:UInt8}}", {"r": resolution})
    frame["hour"] = frame["hour"].dt.tz_localize(None)
    return frame.drop(columns="resolution").set_index(by).sort_index()


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert found.index.tolist() == expected.index.tolist()
    for name in expected.columns:
        values = pd.to_numeric(found[name]).to_numpy(float, na_value=np.nan)
        np.testing.assert_allclose(values, expected[name].to_numpy(float), rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_cells_at_every_resolution(taxis: Warehouse, trips: pd.DataFrame, resolution: int) -> None:
    expected = expected_cells(trips, resolution)
    assert int(expected.departures.sum()) == len(trips)
    assert expected.duration_min_avg.isna().any()  # cells in which trips only end
    assert_same(found(taxis, "cell_hourly_view", resolution, ["cell", *KEYS]), expected)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_flows_at_every_resolution(taxis: Warehouse, trips: pd.DataFrame, resolution: int) -> None:
    expected = expected_flows(trips, resolution)
    assert int(expected.trips.sum()) == int(trips.arrived.sum())
    assert_same(found(taxis, "flow_hourly_view", resolution, ["origin", "destination", *KEYS]), expected)


def test_quantiles_are_those_of_numpy(taxis: Warehouse, trips: pd.DataFrame) -> None:
    busiest = taxis.engine.records(
        "SELECT * FROM cell_hourly_view WHERE resolution = 5 ORDER BY departures DESC LIMIT 1"
    )[0]
    here = trips[
        (parents(trips.origin, 5) == busiest["cell"])
        & (trips.started.dt.floor("h") == pd.Timestamp(busiest["hour"]).tz_localize(None))
        & (trips.datasource == busiest["datasource"])
    ]
    assert len(here) == busiest["departures"] > 100
    minutes = here.seconds.to_numpy() / 60
    assert busiest["duration_min_p50"] == pytest.approx(np.quantile(minutes, 0.5), rel=1e-12)
    assert busiest["duration_min_p90"] == pytest.approx(np.quantile(minutes, 0.9), rel=1e-12)
    assert busiest["fare_p50"] == pytest.approx(np.quantile(here.fare.to_numpy() / 1e4, 0.5), rel=1e-12)


def test_no_resolution_but_those(taxis: Warehouse) -> None:
    for view in ("cell_hourly_view", "flow_hourly_view"):
        assert {row[0] for row in taxis.engine.rows(f"SELECT DISTINCT resolution FROM {view}")} == set(RESOLUTIONS)


def test_local_hours_can_be_told(taxis: Warehouse, trips: pd.DataFrame) -> None:
    local = taxis.engine.pairs(
        "SELECT toHour(hour + INTERVAL utc_offset_minutes MINUTE), sum(departures) FROM cell_hourly "
        "WHERE resolution = 5 AND departures > 0 GROUP BY 1"
    )
    zoned = trips.started.dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    assert {int(hour): int(n) for hour, n in local.items()} == zoned.dt.hour.value_counts().to_dict()


class TestReconciliation:
    """Last in the file, for these tests spoil the tables."""

    def checks(self, warehouse: Warehouse) -> dict[tuple[str, int], bool]:
        found = recount(warehouse.engine, "trips", "cell_hourly", "flow_hourly", RESOLUTIONS)
        return {(check.table, check.resolution): check.equal for check in found}

    def test_rollups_equal_a_recount(self, taxis: Warehouse, trips: pd.DataFrame) -> None:
        found = recount(taxis.engine, "trips", "cell_hourly", "flow_hourly", RESOLUTIONS)
        assert len(found) == 2 * len(RESOLUTIONS)
        for check in found:
            counted = len(trips) if check.table == "cell_hourly" else int(trips.arrived.sum())
            assert check.equal
            merged = f"SELECT count() FROM {check.table} FINAL WHERE resolution = {check.resolution}"
            assert check.groups == taxis.engine.value(merged) > 0
            assert check.trips == check.recounted_trips == counted

    @pytest.mark.parametrize(
        ("table", "resolution", "change"),
        [
            ("cell_hourly", 7, "departures + 1 AS departures"),
            ("cell_hourly", 9, "arrivals + 1 AS arrivals"),
            ("flow_hourly", 5, "trips + 1 AS trips"),
            ("cell_hourly", 6, "fare_e4_sum + 1 AS fare_e4_sum"),
            ("flow_hourly", 8, "duration_s_sum + 1 AS duration_s_sum"),
            ("flow_hourly", 7, "arrayMap(v -> v + 1, duration_s_values) AS duration_s_values"),
            ("cell_hourly", 5, "arrayConcat(fare_e4_values, [0]) AS fare_e4_values"),
            ("flow_hourly", 6, "cell + 1 AS destination"),
            ("cell_hourly", 8, "'other' AS region"),
        ],
    )
    def test_one_changed_group_shows_at_its_resolution_alone(
        self, taxis: Warehouse, table: str, resolution: int, change: str
    ) -> None:
        change = change.replace("cell + 1", "destination + 1")
        copy = f"{table}_changed"
        taxis.engine.command(f"DROP TABLE IF EXISTS {copy}")
        taxis.engine.command(f"CREATE TABLE {copy} AS {table}")
        group = f"resolution = {resolution} AND cityHash64(*) % 97 = 3"
        first = f"(SELECT min(cityHash64(*)) FROM {table} WHERE {group})"
        taxis.engine.command(f"INSERT INTO {copy} SELECT * FROM {table} WHERE cityHash64(*) != {first}")
        taxis.engine.command(
            f"INSERT INTO {copy} SELECT * REPLACE ({change}) FROM {table} WHERE cityHash64(*) = {first}"
        )
        tables = {"cell_hourly": "cell_hourly", "flow_hourly": "flow_hourly", table: copy}
        found = recount(taxis.engine, "trips", tables["cell_hourly"], tables["flow_hourly"], RESOLUTIONS)
        assert {(check.table, check.resolution) for check in found if not check.equal} == {(table, resolution)}

    def test_a_lost_trip_shows_at_every_resolution(self, taxis: Warehouse) -> None:
        lost = "SELECT min(row_number) FROM trips WHERE destination_h3 IS NOT NULL AND upload LIKE '%2016-02%'"
        taxis.engine.command(f"DELETE FROM trips WHERE upload LIKE '%2016-02%' AND row_number = ({lost})")
        assert set(self.checks(taxis).values()) == {False}
