"""Whole runs: uploads in the bucket to rows, events, checks and partition states."""

import base64
import io
import socket
from collections.abc import Callable

import pytest
from dagster import AssetKey, AssetRecordsFilter, DagsterInstance, DagsterRunStatus
from PIL import Image, ImageColor

from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import StorageError
from h3_pipeline.exports.maps.colours import SEQUENTIAL
from h3_pipeline.ingestion import PROCESS_TAG, end_runs_of_dead_processes, ingest
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.dagster_project.conftest import trips_csv

LOADED = ("processed_trips", "upload_manifests", "trips", "cell_hourly", "flow_hourly")


def materialized(instance: DagsterInstance, asset: str) -> set[str]:
    records = instance.fetch_materializations(AssetRecordsFilter(AssetKey(asset)), limit=100).records
    return {str(record.partition_key) for record in records}


def test_a_refused_upload_fails_alone(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(30, bad=2))
    put("b, odd|name.csv", "x,y\n1,2\n")
    put("c.csv", trips_csv(20, first_minute=100))

    report = ingest(["a.csv", "b, odd|name.csv", "c.csv"], bucket=pipeline_bucket, instance=instance)

    assert [u.status for u in report.uploads] == ["loaded", "refused", "loaded"]
    a, b, c = report.uploads
    assert (a.rows_in, a.rows_loaded, a.rejected) == (32, 30, {"origin_null_island": 2})
    assert (c.rows_in, c.rows_loaded, c.rows_rejected) == (20, 20, 0)
    assert b.rows_in is None
    assert b.error is not None
    assert b.error.startswith("No feed knows this header")

    assert report.run_id is not None
    run = instance.get_run_by_id(report.run_id)
    assert run is not None
    assert run.status is DagsterRunStatus.FAILURE
    for asset in ("processed_trips", "trips", "cell_hourly", "flow_hourly"):
        assert materialized(instance, asset) == {"a.csv", "c.csv"}, asset
    assert materialized(instance, "upload_manifests") == {"a.csv", "b, odd|name.csv", "c.csv"}
    assert materialized(instance, "raw_uploads") == {"a.csv", "b, odd|name.csv", "c.csv"}

    with pipeline.warehouse(pipeline_bucket) as warehouse:
        rows = warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload")
        departures = warehouse.engine.value("SELECT sum(departures) FROM cell_hourly_view WHERE resolution = 7")
    assert rows == {"a.csv": 30, "c.csv": 20}
    assert departures == 50


def test_metadata_that_a_person_wants(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(30, bad=2))
    ingest(["a.csv"], bucket=pipeline_bucket, instance=instance)
    [record] = instance.fetch_materializations(AssetKey("processed_trips"), limit=1).records
    materialization = record.asset_materialization
    assert materialization is not None
    metadata = materialization.metadata
    assert metadata["rows in"].value == 32
    assert metadata["rows rejected"].value == 2
    [reason] = metadata["rejected by reason"].records  # type: ignore[attr-defined]
    assert reason.data["reason"] == "origin_null_island"
    assert reason.data["rows"] == 2
    assert len(metadata["preview"].records) == 10  # type: ignore[attr-defined]
    stored = pipeline_bucket.head("uploads/a.csv")
    assert stored is not None
    assert materialization.tags is not None
    assert materialization.tags["dagster/data_version"] == stored.etag

    [record] = instance.fetch_materializations(AssetKey("cell_hourly"), limit=1).records
    assert record.asset_materialization is not None
    picture = str(record.asset_materialization.metadata["picture"].value)
    assert picture.startswith("![Departures of a.csv, H3 resolution ")
    assert len(picture) < 30_000
    with Image.open(io.BytesIO(base64.b64decode(picture.partition("base64,")[2].rstrip(")")))) as image:
        assert (image.format, image.size) == ("PNG", (640, 400))
        # the cells' own colours, beside those of page and letters
        assert {colour for _, colour in image.convert("RGB").getcolors() or []} & {
            ImageColor.getrgb(each) for each in SEQUENTIAL.light
        }


def test_checks_are_green_and_counted(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(30))
    report = ingest(["a.csv"], bucket=pipeline_bucket, instance=instance)
    assert report.run_id is not None
    logs = instance.all_logs(report.run_id)
    evaluations = [
        entry.dagster_event.asset_check_evaluation_data
        for entry in logs
        if entry.dagster_event and entry.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    results = {(e.asset_key.to_user_string(), e.check_name): e.passed for e in evaluations}
    assert results == {
        ("upload_manifests", "rows_are_conserved"): True,
        ("upload_manifests", "cells_equal_h3"): True,
        ("upload_manifests", "reject_ratio"): True,
        ("trips", "rows_are_conserved"): True,
        ("cell_hourly", "rollup_equals_recount"): True,
        ("flow_hourly", "rollup_equals_recount"): True,
    }


def test_uploads_that_stand_apart_take_several_runs(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    for name in "abc":
        put(f"{name}.csv", trips_csv(5))
    ingest(["a.csv", "b.csv", "c.csv"], bucket=pipeline_bucket, instance=instance)
    before = instance.get_runs_count()
    report = ingest(["c.csv", "a.csv"], bucket=pipeline_bucket, instance=instance)
    assert instance.get_runs_count() == before + 2
    assert [u.upload for u in report.uploads] == ["c.csv", "a.csv"]
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        assert warehouse.engine.value("SELECT count() FROM trips") == 15


def test_an_upload_that_is_not_there(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance
) -> None:
    with pytest.raises(StorageError, match=r"has no object uploads/none\.csv"):
        ingest(["none.csv"], bucket=pipeline_bucket, instance=instance)


def test_a_run_of_a_dead_process_is_failed(instance: DagsterInstance) -> None:
    job = build_definitions().resolve_job_def("ingest_uploads")
    # above Linux's largest process id
    dead = instance.create_run_for_job(
        job, tags={PROCESS_TAG: f"{socket.gethostname()}:{2**22}:1"}, status=DagsterRunStatus.STARTED
    )
    other_host = instance.create_run_for_job(
        job, tags={PROCESS_TAG: f"elsewhere:{2**22}:1"}, status=DagsterRunStatus.STARTED
    )
    end_runs_of_dead_processes(instance)
    statuses = {run.run_id: run.status for run in instance.get_runs()}
    assert statuses[dead.run_id] is DagsterRunStatus.FAILURE
    assert statuses[other_host.run_id] is DagsterRunStatus.STARTED


def test_the_retract_job(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(5))
    put("b.csv", trips_csv(7))
    ingest(["a.csv", "b.csv"], bucket=pipeline_bucket, instance=instance)
    job = build_definitions().resolve_job_def("retract_uploads")
    result = job.execute_in_process(
        instance=instance, run_config={"ops": {"retract": {"config": {"uploads": ["uploads/a.csv"]}}}}
    )
    assert result.output_for_node("retract") == {"a.csv": 5}
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        assert warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload") == {"b.csv": 7}
        left = warehouse.engine.value("SELECT sum(trips) FROM flow_hourly_view WHERE resolution = 5")
    assert left == 7
    assert pipeline_bucket.head("uploads/a.csv") is not None


def test_the_whole_warehouse_reconciles_and_shows_what_is_amiss(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Callable[[str, str], None]
) -> None:
    put("a.csv", trips_csv(5))
    put("b.csv", trips_csv(7))
    ingest(["a.csv", "b.csv"], bucket=pipeline_bucket, instance=instance)
    job = build_definitions().resolve_job_def("reconcile_warehouse")

    def verdicts() -> dict[str, bool]:
        result = job.execute_in_process(instance=instance)
        return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}

    names = ("cell_hourly_reconciles", "flow_hourly_reconciles", "uploads_are_accounted_for")
    assert verdicts() == dict.fromkeys(names, True)
    with pipeline.warehouse(pipeline_bucket) as warehouse:
        warehouse.engine.command("ALTER TABLE flow_hourly DELETE WHERE resolution = 6", settings={"mutations_sync": 1})
    pipeline_bucket.delete("uploads/a.csv")
    assert verdicts() == dict(zip(names, (True, False, False), strict=True))
