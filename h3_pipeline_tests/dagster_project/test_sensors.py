"""The sensors ask for each new version of each object once, whatever its name or time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, RunRequest, SensorResult, build_sensor_context

from h3_pipeline.ingestion import ingest
from h3_pipeline.partitions import UPLOADS, uploads_partitions
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import MAX_BYTES, MAX_UPLOADS, RANGE_END_TAG, RANGE_START_TAG, Arrival, batches, contiguous
from h3_pipeline.sensors import processed_sensor, uploads_sensor
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.storage.watch import LOOK_BACK, Seen, digest
from h3_pipeline_tests.dagster_project.conftest import trips_csv

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def stored(key: str, etag: str = "1", age: timedelta = timedelta(0)) -> StoredObject:
    return StoredObject(f"uploads/{key}", etag, 10, NOW - age)


class TestSeen:
    def test_each_version_once(self) -> None:
        listing = [stored("b"), stored("c")]
        seen = Seen()
        assert all(seen.is_new(s) for s in listing)
        seen = Seen.from_cursor(seen.after(listing, NOW).to_cursor())
        assert not any(seen.is_new(s) for s in listing)
        assert seen.is_new(stored("b", etag="2"))

    def test_an_earlier_name_in_the_same_second(self) -> None:
        seen = Seen().after([stored("b")], NOW)
        assert seen.is_new(stored("a"))

    def test_a_multipart_upload_that_took_days(self) -> None:
        """Its LastModified is when it was started."""
        seen = Seen().after([stored("b")], NOW)
        assert seen.is_new(stored("slow", age=LOOK_BACK - timedelta(hours=1)))

    def test_what_is_older_than_the_window_leaves_the_cursor(self) -> None:
        listing = [stored("old", age=LOOK_BACK + timedelta(days=1)), stored("new")]
        seen = Seen().after(listing, NOW)
        assert seen.digests == {digest(listing[1])}
        assert not seen.is_new(listing[0])

    def test_the_horizon_never_goes_back(self) -> None:
        seen = Seen().after([], NOW)
        assert seen.after([], NOW - timedelta(days=3)).horizon == seen.horizon

    def test_what_is_left_stays_new_however_old(self) -> None:
        late = stored("late", age=LOOK_BACK * 2)
        seen = Seen().after([late, stored("b")], NOW, left=[late])
        assert seen.is_new(late)
        assert not seen.is_new(stored("b"))

    @pytest.mark.parametrize("cursor", ["", "{", "[]", '{"horizon": 5}', '{"horizon": "x", "digests": []}'])
    def test_an_unreadable_cursor_starts_over(self, cursor: str) -> None:
        assert Seen.from_cursor(cursor) == Seen()


class TestBatches:
    def test_bounded_by_number(self) -> None:
        arrivals = [Arrival(str(n), "v", 1) for n in range(2 * MAX_UPLOADS + 1)]
        found = list(batches(arrivals))
        assert [len(batch) for batch in found] == [MAX_UPLOADS, MAX_UPLOADS, 1]
        assert list(chain(*found)) == arrivals

    def test_bounded_by_bytes_but_one_always_fits(self) -> None:
        arrivals = [Arrival("a", "v", MAX_BYTES * 2), Arrival("b", "v", MAX_BYTES // 2), Arrival("c", "v", 1)]
        assert [[a.partition for a in batch] for batch in batches(arrivals)] == [["a"], ["b", "c"]]

    def test_contiguous_ranges_in_dagsters_order(self) -> None:
        assert list(contiguous(["e", "b", "a"], list("abcde"))) == [["a", "b"], ["e"]]


def look(
    instance: DagsterInstance, pipeline: PipelineResource, cursor: str | None = None, *, processed: bool = False
) -> SensorResult:
    """One tick, with the partitions that it asks for added as the daemon would."""
    sensor = processed_sensor if processed else uploads_sensor
    with build_sensor_context(instance=instance, cursor=cursor) as context:
        result = sensor(context, pipeline=pipeline)
    assert isinstance(result, SensorResult)
    for request in result.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions(UPLOADS, list(request.partition_keys))
    return result


def requested(result: SensorResult, instance: DagsterInstance) -> list[list[str]]:
    """Partitions of each run that was asked for."""
    known = list(instance.get_dynamic_partitions(UPLOADS))

    def partitions(request: RunRequest) -> list[str]:
        if request.partition_key is not None:
            return [request.partition_key]
        first, last = known.index(request.tags[RANGE_START_TAG]), known.index(request.tags[RANGE_END_TAG])
        return known[first : last + 1]

    return [partitions(request) for request in result.run_requests or []]


def test_new_files_make_one_run(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for key in ("b.csv", "a, 1|2.csv", "dir/c d.csv", "100%...csv"):
        put(key, trips_csv(2))
    result = look(instance, pipeline)
    [run] = requested(result, instance)
    assert sorted(run) == ["100%25%2E%2E%2Ecsv", "a, 1|2.csv", "b.csv", "dir/c d.csv"]
    assert {event.partition for event in result.asset_events} == set(run)
    again = look(instance, pipeline, result.cursor)
    assert not again.run_requests
    assert not again.asset_events


def test_a_replaced_file_runs_on_its_own(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for key in ("a.csv", "b.csv", "c.csv"):
        put(key, trips_csv(2))
    first = look(instance, pipeline)
    put("b.csv", trips_csv(3))
    put("d.csv", trips_csv(2))
    second = look(instance, pipeline, first.cursor)
    assert requested(second, instance) == [["b.csv"], ["d.csv"]]
    keys = [request.run_key for request in [*(first.run_requests or []), *(second.run_requests or [])]]
    assert len(set(keys)) == 3


def test_what_the_command_line_loaded_is_left_alone(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(2))
    ingest(["a.csv"], bucket=pipeline_bucket, instance=instance)
    assert not look(instance, pipeline).run_requests
    put("a.csv", trips_csv(3))
    assert requested(look(instance, pipeline), instance) == [["a.csv"]]


def test_a_clean_csv_of_another_producer(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(2))
    ingest(["a.csv"], bucket=pipeline_bucket, instance=instance)
    pipeline_bucket.write("processed/theirs.csv", trips_csv(4, first_minute=50).encode(), "text/csv")
    result = look(instance, pipeline, processed=True)
    assert requested(result, instance) == [["s3:processed/theirs.csv"]]
    report = ingest(["s3:processed/theirs.csv"], bucket=pipeline_bucket, instance=instance)
    assert (report.uploads[0].status, report.uploads[0].rows_loaded) == ("loaded", 4)
    assert not look(instance, pipeline, result.cursor, processed=True).run_requests


def test_a_refused_partition_shows_as_failed(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(2))
    put("bad.csv", "x,y\n1,2\n")
    ingest(["a.csv", "bad.csv"], bucket=pipeline_bucket, instance=instance)
    for asset in ("processed_trips", "trips", "cell_hourly", "flow_hourly"):
        statuses = instance.get_status_by_partition(AssetKey(asset), ["a.csv", "bad.csv"], uploads_partitions)
        assert statuses is not None
        assert {key: status and status.value for key, status in statuses.items()} == {
            "a.csv": "MATERIALIZED",
            "bad.csv": "FAILED",
        }, asset


def test_ticks_need_no_warehouse(pipeline: PipelineResource, instance: DagsterInstance, tmp_path: Path) -> None:
    look(instance, pipeline)
    assert not (tmp_path / "home" / "warehouse").exists()
