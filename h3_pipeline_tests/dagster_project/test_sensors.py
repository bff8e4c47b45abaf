"""The sensors ask for each new version of each object once, whatever its name or time."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, SensorResult, build_sensor_context

from h3_pipeline import sensors
from h3_pipeline.alert_sensors import report_troubles
from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import PipelineError
from h3_pipeline.ingestion import ingest
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.partitions import UPLOADS, uploads_partitions
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import (
    MAX_BYTES,
    MAX_RUNS_IN_FLIGHT,
    MAX_RUNS_PER_LOOK,
    MAX_UPLOADS,
    Arrival,
    batches,
    contiguous,
    grouped,
)
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.dagster_project.ticks import end_runs, look, requested, submit
from h3_pipeline_tests.servers.s3_listing import s3_listing


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

    def test_ranges_are_cut_at_strangers(self) -> None:
        """A range takes all that stands between its ends when the run begins."""
        arrivals = [Arrival(name, "v", 1) for name in "fdb"] + [Arrival("c", "v", 1)]
        assert [[a.partition for a in run] for run in grouped(arrivals, list("abcdef"))] == [["b", "c", "d"], ["f"]]

    def test_replaced_ones_run_alone_unless_they_are_many(self) -> None:
        names = [f"{n:03d}" for n in range(MAX_RUNS_PER_LOOK + 1)]
        few = [Arrival(name, "v", 1, replaced=True) for name in names[:-1]] + [Arrival(names[-1], "v", 1)]
        assert [[a.partition for a in run] for run in grouped(few, names)] == [[name] for name in names]
        many = [Arrival(name, "v", 1, replaced=True) for name in names]
        assert [[a.partition for a in run] for run in grouped(many, names)] == [names]


def test_new_files_make_one_run(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for key in ("b.csv", "a, 1|2.csv", "dir/c d.csv", "100%...csv"):
        put(key, trips_csv(2))
    result = look(instance, pipeline)
    [run] = submit(result, instance)
    assert sorted(run) == ["100%25%2E%2E%2Ecsv", "a, 1|2.csv", "b.csv", "dir/c d.csv"]
    assert {event.partition for event in result.asset_events} == set(run)
    again = look(instance, pipeline, result.cursor)
    assert not again.run_requests
    assert not again.asset_events


@pytest.mark.parametrize(
    ("keys", "feed"),
    [
        (["taxis/a.csv", "taxis/2024/b.csv"], "taxis"),
        (["a.csv"], None),
        (["taxis/a.csv", "bikes/b.csv"], None),  # of several: limited by none of them
        (["in/yellow-1.csv", "other/yellow-2.csv"], "yellow"),  # a user's feed, wherever its files are
        (["in/yellow-1.csv", "in/green.csv"], None),
        (["in/green.csv", "in/red.csv"], "in"),
    ],
)
def test_a_run_is_tagged_with_the_feed_that_limits_it(
    pipeline: PipelineResource,
    instance: DagsterInstance,
    put: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: list[str],
    feed: str | None,
) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text("feeds: [{name: yellow, match: '*/yellow-*'}]")
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(feeds))
    for key in keys:
        put(key, trips_csv(1))
    [request] = look(instance, pipeline).run_requests or []
    assert request.tags.get("h3_pipeline/feed") == feed


def test_feeds_that_cannot_be_read_are_told_by_the_run(
    pipeline: PipelineResource,
    pipeline_bucket: Bucket,
    instance: DagsterInstance,
    put: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text("feeds: [{name: a, surprise: 1}]")
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(feeds))
    put("taxis/a.csv", trips_csv(1))
    result = look(instance, pipeline)
    assert submit(result, instance) == [["taxis/a.csv"]]
    with pytest.raises(PipelineError, match="surprise"):
        ingest(["taxis/a.csv"], bucket=pipeline_bucket, instance=instance)
    with build_sensor_context(instance=instance) as context:  # nor are other troubles left untold
        assert isinstance(report_troubles(context, pipeline=pipeline), SensorResult)


def test_a_replaced_file_runs_on_its_own(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for key in ("a.csv", "b.csv", "c.csv"):
        put(key, trips_csv(2))
    first = look(instance, pipeline)
    submit(first, instance)
    end_runs(instance)
    put("b.csv", trips_csv(3))
    put("d.csv", trips_csv(2))
    second = look(instance, pipeline, first.cursor)
    assert requested(second, instance) == [["b.csv"], ["d.csv"]]
    keys = [request.run_key for request in [*(first.run_requests or []), *(second.run_requests or [])]]
    assert len(set(keys)) == 3


def test_a_clean_csv_of_another_producer(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for name in (prefixes.processed_object, prefixes.manifest_object):
        pipeline_bucket.write(name("ours.csv"), b"ours", "text/csv")
    pipeline_bucket.write("processed/theirs.csv", trips_csv(4, first_minute=50).encode(), "text/csv")
    result = look(instance, pipeline, processed=True)
    assert requested(result, instance) == [["s3:processed/theirs.csv"]]
    report = ingest(["s3:processed/theirs.csv"], bucket=pipeline_bucket, instance=instance)
    assert (report.uploads[0].status, report.uploads[0].rows_loaded) == ("loaded", 4)
    assert not look(instance, pipeline, result.cursor, processed=True).run_requests


def test_ticks_need_no_warehouse(pipeline: PipelineResource, instance: DagsterInstance, tmp_path: Path) -> None:
    look(instance, pipeline)
    assert not (tmp_path / "home" / "warehouse").exists()


def test_a_replaced_file_waits_for_its_run(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    """Two runs of one upload at once would write over each other's results."""
    put("a.csv", trips_csv(2))
    result = look(instance, pipeline)
    submit(result, instance)
    put("a.csv", trips_csv(3))
    put("b.csv", trips_csv(3))
    second = look(instance, pipeline, result.cursor)
    assert submit(second, instance) == [["b.csv"]]
    end_runs(instance)
    assert submit(look(instance, pipeline, second.cursor), instance) == [["a.csv"]]


def test_content_that_comes_back_after_another(
    pipeline: PipelineResource, instance: DagsterInstance, pipeline_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A, then B, then A again: the third is asked for too, under a key of its own."""
    keys: list[str | None] = []
    with s3_listing() as listing:
        monkeypatch.setenv("S3_ENDPOINT_URL", str(listing.bucket.access.endpoint_url))
        monkeypatch.setenv("S3_BUCKET", listing.bucket.access.name)
        cursor = None
        for second, etag in enumerate("ABA"):
            listing.put("uploads/a.csv", etag, f"2024-06-01T12:00:0{second}.000Z")
            result = look(instance, pipeline, cursor)
            assert submit(result, instance) == [["a.csv"]]
            keys += [request.run_key for request in result.run_requests or []]
            end_runs(instance)
            cursor = result.cursor
    assert len(set(keys)) == 3


def test_neither_loaded_nor_refused_nor_retracted_uploads_run_again_after_a_lost_cursor(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("loaded.csv", trips_csv(2))
    put("refused.csv", "x,y\n1,2\n")
    put("retracted.csv", trips_csv(3))
    put("failed.csv", trips_csv(3))
    ingest(["loaded.csv", "refused.csv", "retracted.csv"], bucket=pipeline_bucket, instance=instance)
    for asset in ("processed_trips", "trips", "cell_hourly", "flow_hourly"):
        statuses = instance.get_status_by_partition(AssetKey(asset), ["loaded.csv", "refused.csv"], uploads_partitions)
        assert statuses is not None
        assert {key: status and status.value for key, status in statuses.items()} == {
            "loaded.csv": "MATERIALIZED",
            "refused.csv": "FAILED",
        }, asset
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        warehouse.retract("retracted.csv")
    result = look(instance, pipeline)
    assert submit(result, instance) == [["failed.csv"]]
    end_runs(instance)
    for cursor in (result.cursor, None, "garbage", '{"format": 2}'):
        assert not look(instance, pipeline, cursor).run_requests, cursor
    put("refused.csv", trips_csv(4))
    put("loaded.csv", trips_csv(5))
    assert requested(look(instance, pipeline), instance) == [["loaded.csv"], ["refused.csv"]]


def test_retracted_content_is_not_loaded_even_if_dagster_has_forgotten_everything(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(2))
    put("b.csv", trips_csv(3))
    ingest(["a.csv", "b.csv"], bucket=pipeline_bucket, instance=instance)

    def rows() -> dict[str, int]:
        with pipeline.warehouse(pipeline_bucket) as warehouse:
            return warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload")

    with pipeline.warehouse(pipeline_bucket) as warehouse:
        warehouse.retract("a.csv")
    job = build_definitions().resolve_job_def(ingest_uploads.name)
    with DagsterInstance.ephemeral() as forgetful:
        request = (look(forgetful, pipeline).run_requests or [])[0]
        assert submit(look(forgetful, pipeline), forgetful) == [["a.csv", "b.csv"]]
        by_sensor = {**request.tags, "dagster/sensor_name": "uploads_sensor"}
        assert job.execute_in_process(instance=forgetful, tags=by_sensor).success
        assert rows() == {"b.csv": 3}
        ingest(["a.csv"], bucket=pipeline_bucket, instance=forgetful)
    assert rows() == {"a.csv": 2, "b.csv": 3}


def test_a_request_that_never_became_a_run_is_made_again(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    """The cursor was saved, the partition was added, the arrival was noted: only a run counts."""
    for name in "abc":
        put(f"{name}.csv", trips_csv(2))
    first = look(instance, pipeline)
    for event in first.asset_events:
        instance.report_runless_asset_event(event)
    second = look(instance, pipeline, first.cursor)
    assert requested(second, instance) == [["a.csv", "b.csv", "c.csv"]]
    assert [r.run_key for r in second.run_requests or []] == [r.run_key for r in first.run_requests or []]
    submit(second, instance)
    assert not look(instance, pipeline, second.cursor).run_requests


def test_a_partition_that_was_pruned_is_added_again(
    pipeline: PipelineResource, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(2))
    submit(look(instance, pipeline), instance)
    end_runs(instance)
    instance.delete_dynamic_partition(UPLOADS, "a.csv")
    assert requested(look(instance, pipeline), instance) == [["a.csv"]]


class TestScale:
    """On a listing of thousands of objects; see storage/test_watch.py for a hundred thousand."""

    @pytest.fixture
    def fill(self, monkeypatch: pytest.MonkeyPatch, pipeline_bucket: Bucket):
        with s3_listing() as listing:
            monkeypatch.setenv("S3_ENDPOINT_URL", str(listing.bucket.access.endpoint_url))
            monkeypatch.setenv("S3_BUCKET", listing.bucket.access.name)
            yield listing.fill

    def test_five_thousand_new_files(
        self, pipeline: PipelineResource, instance: DagsterInstance, fill: Callable[[list[str]], None]
    ) -> None:
        fill([f"uploads/{n % 7}/{n:05d}.csv" for n in range(5000)])
        result = look(instance, pipeline)
        runs = requested(result, instance)
        assert [len(run) for run in runs] == [MAX_UPLOADS] * MAX_RUNS_PER_LOOK
        asked = list(chain(*runs))
        assert len(set(asked)) == len(asked) == len(result.asset_events)
        assert len(str(result.cursor)) < 500

    def test_no_more_runs_are_asked_for_than_may_be_in_flight(
        self, pipeline: PipelineResource, instance: DagsterInstance, fill: Callable[[list[str]], None]
    ) -> None:
        fill([f"uploads/{n}.csv" for n in range(3)])
        job = build_definitions().resolve_job_def(ingest_uploads.name)
        in_flight = [
            instance.create_run_for_job(job, status=DagsterRunStatus.STARTED) for _ in range(MAX_RUNS_IN_FLIGHT)
        ]
        full = look(instance, pipeline, "garbage")
        assert not full.run_requests
        assert full.cursor == "garbage"
        assert str(MAX_RUNS_IN_FLIGHT) in str(full.skip_reason)
        instance.report_run_failed(in_flight[0], "the test ended it")
        assert len(look(instance, pipeline).run_requests or []) == 1

    def test_everything_is_asked_for_once_however_little_fits_in_a_tick(
        self,
        pipeline: PipelineResource,
        instance: DagsterInstance,
        fill: Callable[[list[str]], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sensors, "TICK_SECONDS", 0)
        monkeypatch.setattr(sensors, "MAX_UPLOADS", 4)
        monkeypatch.setattr(sensors, "MAX_RUNS_PER_LOOK", 2)
        monkeypatch.setattr("h3_pipeline.runs.MAX_UPLOADS", 4)
        names = [f"{n:02d}.csv" for n in range(30)]
        fill([f"uploads/{name}" for name in names])
        asked: list[str] = []
        cursor = None
        for _ in range(6):
            result = look(instance, pipeline, cursor)
            runs = submit(result, instance)
            assert len(runs) <= 2
            asked += chain(*runs)
            cursor = result.cursor
        assert sorted(asked) == names
