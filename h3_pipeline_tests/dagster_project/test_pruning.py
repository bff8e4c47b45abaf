"""Partitions go when their uploads have left the bucket, and no sooner."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from dagster import AssetMaterialization, DagsterInstance, DagsterRunStatus, ExecuteInProcessResult

from h3_pipeline import pruning
from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import StorageError
from h3_pipeline.ingestion import ingest
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.resources import PipelineResource
from h3_pipeline.runs import PARTITION_TAG, add_partitions
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline_tests.dagster_project.conftest import trips_csv


@pytest.fixture
def prune(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Run the job; nothing is too recent for it."""
    monkeypatch.setattr(pruning, "QUIET", timedelta(0))
    job = build_definitions().resolve_job_def("prune_partitions")
    return lambda: job.execute_in_process(instance=instance).output_for_node("prune")


def partitions(instance: DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions(UPLOADS))


def test_rows_in_the_tables_keep_a_partition_until_they_are_past(
    pipeline: PipelineResource,
    pipeline_bucket: Bucket,
    instance: DagsterInstance,
    put: Callable[[str, str], None],
    prune: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = ["here.csv", "loaded.csv", "refused.csv", "retracted.csv"]
    for key in keys:
        put(key, "x,y\n1,2\n" if key == "refused.csv" else trips_csv(2))
    ingest(keys, bucket=pipeline_bucket, instance=instance)
    add_partitions(instance, ["never loaded.csv", "100%25.csv"])
    assert prune() == 2
    for key in keys[1:]:
        pipeline_bucket.delete(f"uploads/{key}")
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        warehouse.retract("retracted.csv")
    assert prune() == 2
    assert partitions(instance) == ["here.csv", "loaded.csv"]
    monkeypatch.setenv("H3_PRUNE_AFTER_DAYS", "5")
    assert prune() == 0
    at = pruning._at
    monkeypatch.setattr(pruning, "_at", lambda moment: at(moment) - timedelta(days=6))
    assert prune() == 1
    assert partitions(instance) == ["here.csv"]
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        assert warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload") == {
            "here.csv": 2,
            "loaded.csv": 2,
        }


def test_a_partition_with_a_run_or_with_news_stays(
    pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None], prune: Callable[[], int]
) -> None:
    put("here.csv", trips_csv(1))
    add_partitions(instance, ["here.csv", "running.csv", "gone.csv"])
    job = build_definitions().resolve_job_def(ingest_uploads.name)
    run = instance.create_run_for_job(job, tags={PARTITION_TAG: "running.csv"}, status=DagsterRunStatus.STARTED)
    assert prune() == 1
    assert partitions(instance) == ["here.csv", "running.csv"]
    instance.report_run_failed(run, "the test ended it")
    instance.report_runless_asset_event(AssetMaterialization("raw_uploads", partition="running.csv"))
    pruning.QUIET = timedelta(days=1)  # the fixture puts it back
    assert prune() == 0
    pruning.QUIET = timedelta(0)
    assert prune() == 1


def test_an_upload_that_comes_back_meanwhile_keeps_its_partition(
    pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    """It is back before the partition is dropped, or right after."""
    add_partitions(instance, ["a.csv", "b.csv"])
    put("b.csv", trips_csv(1))
    assert not pruning._drop(instance, pipeline_bucket, "b.csv")

    class Late(Bucket):
        def __init__(self) -> None:
            super().__init__(pipeline_bucket.access)
            self.heads: Iterator[StoredObject | None] = iter([None])

        def head(self, key: str) -> StoredObject | None:
            return next(self.heads, StoredObject(key, "e", 1, datetime.now()))

    assert not pruning._drop(instance, Late(), "a.csv")
    assert partitions(instance) == ["a.csv", "b.csv"]


def test_an_empty_bucket_drops_nothing(
    pipeline_bucket: Bucket, instance: DagsterInstance, prune: Callable[[], ExecuteInProcessResult]
) -> None:
    """More likely it is the wrong one."""
    add_partitions(instance, ["a.csv"])
    with pytest.raises(StorageError, match="S3_BUCKET"):
        prune()
    assert partitions(instance) == ["a.csv"]
