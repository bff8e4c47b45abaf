"""Backup and drill as Dagster runs them: what it shows, and when its checks are red."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance, DefaultScheduleStatus, ExecuteInProcessResult, TableMetadataValue

from h3_pipeline.definitions import build_definitions
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, BackupName


def run(job: str, pipeline: PipelineResource, instance: DagsterInstance, **options: object) -> ExecuteInProcessResult:
    definitions = build_definitions(pipeline)
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


def checks(result: ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_a_backup_a_drill_and_a_damaged_one(
    pipeline: PipelineResource, pipeline_bucket: Bucket, instance: DagsterInstance
) -> None:
    red = {"backup_is_recent": False, "drill_is_recent": False}
    assert checks(run("check_backups", pipeline, instance)) == red

    backed_up = run("back_up_warehouse", pipeline, instance)
    assert backed_up.success
    (materialization,) = backed_up.asset_materializations_for_node("warehouse_backup")
    metadata = materialization.metadata
    assert metadata["kind"].value == "full"
    tables = metadata["tables"]
    assert isinstance(tables, TableMetadataValue)
    assert {record.data["table"] for record in tables.records} >= {"trips", "cell_hourly"}
    assert checks(run("check_backups", pipeline, instance)) == {**red, "backup_is_recent": True}

    drilled = run("drill_restore", pipeline, instance)
    assert drilled.success
    assert checks(drilled) == {"backup_gives_back_what_was_backed_up": True}
    assert checks(run("check_backups", pipeline, instance)) == dict.fromkeys(red, True)

    catalog = BackupCatalog(pipeline_bucket, "h3_pipeline")
    lost = next(stored.key for stored in catalog.written(catalog.newest()) if "schema_migrations" in stored.key)
    pipeline_bucket.delete(lost)
    drilled = run("drill_restore", pipeline, instance)
    assert not drilled.success
    assert checks(drilled) == {"backup_gives_back_what_was_backed_up": False}
    (failure,) = [event for event in drilled.all_events if event.is_step_failure]
    assert f"{lost} is missing" in str(failure.step_failure_data.user_failure_data)


@pytest.mark.parametrize(("hours", "good"), [(29, True), (31, False)])
def test_an_old_backup_and_an_old_drill_are_red(
    pipeline_bucket: Bucket, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, hours: int, good: bool
) -> None:
    monkeypatch.setenv("H3_BACKUP_MAX_AGE_HOURS", "30")
    monkeypatch.setenv("H3_DRILL_MAX_AGE_DAYS", "1.25")
    catalog = BackupCatalog(pipeline_bucket, "h3_pipeline")
    at = datetime.now(UTC) - timedelta(hours=hours)
    catalog.note_drill(at, good=True, report={})
    catalog.note_drill(at + timedelta(hours=1), good=False, report={})
    pipeline_bucket.write_json(f"{catalog.folder(BackupName(at))}manifest.json", {})
    assert checks(run("check_backups", PipelineResource(), instance)) == dict.fromkeys(
        ("backup_is_recent", "drill_is_recent"), good
    )


def test_schedules_are_off_where_nobody_waits_for_them() -> None:
    schedules = {s.name: s for s in build_definitions().get_repository_def().schedule_defs}
    backups = {"back_up_daily": "30 2 * * *", "drill_weekly": "30 5 * * 1", "check_backups_daily": "0 8 * * *"}
    assert {name: schedules[name].cron_schedule for name in backups} == backups
    for name in backups:
        assert schedules[name].default_status == DefaultScheduleStatus.STOPPED
        assert schedules[name].execution_timezone == "UTC"
