"""Exports as assets: lineage, partitions, schedules, and what a run shows."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DailyPartitionsDefinition,
    DefaultScheduleStatus,
    RunRequest,
    build_schedule_context,
)

from h3_pipeline.assets.exports import CHECK
from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import ExportError
from h3_pipeline.exports.catalog import ExportCatalog
from h3_pipeline.exports.publication import Place, latest
from h3_pipeline.ingestion import ingest
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.dagster_project.conftest import trips_csv

Put = Callable[[str, str], None]


def test_each_query_is_an_asset_with_a_job_a_check_and_a_schedule() -> None:
    definitions = build_definitions()
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    schedules = {schedule.name: schedule for schedule in repository.schedule_defs}
    for query in ExportCatalog.load().queries.values():
        node = graph.get(AssetKey(["exports", query.name]))
        assert node.group_name == "exports"
        assert {key.to_user_string() for key in node.parent_keys} == set(query.header.reads)
        assert {key.name for key in node.check_keys} == {CHECK}
        assert repository.has_job(f"export_{query.name}")
        schedule = schedules[f"export_{query.name}"]
        assert schedule.cron_schedule == query.header.schedule
        assert schedule.default_status is DefaultScheduleStatus.STOPPED
    assert isinstance(graph.get(AssetKey(["exports", "hourly_cells"])).partitions_def, DailyPartitionsDefinition)


def test_a_schedule_asks_for_the_day_before() -> None:
    repository = build_definitions().get_repository_def()
    schedule = repository.get_schedule_def("export_hourly_cells")
    at = datetime(2024, 3, 1, 4, 45, tzinfo=UTC)
    with build_schedule_context(scheduled_execution_time=at, repository_def=repository) as context:
        [request] = schedule.evaluate_tick(context).run_requests or []
    assert isinstance(request, RunRequest)
    assert request.partition_key == "2024-02-29"


def test_a_run_by_day_shows_what_it_made(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance, put: Put
) -> None:
    put("a.csv", trips_csv(30))
    ingest(["a.csv"], bucket=pipeline_bucket, instance=instance)
    job = build_definitions().resolve_job_def("export_hourly_cells")
    result = job.execute_in_process(instance=instance, partition_key="2024-03-01")
    assert result.success
    [evaluation] = result.get_asset_check_evaluations()
    assert (evaluation.check_name, evaluation.passed) == (CHECK, True)
    [record] = instance.fetch_materializations(AssetKey(["exports", "hourly_cells"]), limit=2).records
    assert record.partition_key == "2024-03-01"
    materialization = record.asset_materialization
    assert materialization is not None
    metadata = materialization.metadata
    manifest = latest(pipeline_bucket, Place("hourly_cells", "2024-03-01"))
    assert manifest is not None
    assert metadata["dagster/row_count"].value == manifest.rows > 0
    assert metadata["latest"].value == "exports/hourly_cells/partition=2024-03-01/latest.json"
    assert metadata["bytes"].value == sum(file.bytes for file in manifest.files)
    assert "data:image/png;base64," in str(metadata["picture"].value)
    assert "GROUP BY" in str(metadata["query"].value)
    stored = pipeline_bucket.head("uploads/a.csv")
    assert stored is not None
    assert manifest.sources["uploads"] == {"a.csv": stored.etag}
    assert manifest.run_id == result.run_id


def test_a_run_that_is_refused_says_why(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance
) -> None:
    job = build_definitions().resolve_job_def("export_coverage")
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"exports__coverage": {"config": {"parameters": {"resolution": "3"}}}}},
    )
    assert not result.success
    [failure] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert str(failure.user_failure_data.description).startswith("The parameter resolution of the export coverage must")
    assert list(pipeline_bucket.list("exports/")) == []


def test_a_bad_schedule_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("queries")
    (folder / "mine.sql").write_text(
        "-- title: M\n-- description: D\n-- formats: [csv]\n-- reads: [trips]\n-- schedule: daily\nSELECT 1 AS n\n"
    )
    with pytest.raises(ExportError, match=r"mine\.sql:5: schedule: 'daily' is no cron expression"):
        build_definitions(PipelineResource(overrides={"h3_exports": str(folder)}))
