import csv
import gzip
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import h3
import numpy as np
import numpy.typing as npt
import pytest

from h3_pipeline.errors import PipelineError
from h3_pipeline.local.sample_data import (
    CITIES,
    NEW_YORK,
    TAVEUNI,
    City,
    SampleSummary,
    files,
    write_ancestral,
    write_nyc_like,
)

NYC_HEADER = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,pickup_longitude,"
    "pickup_latitude,RateCodeID,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,fare_amount,"
    "extra,mta_tax,tip_amount,tolls_amount,improvement_surcharge,total_amount"
)
POINT = re.compile(r"POINT \((\S+) (\S+)\)")
Floats = npt.NDArray[np.float64]


@dataclass
class Trip:
    """A good row, as a reader that knows nothing of the generator sees it."""

    region: str
    started_at: datetime
    origin: tuple[float, float]  # lat, lng
    destination: tuple[float, float] | None
    row: dict[str, str]


@dataclass
class Sample:
    summary: SampleSummary
    rejected: Counter[str]
    warnings: Counter[str]
    trips: list[Trip]

    def of(self, city: City) -> list[Trip]:
        return [trip for trip in self.trips if trip.region == city.name]


def moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def judge(coordinates: list[str]) -> tuple[str, tuple[float, float]]:
    """Fault, or '', of a longitude and a latitude as text; and the point as (lat, lng)."""
    if "" in coordinates:
        return "missing", (0, 0)
    try:
        lng, lat = map(float, coordinates)
    except ValueError:
        return "invalid", (0, 0)
    if not np.isfinite([lng, lat]).all():
        return "invalid", (0, 0)
    if abs(lng) > 180 or abs(lat) > 90:
        return "out_of_range", (0, 0)
    return "null_island" if lng == lat == 0 else "", (lat, lng)


def point(text: str) -> list[str]:
    match = POINT.fullmatch(text)
    return list(match.groups()) if match else [""] if text in ("", "POINT EMPTY") else ["?", "?"]


def read(summary: SampleSummary, start: str, ends: Callable[[dict[str, str]], tuple[list[str], list[str]]]) -> Sample:
    """Judge every row of a sample by the rules of the pipeline, with the standard library alone."""
    rejected: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    trips = []
    opened = gzip.open if summary.path.suffix == ".gz" else open
    with opened(summary.path, "rt", newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines)
        for fields in lines:
            if len(fields) != len(header):
                rejected["wrong_column_count"] += 1
                continue
            row = dict(zip(header, fields, strict=True))
            started_at = moment(row[start])
            origin_text, destination_text = ends(row)
            origin_fault, origin = judge(origin_text)
            destination_fault, destination = judge(destination_text)
            ended_at = moment(row.get("tpep_dropoff_datetime", "9999-01-01 00:00:00"))
            if not row[start]:
                rejected["missing_started_at"] += 1
            elif started_at is None:
                rejected["invalid_started_at"] += 1
            elif origin_fault in ("missing", "invalid"):
                rejected[f"{origin_fault}_origin"] += 1
            elif origin_fault:
                rejected[f"origin_{origin_fault}"] += 1
            elif ended_at is None or ended_at < started_at:
                rejected["ends_before_start"] += 1
            else:
                if destination_fault:
                    warnings[
                        "missing_destination" if destination_fault == "missing" else "destination_null_island"
                    ] += 1
                usable = None if destination_fault else destination
                trips.append(Trip(row.get("region", "New York"), started_at, origin, usable, row))
    return Sample(summary, rejected, warnings, trips)


def read_ancestral(summary: SampleSummary) -> Sample:
    return read(summary, "datetime", lambda row: (point(row["origin_coord"]), point(row["destination_coord"])))


def read_nyc(summary: SampleSummary) -> Sample:
    def ends(row: dict[str, str]) -> tuple[list[str], list[str]]:
        return (
            [row["pickup_longitude"], row["pickup_latitude"]],
            [row["dropoff_longitude"], row["dropoff_latitude"]],
        )

    return read(summary, "tpep_pickup_datetime", ends)


def both_ends(trips: list[Trip]) -> tuple[Floats, Floats]:
    """Origins and destinations of the trips that have both, shape (n, 2) each: lat, lng."""
    pairs = [(trip.origin, trip.destination) for trip in trips if trip.destination is not None]
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def kilometres(one: Floats, other: Floats) -> Floats:
    """Angle between unit vectors times the Earth's radius; arrays of (…, 2) broadcast."""

    def vector(degrees: Floats) -> Floats:
        lat, lng = np.radians(degrees[..., 0]), np.radians(degrees[..., 1])
        return np.stack([np.cos(lat) * np.cos(lng), np.cos(lat) * np.sin(lng), np.sin(lat)], axis=-1)

    chord = np.linalg.norm(vector(one) - vector(other), axis=-1)
    return 6371.0 * 2 * np.arcsin(chord / 2)


def farthest_from_its_spot(points: Floats, city: City) -> float:
    """Largest distance of a point from the spot that explains it best, in the spot's spreads."""
    spots = np.array([(spot.lat, spot.lng) for spot in city.spots])
    spreads = np.array([spot.spread_km for spot in city.spots])
    return float((kilometres(points[:, None], spots[None]) / spreads).min(axis=1).max())


def busiest_share(trips: list[Trip]) -> float:
    """Share of the origins that lie in the busiest hundredth of the cells that have any."""
    counts = Counter(h3.latlng_to_cell(*trip.origin, 9) for trip in trips)
    busiest = sorted(counts.values(), reverse=True)[: -(-len(counts) // 100)]
    return sum(busiest) / len(trips)


def by_hour(trips: list[Trip], zone: str | None, *, weekend: bool) -> list[int]:
    """Number of trips in each local hour."""
    hours: Counter[int] = Counter()
    for trip in trips:
        local = trip.started_at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)) if zone else trip.started_at
        if (local.weekday() >= 5) is weekend:
            hours[local.hour] += 1
    return [hours[hour] for hour in range(24)]


def assert_commuting(weekday: list[int]) -> None:
    assert min(weekday[8], weekday[18]) > 6 * weekday[3]
    assert min(weekday[8], weekday[18]) > 1.4 * weekday[13]


class TestAncestral:
    @pytest.fixture(scope="class")
    @staticmethod
    def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
        path = tmp_path_factory.mktemp("ancestral") / "trips.csv.gz"
        return read_ancestral(write_ancestral(path, rows=60_001, seed=11, dirt=0.02))

    def test_the_form(self, tmp_path: Path) -> None:
        path = write_ancestral(tmp_path / "trips.csv", rows=3, seed=1, dirt=0).path
        content = path.read_bytes().decode()
        assert content.startswith("region,origin_coord,destination_coord,datetime,datasource\n")
        assert content.endswith("\n")
        point = r"POINT \(-?\d+\.\d+ -?\d+\.\d+\)"
        row = rf"[^,]+,{point},{point},\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\w+\n"
        assert re.fullmatch(rf"[a-z_,]+\n(?:{row}){{3}}", content)

    def test_the_seed_alone_decides(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "CHUNK_ROWS", 4_000)

        def content(name: str, seed: int) -> bytes:
            return write_ancestral(tmp_path / name, rows=10_000, seed=seed).path.read_bytes()

        first = content("a.csv", 1)
        assert content("b.csv", 1) == first
        assert content("c.csv", 2) != first
        packed = content("a.csv.gz", 1)
        assert content("b.csv.gz", 1) == packed
        assert gzip.decompress(packed) == first

    def test_the_summary_is_what_a_reader_finds(self, sample: Sample) -> None:
        summary = sample.summary
        assert sample.rejected == summary.rejected
        assert sample.warnings == summary.warnings
        assert len(sample.trips) == summary.rows_loaded
        assert summary.rows == summary.rows_loaded + summary.rows_rejected == 60_001
        assert sum(summary.rejected.values()) + sum(summary.warnings.values()) == round(0.02 * 60_001)
        assert set(summary.rejected) == {
            "missing_started_at",
            "invalid_started_at",
            "missing_origin",
            "invalid_origin",
            "origin_out_of_range",
            "origin_null_island",
            "wrong_column_count",
        }
        assert set(summary.warnings) == {"missing_destination", "destination_null_island"}
        assert min(summary.rejected.values()) > 0

    @pytest.mark.parametrize("dirt", [0, 0.5, 1])
    def test_dirt_is_a_share_of_the_rows(self, tmp_path: Path, dirt: float) -> None:
        sample = read_ancestral(write_ancestral(tmp_path / "trips.csv", rows=900, seed=1, dirt=dirt))
        assert sample.rejected.total() + sample.warnings.total() == 900 * dirt
        assert sample.rejected == sample.summary.rejected or dirt == 0

    def test_it_covers_its_days_in_order(self, sample: Sample) -> None:
        times = [trip.started_at for trip in sample.trips]
        assert datetime(2018, 5, 7) <= times[0] < datetime(2018, 5, 7, 1)
        assert datetime(2018, 6, 3, 23) < times[-1] < datetime(2018, 6, 4)
        assert times == sorted(times)

    def test_every_city_and_several_sources_occur(self, sample: Sample) -> None:
        assert {trip.region for trip in sample.trips} == {city.name for city in CITIES}
        for city in CITIES:
            assert len({trip.row["datasource"] for trip in sample.of(city)}) >= 4
            assert abs(len(sample.of(city)) / len(sample.trips) - city.weight / sum(c.weight for c in CITIES)) < 0.02

    @pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
    def test_local_hours_follow_commuting(self, sample: Sample, city: City) -> None:
        trips = sample.of(city)
        assert_commuting(by_hour(trips, city.timezone, weekend=False))
        weekend = by_hour(trips, city.timezone, weekend=True)
        assert sum(weekend[14:24]) / 10 > 1.5 * weekend[8]
        assert sum(weekend[0:3]) > 2 * sum(weekend[4:7])

    @pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
    def test_people_go_to_the_spots_of_work_in_the_morning_and_home_in_the_evening(
        self, sample: Sample, city: City
    ) -> None:
        homes = np.array([spot.kind == "home" for spot in city.spots])
        spots = np.array([(spot.lat, spot.lng) for spot in city.spots])

        def at_home(points: Floats) -> float:
            return float(homes[kilometres(points[:, None], spots[None]).argmin(axis=1)].mean())

        def between(first: int, last: int) -> tuple[Floats, Floats]:
            zone = ZoneInfo(city.timezone)
            local = [(trip, trip.started_at.replace(tzinfo=UTC).astimezone(zone)) for trip in sample.of(city)]
            return both_ends([trip for trip, at in local if at.weekday() < 5 and first <= at.hour < last])

        origins, destinations = between(6, 10)
        assert at_home(origins) > at_home(destinations) + 0.3
        origins, destinations = between(16, 20)
        assert at_home(destinations) > at_home(origins) + 0.3

    @pytest.mark.parametrize("city", CITIES, ids=lambda city: city.name)
    def test_every_point_is_near_a_spot_of_its_city(self, sample: Sample, city: City) -> None:
        for points in both_ends(sample.of(city)):
            assert farthest_from_its_spot(points, city) < 2.51

    def test_short_trips_are_preferred(self, sample: Sample) -> None:
        origins, destinations = both_ends(sample.of(NEW_YORK))
        shuffled = np.random.default_rng(0).permutation(destinations)
        assert np.median(kilometres(origins, destinations)) < 0.75 * np.median(kilometres(origins, shuffled))

    def test_there_are_hot_spots(self, sample: Sample) -> None:
        trips = sample.of(NEW_YORK)
        cells = {h3.latlng_to_cell(*trip.origin, 9) for trip in trips}
        uniform = np.random.default_rng(0).integers(len(cells), size=len(trips))
        by_chance = np.sort(np.bincount(uniform))[::-1][: -(-len(cells) // 100)].sum() / len(trips)
        assert busiest_share(trips) > 4 * by_chance

    def test_points_cross_the_antimeridian(self, tmp_path: Path) -> None:
        summary = write_ancestral(tmp_path / "trips.csv", rows=5_000, seed=3, cities=[TAVEUNI], dirt=0)
        origins, destinations = both_ends(read_ancestral(summary).trips)
        points = np.concatenate([origins, destinations])
        assert farthest_from_its_spot(points, TAVEUNI) < 2.51
        east, west = points[points[:, 1] > 0], points[points[:, 1] < 0]
        assert len(east) > 1_000
        assert len(west) > 1_000
        assert east[:, 1].min() > 179.9
        assert west[:, 1].max() < -179.8
        assert np.abs(points[:, 1]).max() <= 180
        assert ((origins[:, 1] > 0) != (destinations[:, 1] > 0)).sum() > 1_000

    def test_other_days(self, tmp_path: Path) -> None:
        summary = write_ancestral(tmp_path / "a.csv", rows=500, seed=3, first_day=date(2024, 2, 29), days=1, dirt=0)
        assert {trip.started_at.date() for trip in read_ancestral(summary).trips} == {date(2024, 2, 29)}


class TestNycLike:
    @pytest.fixture(scope="class")
    @staticmethod
    def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
        path = tmp_path_factory.mktemp("nyc") / "trips.csv"
        return read_nyc(write_nyc_like(path, rows=40_000, seed=7, dirt=0.02))

    def test_the_form_is_that_of_the_published_files(self, sample: Sample, shared_data: Path) -> None:
        ours = sample.summary.path.read_bytes()
        theirs = (shared_data / "nyc-yellow" / "yellow_tripdata_2015-01.csv").read_bytes()
        assert ours.split(b"\r\n")[0] == theirs.split(b"\r\n")[0] == NYC_HEADER.encode()

    def test_lines_end_in_crlf(self, sample: Sample) -> None:
        content = sample.summary.path.read_bytes()
        assert content.count(b"\r\n") == content.count(b"\n") == 40_001
        assert content.endswith(b"\r\n")
        assert content.startswith(NYC_HEADER.encode() + b"\r\n")

    def test_the_seed_alone_decides(self, tmp_path: Path) -> None:
        first, second, other = (
            write_nyc_like(tmp_path / name, rows=2_000, seed=seed).path.read_bytes()
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        )
        assert first == second != other

    def test_the_summary_is_what_a_reader_finds(self, sample: Sample) -> None:
        summary = sample.summary
        assert sample.rejected == summary.rejected
        assert sample.warnings == summary.warnings
        assert len(sample.trips) == summary.rows_loaded
        assert summary.rows_rejected + sum(summary.warnings.values()) == 800
        assert summary.rejected["ends_before_start"] == 80

    def test_local_hours_follow_commuting(self, sample: Sample) -> None:
        assert_commuting(by_hour(sample.trips, None, weekend=False))
        assert {trip.started_at.strftime("%Y-%m") for trip in sample.trips} == {"2015-01"}
        assert {trip.started_at.day for trip in sample.trips} == set(range(1, 32))

    def test_every_point_is_near_a_spot_of_new_york(self, sample: Sample) -> None:
        for points in both_ends(sample.trips):
            assert farthest_from_its_spot(points, NEW_YORK) < 2.51

    def test_distance_duration_and_money_agree(self, sample: Sample) -> None:
        trips = [trip for trip in sample.trips if trip.destination is not None]
        origins, destinations = both_ends(trips)
        miles = np.array([float(trip.row["trip_distance"]) for trip in trips])
        straight = kilometres(origins, destinations) / 1.609344
        assert (miles >= straight - 0.01).all()
        assert 1.2 < np.median(miles[straight > 1] / straight[straight > 1]) < 1.4

        ends = [datetime.fromisoformat(trip.row["tpep_dropoff_datetime"]) for trip in trips]
        minutes = np.array(
            [(end - trip.started_at).total_seconds() / 60 for end, trip in zip(ends, trips, strict=True)]
        )
        speed = 60 * miles / minutes
        assert minutes.min() >= 1
        assert minutes.max() < 240
        assert speed.max() < 56
        weekday = np.array([trip.started_at.weekday() < 5 for trip in trips])
        hour = np.array([trip.started_at.hour for trip in trips])
        usual = (miles > 1) & (miles < 3)
        assert np.median(speed[usual & weekday & (hour == 17)]) < 0.7 * np.median(speed[usual & (hour == 3)])

        amounts = {
            name: np.array([float(trip.row[name]) for trip in trips])
            for name in NYC_HEADER.split(",")[NYC_HEADER.split(",").index("payment_type") :]
        }
        assert np.abs(amounts["fare_amount"] - (2.5 + 2 * miles + 0.35 * minutes)).max() <= 0.2501
        parts = ("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge")
        assert np.abs(sum(amounts[part] for part in parts) - amounts["total_amount"]).max() < 0.001
        assert set(amounts["payment_type"][amounts["tip_amount"] > 0]) == {1}

    @pytest.mark.parametrize(("month", "change"), [(3, date(2015, 3, 8)), (11, date(2015, 11, 1))])
    def test_no_time_is_ambiguous_or_skipped_when_the_clocks_change(
        self, tmp_path: Path, month: int, change: date
    ) -> None:
        zone = ZoneInfo("America/New_York")
        sample = read_nyc(write_nyc_like(tmp_path / "trips.csv", rows=25_000, seed=5, month=month, dirt=0))
        times = [trip.started_at for trip in sample.trips]
        times += [datetime.fromisoformat(trip.row["tpep_dropoff_datetime"]) for trip in sample.trips]
        night = [time for time in times if time.date() == change and time.hour < 5]
        assert len(night) > 100
        for time in night:
            offsets = {time.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
            assert len(offsets) == 1, f"{time} occurs twice or not at all"
        assert sample.rejected.total() == 0
        assert {time.month for time in times} <= {month, month % 12 + 1}

    def test_the_last_month_of_a_year(self, tmp_path: Path) -> None:
        sample = read_nyc(write_nyc_like(tmp_path / "trips.csv", rows=1_000, seed=5, year=2016, month=12, dirt=0))
        assert {trip.started_at.strftime("%Y-%m") for trip in sample.trips} == {"2016-12"}
        assert max(trip.started_at for trip in sample.trips) > datetime(2016, 12, 31) - timedelta(days=1)

    def test_the_first_days_of_a_month_and_some_kinds_of_dirt(self, tmp_path: Path) -> None:
        chosen = {"missing_origin", "ends_before_start"}
        arguments: dict[str, Any] = {"rows": 2_000, "seed": 5, "days": 3, "dirt": 0.02, "faults": chosen}
        sample = read_nyc(write_nyc_like(tmp_path / "trips.csv", **arguments))
        assert {trip.started_at.day for trip in sample.trips} == {1, 2, 3}
        assert sample.rejected == dict.fromkeys(chosen, 20)

    @pytest.mark.parametrize("wrong", [{"days": 0}, {"faults": ()}, {"faults": ["no_such_code"]}], ids=str)
    def test_days_and_faults_without_sense_are_refused(self, tmp_path: Path, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"there must be a day|faults must be some of"):
            write_nyc_like(tmp_path / "trips.csv", rows=10, seed=1, **wrong)


class TestWriting:
    @pytest.mark.parametrize("write", [write_ancestral, write_nyc_like])
    def test_memory_does_not_grow_with_the_rows(
        self, write: Callable[..., SampleSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "CHUNK_ROWS", 2_000)

        def peak(rows: int) -> int:
            tracemalloc.start()
            try:
                assert write(tmp_path / "trips.csv", rows=rows, seed=1).rows == rows
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        peak(2_000)  # what is loaded once
        one_part = peak(2_000)
        assert peak(12_000) < 1.2 * one_part
        with (tmp_path / "trips.csv").open("rb") as file:
            assert sum(1 for _ in file) == 12_001

    def test_a_quarter_of_a_million_rows(self, tmp_path: Path) -> None:
        summary = write_ancestral(tmp_path / "trips.csv", rows=250_000, seed=1)
        with summary.path.open("rb") as file:
            assert sum(1 for _ in file) == 250_001
        assert summary.rows_rejected + sum(summary.warnings.values()) == 2_500

    def test_progress_adds_up(self, tmp_path: Path) -> None:
        parts: list[int] = []
        write_ancestral(tmp_path / "trips.csv", rows=110_000, seed=1, progress=parts.append)
        assert len(parts) > 1
        assert sum(parts) == 110_000

    def test_an_interrupted_sample_leaves_what_was_there(self, tmp_path: Path) -> None:
        def interrupt(rows: int) -> None:
            raise KeyboardInterrupt(rows)

        path = tmp_path / "trips.csv.gz"
        path.write_text("before")
        with pytest.raises(KeyboardInterrupt):
            write_ancestral(path, rows=60_000, seed=1, progress=interrupt)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]

    def test_no_rows_are_a_header(self, tmp_path: Path) -> None:
        assert write_nyc_like(tmp_path / "trips.csv", rows=0, seed=1).rows_loaded == 0
        assert (tmp_path / "trips.csv").read_bytes() == NYC_HEADER.encode() + b"\r\n"

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(PipelineError, match=r"absent/trips\.csv: No such file"):
            write_ancestral(tmp_path / "absent" / "trips.csv", rows=1, seed=1)

    @pytest.mark.parametrize(
        "wrong",
        [{"rows": -1}, {"seed": -1}, {"dirt": 1.5}, {"days": 0}, {"cities": []}],
        ids=lambda wrong: next(iter(wrong)),
    )
    def test_arguments_without_sense_are_refused(self, tmp_path: Path, wrong: dict[str, object]) -> None:
        arguments: dict[str, object] = {"rows": 10, "seed": 1, **wrong}
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("cities", "city").replace("days", "day")):
            write_ancestral(tmp_path / "trips.csv", **arguments)  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []
