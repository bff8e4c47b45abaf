"""Spans of time: together they are all of time, and none holds too many trips."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse import roll_up
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.roll_up import spans
from h3_pipeline_tests.reliability.checksums import checksums
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.uploads import process_all

HOUR = datetime(2024, 1, 31, 22, tzinfo=UTC)


def at(hours: int) -> datetime:
    return HOUR + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("counts", "cuts"),
    [
        ([], []),
        ([5], []),
        ([99], []),
        ([4, 3, 3], []),
        ([4, 3, 4], [2]),
        ([99, 1, 99], [1, 2]),
        ([10, 10, 10], [1, 2]),
        ([1, 99], [1]),
    ],
)
def test_cuts_are_at_full_hours(counts: list[int], cuts: list[int]) -> None:
    found = spans([(at(hour), count) for hour, count in enumerate(counts)], span_trips=10)
    edges = [None, *(at(hour) for hour in cuts), None]
    assert [(span.begin, span.end) for span in found] == list(pairwise(edges))
    first = [0, *cuts, len(counts)]
    assert [span.trips for span in found] == [sum(counts[begin:end]) for begin, end in pairwise(first)]


@pytest.fixture(scope="module")
def manifests(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    uploads = {
        "a.csv": trips_csv({"2024-01": 300, "2024-02": 200}, region="Prague"),
        "b.csv": trips_csv({"2024-01": 100}, first=5, region="Brno"),
    }
    return process_all(bucket, tmp_path_factory.mktemp("processing"), uploads)


def test_the_tables_are_the_same_however_time_is_cut_and_wherever_groups_are(
    bucket: Bucket,
    manifests: dict[str, Manifest],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for most, most_in_memory in ((50, 50), (50, 0), (10_000, 10_000)):
        monkeypatch.setattr(roll_up.spans, "__defaults__", (most,))
        monkeypatch.setattr(roll_up, "SPAN_TRIPS", most_in_memory)
        settings = Settings.load(h3_pipeline_home=tmp_path_factory.mktemp("home"))
        with open_warehouse(settings, bucket.access) as warehouse:
            warehouse.load_all(list(manifests.values()))
            sizes = warehouse.engine.rows("SELECT count() FROM cell_hourly UNION ALL SELECT count() FROM flow_hourly")
            # groups of different spans are never the same: nothing is left to add up
            merged = warehouse.engine.rows(
                "SELECT count() FROM cell_hourly FINAL UNION ALL SELECT count() FROM flow_hourly FINAL"
            )
            assert sorted(sizes) == sorted(merged)
            found.append(checksums(warehouse.engine))
    assert found[1:] == found[:-1]


def test_two_labels_with_one_hash_stop_the_load(
    warehouse: Warehouse, manifests: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    render = roll_up.render_statement
    monkeypatch.setattr(
        roll_up,
        "render_statement",
        lambda name, **values: render(name, **values).replace("SELECT cityHash64(", "SELECT 0 * cityHash64("),
    )
    with pytest.raises(WarehouseError, match="same hash"):
        warehouse.load_all(list(manifests.values()))
    assert warehouse.engine.value("SELECT count() FROM trips") == 0
