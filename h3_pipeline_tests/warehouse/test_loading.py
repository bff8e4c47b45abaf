"""Loading, replacing and retracting: whatever happens on the way, the tables are those of the uploads in them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import h3
import pytest
from backports import zstd

from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import BATCH_ROWS, BATCH_UPLOADS, Warehouse, batches
from h3_pipeline.warehouse.publish import PublishConflict
from h3_pipeline.warehouse.reconcile import recount
from h3_pipeline_tests.reliability.checksums import Checksums, census, checksums
from h3_pipeline_tests.uploads import process_all

HEADER = "started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,distance_km,fare_amount"
MONTHS_SCATTERED = 103
SYNC = {"mutations_sync": 2}


def trip(start: str, end: str = "", place: int = 0, fare: str = "10") -> str:
    lat, lng = 40.7 + place / 50, -74.0 + place / 40
    return f"{start}Z,{end}{'Z' if end else ''},{lat},{lng},{lat + 0.02},{lng + 0.02},{1 + place},{fare}"


def table(*rows: str) -> str:
    return "\n".join([HEADER, *rows, ""])


FIRST = [
    trip(f"2024-01-{day:02d} 08:{day:02d}:00", f"2024-01-{day:02d} 08:{day + 9:02d}:00", day % 4)
    for day in range(1, 29)
]
OVER_MIDNIGHT = trip("2024-01-31 23:50:00", "2024-02-01 00:10:00", 9)
CONTENTS = {
    # two months, one trip from the one into the other
    "first": table(
        *FIRST, OVER_MIDNIGHT, trip("2024-02-10 09:00:00"), trip("2024-02-10 09:30:00", "2024-02-10 10:30:00")
    ),
    # fewer rows, another fare, no more February, but March
    "second": table(
        trip("2024-01-05 08:05:00", "2024-01-05 08:14:00", 1, "99.5"),
        trip("2024-03-07 12:00:00", "2024-03-07 12:30:00", 2),
    ),
    # overlaps with the first in month, cell and hour, to the row
    "other": table(*FIRST[:10], trip("2024-02-10 09:00:00"), trip("2024-03-07 12:15:00", "2024-03-07 12:30:00", 2)),
    "scattered": table(
        *(
            f"{2000 + month // 12}-{month % 12 + 1:02d}-15 12:00:00Z,,40.7,-74.0,,,,"
            for month in range(MONTHS_SCATTERED)
        )
    ),
}


@dataclass(frozen=True)
class Uploads:
    """Processed uploads: two versions of ``a.csv``, and others."""

    first: Manifest
    second: Manifest
    other: Manifest
    scattered: Manifest


@pytest.fixture(scope="module")
def uploads(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Uploads:
    manifests = process_all(bucket, tmp_path_factory.mktemp("home"), CONTENTS)
    versions = {name: replace(manifests[name], upload="a.csv") for name in ("first", "second")}
    return Uploads(**(manifests | versions))


Opener = Callable[[Path], AbstractContextManager[Warehouse]]


@pytest.fixture(scope="module")
def opened(bucket: Bucket) -> Opener:
    """Opens a warehouse in a home; one at a time."""

    @contextmanager
    def open_in(home: Path) -> Iterator[Warehouse]:
        with open_warehouse(Settings.load(h3_pipeline_home=home), bucket.access) as warehouse:
            yield warehouse

    return open_in


@pytest.fixture(scope="module")
def states(opened: Opener, uploads: Uploads, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checksums]:
    """What the tables hold after loads into an empty warehouse that nothing disturbs."""
    found = {}
    for name, manifests in {
        "first": [uploads.first],
        "other": [uploads.other],
        "first and other": [uploads.first, uploads.other],
        "second and other": [uploads.second, uploads.other],
    }.items():
        with opened(tmp_path_factory.mktemp("state")) as warehouse:
            for manifest in manifests:
                warehouse.load(manifest)
            found[name] = checksums(warehouse.engine)
    assert len({str(state) for state in found.values()}) == len(found)
    return found


def assert_reconciled(warehouse: Warehouse) -> None:
    resolutions = warehouse.rollup_resolutions
    assert all(check.equal for check in recount(warehouse.engine, "trips", "cell_hourly", "flow_hourly", resolutions))


class Killed(Exception):
    pass


def kill_at(stage: str) -> Callable[[str], None]:
    def on_stage(now: str) -> None:
        if now == stage:
            raise Killed(stage)

    return on_stage


class TestLoad:
    def test_what_it_says_is_what_the_tables_hold(self, warehouse: Warehouse, uploads: Uploads) -> None:
        loaded = warehouse.load(uploads.first, run_id="run-1")
        rows = {name: warehouse.engine.value(f"SELECT count() FROM {name}") for name in loaded.rows}
        assert loaded.rows == rows
        assert rows["trips"] == uploads.first.rows_loaded == warehouse.rows_of("a.csv") == len(FIRST) + 3
        assert loaded.months == ["202401", "202402"]
        assert {(check.table, check.resolution) for check in loaded.recounts} == {
            (name, resolution) for name in ("cell_hourly", "flow_hourly") for resolution in (9, 8, 7, 6, 5)
        }
        assert all(check.equal for check in loaded.recounts)
        assert warehouse.rows_of("a.csv", months=["202402"]) == 2
        (event,) = history.latest(warehouse.engine, warehouse.placement)
        assert (event.upload, event.upload_etag) == ("a.csv", uploads.first.upload_etag)
        assert (event.event, event.run_id, event.feed) == ("loaded", "run-1", "generic")
        assert (event.rows_in, event.rows_loaded) == (uploads.first.rows_in, uploads.first.rows_loaded)
        assert (event.rejected, event.warnings) == ({}, uploads.first.warnings)

    def test_an_arrival_counts_in_its_own_month(self, warehouse: Warehouse, uploads: Uploads) -> None:
        warehouse.load(uploads.first)
        cell = h3.str_to_int(h3.latlng_to_cell(40.7 + 9 / 50 + 0.02, -74.0 + 9 / 40 + 0.02, 10))
        found = warehouse.engine.rows(
            "SELECT _partition_id, toString(hour), departures, arrivals FROM cell_hourly "
            "WHERE resolution = 7 AND cell = h3ToParent({cell:UInt64}, 7)",
            {"cell": cell},
        )
        assert [tuple(row) for row in found] == [("202402", "2024-02-01 00:00:00", 0, 1)]
        departures, arrivals = warehouse.engine.rows("SELECT sum(departures), sum(arrivals) FROM cell_hourly_view")[0]
        assert (departures, arrivals) == (5 * (len(FIRST) + 3), 5 * (len(FIRST) + 2))

    def test_running_again_changes_nothing(self, warehouse: Warehouse, uploads: Uploads, states: dict) -> None:
        for _ in range(2):
            warehouse.load(uploads.first)
        assert checksums(warehouse.engine) == states["first"]

    def test_more_months_than_an_insert_may_touch(self, warehouse: Warehouse, uploads: Uploads) -> None:
        """A hundred is what the engine allows by default."""
        assert len(warehouse.load(uploads.scattered).months) == MONTHS_SCATTERED
        assert warehouse.rows_of(uploads.scattered.upload) == MONTHS_SCATTERED
        assert_reconciled(warehouse)

    def test_a_database_of_another_name(self, opened: Opener, bucket: Bucket, uploads: Uploads, tmp_path: Path) -> None:
        settings = Settings.load(
            h3_pipeline_home=tmp_path, clickhouse_database="trips_of_2024", h3_rollup_resolutions=(10, 3)
        )
        with open_warehouse(settings, bucket.access) as warehouse:
            warehouse.load(uploads.first)
            assert {row[0] for row in warehouse.engine.rows("SELECT resolution FROM trips_of_2024.flow_hourly")} == {
                10,
                3,
            }


class TestReplace:
    def test_other_content_replaces_its_own_rows_and_no_other(
        self, warehouse: Warehouse, uploads: Uploads, states: dict
    ) -> None:
        warehouse.load(uploads.first)
        warehouse.load(uploads.other)
        assert checksums(warehouse.engine) == states["first and other"]
        warehouse.load(uploads.second)  # shrinks, leaves a month, comes into another
        assert checksums(warehouse.engine) == states["second and other"]
        etags = warehouse.engine.pairs("SELECT DISTINCT upload, upload_etag FROM trips")
        assert etags == {"a.csv": uploads.second.upload_etag, "other": uploads.other.upload_etag}
        warehouse.load(uploads.first)  # grows again
        assert checksums(warehouse.engine) == states["first and other"]

    def test_the_order_of_loads_does_not_matter(self, warehouse: Warehouse, uploads: Uploads, states: dict) -> None:
        warehouse.load(uploads.other)
        warehouse.load(uploads.first)
        assert checksums(warehouse.engine) == states["first and other"]

    def test_an_upload_that_shares_cells_and_hours_adds_up(self, warehouse: Warehouse, uploads: Uploads) -> None:
        warehouse.load(uploads.first)
        before = warehouse.engine.rows("SELECT sum(departures) FROM cell_hourly_view WHERE resolution = 9")[0][0]
        cells = warehouse.engine.value("SELECT uniqExact(cell, hour) FROM cell_hourly_view WHERE resolution = 9")
        warehouse.load(uploads.other)
        after = warehouse.engine.rows("SELECT sum(departures) FROM cell_hourly_view WHERE resolution = 9")[0][0]
        assert after == before + uploads.other.rows_loaded
        shared = warehouse.engine.value("SELECT uniqExact(cell, hour) FROM cell_hourly_view WHERE resolution = 9")
        assert shared < cells + uploads.other.rows_loaded
        assert_reconciled(warehouse)


class TestRetract:
    def test_its_rows_leave_every_table_and_nobody_elses(
        self, warehouse: Warehouse, uploads: Uploads, states: dict
    ) -> None:
        warehouse.load(uploads.first)
        warehouse.load(uploads.other)
        assert warehouse.retract("a.csv", run_id="run-2") == uploads.first.rows_loaded
        assert checksums(warehouse.engine) == states["other"]
        events = {event.upload: event for event in history.latest(warehouse.engine, warehouse.placement)}
        assert (events["a.csv"].event, events["a.csv"].run_id) == ("retracted", "run-2")
        assert history.retracted_versions(warehouse.engine, warehouse.placement) == {"a.csv": uploads.first.upload_etag}
        assert [event.upload for event in history.latest_loads(warehouse.engine, warehouse.placement)] == ["other"]

    def test_twice_is_no_error_and_loading_again_brings_it_back(
        self, warehouse: Warehouse, uploads: Uploads, states: dict
    ) -> None:
        warehouse.load(uploads.first)
        assert warehouse.retract("a.csv") == uploads.first.rows_loaded
        assert warehouse.retract("a.csv") == 0
        assert census(warehouse.engine) == {}
        warehouse.load(uploads.first)
        assert checksums(warehouse.engine) == states["first"]
        assert history.retracted_versions(warehouse.engine, warehouse.placement) == {}

    def test_what_was_never_loaded(self, warehouse: Warehouse) -> None:
        with pytest.raises(WarehouseError, match=r"never\.csv is not in the warehouse"):
            warehouse.retract("never.csv")


class TestBrokenOff:
    """An exception at a stage, and run again; `reliability` kills processes at any instant."""

    def test_a_replacement(self, warehouse: Warehouse, uploads: Uploads, states: dict) -> None:
        warehouse.load(uploads.other)
        warehouse.load(uploads.first)
        versions = [("second and other", uploads.second), ("first and other", uploads.first)]
        stages = (
            "roll up",
            "cleared trips 202401",
            "exchanged cell_hourly 202402",
            "settled flow_hourly 202401",
            "record",
        )
        for number, stage in enumerate(stages):
            state, manifest = versions[number % 2]
            with pytest.raises(Killed):
                warehouse.load(manifest, on_stage=kill_at(stage))
            warehouse.load(manifest)
            assert checksums(warehouse.engine) == states[state], stage
        assert warehouse.engine.rows("SELECT name FROM system.tables WHERE startsWith(name, 'staging_')") == []

    def test_a_first_load(self, warehouse: Warehouse, uploads: Uploads, states: dict) -> None:
        for stage in (
            "roll up",
            "noted trips 202401",
            "exchanged trips 202401",
            "publish cell_hourly 202402",
            "record",
        ):
            with pytest.raises(Killed):
                warehouse.load(uploads.first, on_stage=kill_at(stage))
        warehouse.load(uploads.first)
        assert checksums(warehouse.engine) == states["first"]

    def test_a_retraction(self, warehouse: Warehouse, uploads: Uploads, states: dict) -> None:
        warehouse.load(uploads.other)
        warehouse.load(uploads.first)
        for stage in ("cleared trips 202401", "exchanged cell_hourly 202401", "record"):
            with pytest.raises(Killed):
                warehouse.retract("a.csv", on_stage=kill_at(stage))
        warehouse.retract("a.csv")
        assert checksums(warehouse.engine) == states["other"]


class TestSecondWriter:
    @pytest.mark.parametrize("stage", ["noted trips 202401", "cleared trips 202401"])
    def test_it_is_noticed_and_nothing_is_lost(
        self, warehouse: Warehouse, uploads: Uploads, states: dict, stage: str
    ) -> None:
        if not stage.startswith("noted"):
            warehouse.load(uploads.first)
        written = 0

        def intrude(now: str) -> None:
            nonlocal written
            if now == stage and not written:
                written = 3
                warehouse.engine.command(
                    "INSERT INTO trips (upload, row_number, started_at, origin_h3) "
                    "SELECT 'intruder', number, '2024-01-01 00:00:00', 0 FROM numbers(3)"
                )

        with pytest.raises(PublishConflict, match="another writer was at work"):
            warehouse.load(uploads.first, on_stage=intrude)
        assert written
        assert warehouse.rows_of("intruder") == written
        warehouse.load(uploads.first)
        assert warehouse.rows_of("intruder") == written
        warehouse.engine.command("ALTER TABLE trips DELETE WHERE upload = 'intruder'", settings={"mutations_sync": 2})
        assert checksums(warehouse.engine) == states["first"]


class TestCleanCsvThatIsNotTheManifests:
    @pytest.fixture
    def spoilt(self, bucket: Bucket, uploads: Uploads) -> Iterator[Callable[[bytes], None]]:
        """Overwrites the clean CSV; afterwards it is as it was."""
        key = uploads.second.processed_key
        whole = bucket.read(key)

        def overwrite(body: bytes) -> None:
            bucket.write(key, body, "application/zstd")

        yield overwrite
        overwrite(whole)

    def refused(self, warehouse: Warehouse, manifest: Manifest, message: str) -> None:
        before = checksums(warehouse.engine)
        with pytest.raises(WarehouseError, match=message) as caught:
            warehouse.load(manifest)
        assert "\n" not in str(caught.value)
        assert manifest.processed_key in str(caught.value)
        assert checksums(warehouse.engine) == before

    def test_cut_off(
        self, warehouse: Warehouse, bucket: Bucket, uploads: Uploads, spoilt: Callable[[bytes], None]
    ) -> None:
        warehouse.load(uploads.first)
        spoilt(bucket.read(uploads.second.processed_key)[:-20])
        self.refused(warehouse, uploads.second, "process a.csv again")

    def test_of_as_many_other_rows(
        self, warehouse: Warehouse, bucket: Bucket, uploads: Uploads, spoilt: Callable[[bytes], None]
    ) -> None:
        warehouse.load(uploads.first)
        text = zstd.decompress(bucket.read(uploads.second.processed_key))
        spoilt(zstd.compress(text.replace(b"99.5", b"98.5")))
        self.refused(warehouse, uploads.second, "written after its manifest")

    def test_of_fewer_rows_than_the_manifest_says(self, warehouse: Warehouse, uploads: Uploads) -> None:
        manifest = replace(uploads.second, rows_loaded=uploads.second.rows_loaded + 1)
        self.refused(warehouse, manifest, "has 2 rows, its manifest says 3")


class TestTogether:
    def test_uploads_loaded_at_once_are_as_if_one_after_the_other(
        self, warehouse: Warehouse, uploads: Uploads, states: dict[str, Checksums]
    ) -> None:
        loaded = warehouse.load_all([uploads.first, uploads.other], run_id="run-1")
        assert checksums(warehouse.engine) == states["first and other"]
        assert {key: result.rows["trips"] for key, result in loaded.items()} == {
            "a.csv": uploads.first.rows_loaded,
            "other": uploads.other.rows_loaded,
        }
        assert loaded["a.csv"].months == ["202401", "202402"]
        events = history.latest(warehouse.engine, warehouse.placement)
        assert [(event.upload, event.event, event.run_id) for event in events] == [
            ("a.csv", "loaded", "run-1"),
            ("other", "loaded", "run-1"),
        ]

    def test_one_may_be_new_and_another_replaced(
        self, warehouse: Warehouse, uploads: Uploads, states: dict[str, Checksums]
    ) -> None:
        warehouse.load(uploads.first)
        warehouse.load_all([uploads.other, uploads.second])
        assert checksums(warehouse.engine) == states["second and other"]

    def test_one_that_cannot_be_loaded_keeps_the_others_out(self, warehouse: Warehouse, uploads: Uploads) -> None:
        with pytest.raises(WarehouseError, match="its manifest says"):
            warehouse.load_all([uploads.other, replace(uploads.first, rows_loaded=1)])
        assert census(warehouse.engine) == {}

    def test_batches_are_bounded(self, uploads: Uploads) -> None:
        def sizes(*rows: int) -> list[list[int]]:
            manifests = [replace(uploads.first, rows_loaded=count) for count in rows]
            return [[manifest.rows_loaded for manifest in batch] for batch in batches(manifests)]

        assert sizes() == []
        assert sizes(5, 6) == [[5, 6]]
        assert sizes(BATCH_ROWS, 1, BATCH_ROWS * 3, 2) == [[BATCH_ROWS], [1], [BATCH_ROWS * 3], [2]]
        assert [len(batch) for batch in sizes(*[1] * (BATCH_UPLOADS + 1))] == [BATCH_UPLOADS, 1]


class TestConservation:
    def test_loaded_rows_are_right(self, warehouse: Warehouse, uploads: Uploads) -> None:
        assert warehouse.differing_rows(warehouse.load_all([uploads.first, uploads.other])) == {}

    def test_a_row_that_went_missing_is_told(self, warehouse: Warehouse, uploads: Uploads) -> None:
        loaded = warehouse.load_all([uploads.first, uploads.other])
        warehouse.engine.command("ALTER TABLE trips DELETE WHERE upload = 'other' AND row_number = 3", settings=SYNC)
        assert warehouse.differing_rows(loaded) == {"other": uploads.other.rows_loaded - 1}

    def test_a_load_that_was_killed_does_not_accuse_another(self, warehouse: Warehouse, uploads: Uploads) -> None:
        with pytest.raises(Killed):
            warehouse.load(uploads.other, on_stage=kill_at("noted trips 202401"))
        loaded = warehouse.load_all([uploads.first])
        assert warehouse.differing_rows(loaded) == {}
