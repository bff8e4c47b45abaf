"""Real files, each counted a second time by pandas or Python's csv module, which know nothing of this project."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import h3
import numpy as np
import pandas as pd
import pytest

from h3_pipeline.processing.process import RefusedAfterReading
from h3_pipeline.storage import prefixes
from h3_pipeline_tests.uploads import Processed, Processing, read_refused

KILOMETRES_PER_MILE = 1.609344


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, float_precision="round_trip")


def bad_coordinates(lat: pd.Series, lng: pd.Series) -> pd.Series:
    """What is wrong with each pair, by the words of the reasons; '' for nothing."""
    conditions = [lat.isna() | lng.isna(), lat.abs().gt(90) | lng.abs().gt(180), lat.eq(0) & lng.eq(0)]
    return pd.Series(np.select(conditions, ["missing", "out_of_range", "null_island"], ""), index=lat.index)


def counted(codes: pd.Series) -> dict[str, int]:
    return {str(code): int(n) for code, n in codes[codes != ""].value_counts().items()}


def cells(lat: pd.Series, lng: pd.Series) -> list[int]:
    return [h3.str_to_int(h3.latlng_to_cell(*point, 10)) for point in zip(lat, lng, strict=True)]


def assert_conserved(processed: Processed) -> None:
    """The manifest, the clean CSV and the refused rows say the same, and every row is in one of the two."""
    manifest, trips, refused = processed.manifest, processed.trips, processed.refused
    assert manifest.rows_in == manifest.rows_loaded + manifest.rows_rejected == len(trips) + len(refused)
    assert manifest.rows_loaded == len(trips)
    assert manifest.rejected == dict(Counter(refused["reason"]))
    assert sorted([*trips["row_number"], *refused["row_number"]]) == list(range(1, manifest.rows_in + 1))
    assert trips["row_number"].is_monotonic_increasing
    assert refused["row_number"].is_monotonic_increasing


def utc(local: pd.Series, zone: str) -> pd.Series:
    """Local wall clock to UTC, as texts; none of these files has a time at a change of clocks."""
    return pd.to_datetime(local).dt.tz_localize(zone).dt.tz_convert("UTC").dt.strftime("%Y-%m-%d %H:%M:%S")


NYC_FILES = tuple(f"yellow_tripdata_{month}.csv" for month in ("2015-01", "2016-01", "2016-02", "2016-03"))


@pytest.fixture(scope="module")
def nyc(process: Processing, shared_data: Path) -> dict[str, Processed]:
    return {name: process(shared_data / "nyc-yellow" / name, f"nyc/{name}") for name in NYC_FILES}


@pytest.fixture(scope="module")
def nyc_raw(shared_data: Path) -> dict[str, pd.DataFrame]:
    return {name: read(shared_data / "nyc-yellow" / name) for name in NYC_FILES}


class TestNycYellow:
    """Four samples of New York's yellow taxis."""

    def test_conservation(self, nyc: dict[str, Processed]) -> None:
        for each in nyc.values():
            assert_conserved(each)

    def test_the_four_files_together(self, nyc: dict[str, Processed], nyc_raw: dict[str, pd.DataFrame]) -> None:
        manifests = [each.manifest for each in nyc.values()]
        assert sum(manifest.rows_in for manifest in manifests) == 8010 == sum(map(len, nyc_raw.values()))
        rejected = sum((Counter(manifest.rejected) for manifest in manifests), Counter())
        assert rejected["origin_null_island"] == 128
        assert {manifest.feed for manifest in manifests} == {"nyc-tlc-yellow"}
        assert {manifest.dialect["timezone"] for manifest in manifests} == {"America/New_York"}

    @pytest.mark.parametrize("name", NYC_FILES)
    def test_every_count(self, nyc: dict[str, Processed], nyc_raw: dict[str, pd.DataFrame], name: str) -> None:
        frame, manifest = nyc_raw[name], nyc[name].manifest
        origin = bad_coordinates(frame.pickup_latitude, frame.pickup_longitude)
        early = pd.to_datetime(frame.tpep_dropoff_datetime) < pd.to_datetime(frame.tpep_pickup_datetime)
        reason = ("origin_" + origin).where(origin != "", pd.Series(np.where(early, "ends_before_start", "")))
        assert manifest.rejected == counted(reason)
        loaded = frame[reason == ""]
        destination = bad_coordinates(loaded.dropoff_latitude, loaded.dropoff_longitude)
        expected = {f"destination_{code}": n for code, n in counted(destination).items()}
        if negative := int((loaded.trip_distance < 0).sum()):
            expected["invalid_distance_km"] = negative
        assert manifest.warnings == expected
        assert int(nyc[name].trips.destination_h3.isna().sum()) == sum(counted(destination).values())

    @pytest.mark.parametrize("name", NYC_FILES)
    def test_every_value(self, nyc: dict[str, Processed], nyc_raw: dict[str, pd.DataFrame], name: str) -> None:
        trips = nyc[name].trips
        frame = nyc_raw[name].iloc[trips["row_number"] - 1].reset_index(drop=True)
        assert trips.started_at.tolist() == utc(frame.tpep_pickup_datetime, "America/New_York").tolist()
        assert trips.ended_at.tolist() == utc(frame.tpep_dropoff_datetime, "America/New_York").tolist()
        assert set(trips.utc_offset_minutes) <= {-300, -240}
        assert trips.origin_lat.tolist() == frame.pickup_latitude.tolist()
        assert trips.origin_lng.tolist() == frame.pickup_longitude.tolist()
        assert trips.origin_h3.tolist() == cells(frame.pickup_latitude, frame.pickup_longitude)
        arrived = trips.destination_h3.notna()
        there = frame[arrived]
        assert trips[arrived].destination_lat.tolist() == there.dropoff_latitude.tolist()
        assert trips[arrived].destination_h3.tolist() == cells(there.dropoff_latitude, there.dropoff_longitude)
        assert trips.fare_amount.astype("float32").tolist() == frame.fare_amount.astype("float32").tolist()
        assert trips.total_amount.astype("float32").tolist() == frame.total_amount.astype("float32").tolist()
        assert trips.passenger_count.tolist() == frame.passenger_count.tolist()
        assert trips.datasource.tolist() == frame.VendorID.astype(str).tolist()
        assert set(trips.region) == {"New York"}
        np.testing.assert_allclose(trips.distance_km, frame.trip_distance * KILOMETRES_PER_MILE, rtol=1e-6)

    def test_the_first_trip(self, nyc: dict[str, Processed]) -> None:
        first = nyc[NYC_FILES[0]].trips.iloc[0]
        assert (first.row_number, first.started_at) == (1, "2015-01-16 00:05:39")


class TestChicagoTaxi:
    FILE = Path("chicago-taxi", "simple_data.csv")

    def test_counts_and_values(self, process: Processing, shared_data: Path) -> None:
        processed, raw = process(shared_data / self.FILE, "chicago.csv"), read(shared_data / self.FILE)
        assert_conserved(processed)
        manifest = processed.manifest
        assert (manifest.feed, manifest.rows_in, manifest.rejected) == ("chicago-taxi", 15002, {"missing_origin": 2})
        assert int(raw.dropoff_latitude.isna().sum()) == 483
        has_origin = raw[raw.pickup_latitude.notna()]
        missing = int(has_origin.dropoff_latitude.isna().sum())
        assert missing == 481
        assert manifest.warnings == {"missing_destination": missing}
        assert int(processed.trips.destination_h3.isna().sum()) == missing

        trips = processed.trips
        frame = raw.iloc[trips["row_number"] - 1].reset_index(drop=True)
        started = pd.to_datetime(frame.trip_start_timestamp, unit="s").dt.strftime("%Y-%m-%d %H:%M:%S")
        assert trips.started_at.tolist() == started.tolist()
        assert trips.ended_at.isna().all()
        assert trips.origin_h3.tolist() == cells(frame.pickup_latitude, frame.pickup_longitude)
        assert trips.datasource.tolist() == frame.company.fillna("").str.strip().tolist()
        np.testing.assert_allclose(trips.distance_km, frame.trip_miles * KILOMETRES_PER_MILE, rtol=1e-6)
        assert trips.fare_amount.astype("float32").tolist() == frame.fare.astype("float32").tolist()


class TestCitiBike:
    FILE = Path("citibike-new", "JC-202102-citibike-tripdata.csv.gz")

    def test_every_row_is_accounted_for(self, process: Processing, shared_data: Path) -> None:
        processed, raw = process(shared_data / self.FILE, "citibike.csv.gz"), read(shared_data / self.FILE)
        assert_conserved(processed)
        manifest = processed.manifest
        assert (manifest.feed, manifest.rows_in) == ("bikeshare", len(raw))
        assert manifest.dialect["timezone"] == "America/New_York"
        origin = bad_coordinates(raw.start_lat, raw.start_lng)
        assert counted(origin) == {}
        early = pd.to_datetime(raw.ended_at) < pd.to_datetime(raw.started_at)
        expected = {"ends_before_start": int(early.sum())} if early.any() else {}
        assert manifest.rejected == expected
        loaded = raw[~early]
        destination = bad_coordinates(loaded.end_lat, loaded.end_lng)
        assert manifest.warnings == {f"{code}_destination": n for code, n in counted(destination).items()}

        trips = processed.trips
        frame = raw.iloc[trips["row_number"] - 1].reset_index(drop=True)
        assert trips.started_at.tolist() == utc(frame.started_at, "America/New_York").tolist()
        assert trips.origin_h3.tolist() == cells(frame.start_lat, frame.start_lng)
        assert trips.origin_lat.tolist() == frame.start_lat.tolist()


def expected_reasons(text: str) -> list[str]:
    """Reason of each record of a TLC file, '' for a good one, by Python's csv module."""
    header, *records = [
        record for record in csv.reader(io.StringIO(text), skipinitialspace=True) if record and record != [""]
    ]
    names = [name.strip().lower() for name in header]
    place = {name: i for i, name in enumerate(names)}

    def position(*candidates: str) -> int:
        return next(place[name] for name in candidates if name in place)

    started = position("tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_datetime", "trip_pickup_datetime")
    ended = position("tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_datetime", "trip_dropoff_datetime")
    lat, lng = position("pickup_latitude", "start_lat"), position("pickup_longitude", "start_lon")

    def reason(record: list[str]) -> str:
        if len(record) < len(names):
            return "wrong_column_count"
        if not record[lat] or not record[lng]:
            return "missing_origin"
        if abs(float(record[lat])) > 90 or abs(float(record[lng])) > 180:
            return "origin_out_of_range"
        if float(record[lat]) == 0 == float(record[lng]):
            return "origin_null_island"
        if record[ended] < record[started]:
            return "ends_before_start"
        return "wrong_column_count" if any(record[len(names) :]) else ""

    return [reason(record) for record in records]


class TestTlcHeads:
    """The first 1,024 bytes of 125 files: seven headers, blank lines, surplus empty fields, a last line cut off."""

    def check(self, process: Processing, path: Path) -> Mapping[str, int]:
        """Compare one file; gives its rows refused, by reason."""
        key = f"heads/{path.name}"
        expected = expected_reasons(path.read_bytes().decode())
        counts = Counter(code for code in expected if code)
        if "" not in expected:
            with pytest.raises(RefusedAfterReading) as caught:
                process(path, key, max_reject_ratio=1.0)
            assert (caught.value.counts.rows_in, caught.value.counts.rejected) == (len(expected), counts)
            assert read_refused(process.bucket, prefixes.rejected_object(key))["reason"].tolist() == expected
            return counts
        # of so few records half may well be bad
        processed = process(path, key, max_reject_ratio=1.0)
        assert_conserved(processed)
        assert processed.manifest.feed == ("nyc-tlc-green" if path.name.startswith("green") else "nyc-tlc-yellow")
        found = dict(zip(processed.refused["row_number"], processed.refused["reason"], strict=True))
        assert [found.get(number, "") for number in range(1, processed.manifest.rows_in + 1)] == expected
        return counts

    def test_one_of_each_header(self, process: Processing, shared_data: Path) -> None:
        by_header: dict[bytes, Path] = {}
        for path in sorted((shared_data / "nyc-tlc-heads").iterdir()):
            by_header.setdefault(path.read_bytes().partition(b"\n")[0].strip(), path)
        assert len(by_header) == 7
        rejected = sum((Counter(self.check(process, path)) for path in by_header.values()), Counter())
        assert rejected["wrong_column_count"] > 0

    @pytest.mark.slow
    def test_every_file(self, process: Processing, shared_data: Path) -> None:
        paths = sorted((shared_data / "nyc-tlc-heads").iterdir())
        assert len(paths) == 125
        rejected = sum((Counter(self.check(process, path)) for path in paths), Counter())
        assert 100 <= rejected["wrong_column_count"] <= 125
