"""The definitions load, and say what the design says."""

import os
import subprocess
import sys

from dagster import (
    AssetKey,
    BackfillPolicy,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    DynamicPartitionsDefinition,
)

from h3_pipeline.definitions import build_definitions
from h3_pipeline.ingestion import ingestion_job
from h3_pipeline.jobs import ingest_uploads
from h3_pipeline.settings import Settings
from h3_pipeline.stack import load_exports
from h3_pipeline.trips.columns import TRIP_COLUMNS


def test_assets_groups_and_lineage() -> None:
    graph = build_definitions().resolve_asset_graph()
    groups = {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {
        "raw_uploads": "uploads",
        "processed_trips": "processing",
        "upload_manifests": "processing",
        "trips": "warehouse",
        "cell_hourly": "warehouse",
        "flow_hourly": "warehouse",
        "warehouse_backup": "operations",
        "restore_drill": "operations",
        **{f"exports/{name}": "exports" for name in load_exports(Settings.load()).queries},
    }
    assert graph.get(AssetKey("processed_trips")).parent_keys == {AssetKey("raw_uploads")}
    assert graph.get(AssetKey("cell_hourly")).parent_keys == {AssetKey("trips")}
    assert graph.get(AssetKey("raw_uploads")).is_external


def test_every_asset_of_uploads_has_one_partition_an_upload() -> None:
    graph = build_definitions().resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        if node.group_name == "operations":
            assert node.partitions_def is None
            continue
        if node.group_name == "exports":  # none, or of days and months
            assert not isinstance(node.partitions_def, DynamicPartitionsDefinition)
            continue
        assert isinstance(node.partitions_def, DynamicPartitionsDefinition)
        assert node.partitions_def.name == "uploads"
        if not node.is_external:
            assert node.backfill_policy == BackfillPolicy.single_run()


def test_warehouse_assets_share_a_pool_of_one() -> None:
    definitions = build_definitions()
    assert definitions.resolve_assets_def("trips").op.pool == "warehouse"
    assert definitions.resolve_assets_def("processed_trips").op.pool is None


def test_blocking_checks_stop_the_load() -> None:
    graph = build_definitions().resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {"rows_are_conserved", "cells_equal_h3"}


def test_the_command_line_runs_the_job_that_dagster_shows() -> None:
    shown = build_definitions().resolve_job_def(ingest_uploads.name)
    assert ingestion_job().get_job_snapshot_id() == shown.get_job_snapshot_id()


def test_sensors_run_by_default() -> None:
    repository = build_definitions().get_repository_def()
    statuses = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    assert statuses == dict.fromkeys(
        ("uploads_sensor", "processed_sensor", "report_troubles"), DefaultSensorStatus.RUNNING
    )


def test_on_a_laptop_no_schedule_runs_by_itself() -> None:
    repository = build_definitions().get_repository_def()
    assert {schedule.default_status for schedule in repository.schedule_defs} == {DefaultScheduleStatus.STOPPED}


def test_where_there_is_a_server_every_schedule_runs_by_local_time() -> None:
    program = (
        "from h3_pipeline.definitions import defs\n"
        "for schedule in defs.get_repository_def().schedule_defs:\n"
        "    print(schedule.name, schedule.default_status.name, schedule.execution_timezone)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CLICKHOUSE_HOST": "warehouse.internal", "H3_TIMEZONE": "Europe/Prague"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    schedules = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert {"reconcile_daily", "back_up_daily", "drill_weekly", "check_backups_daily", "prune_daily"} <= set(schedules)
    assert all(found == ["RUNNING", "Europe/Prague"] for found in schedules.values()), schedules


def test_column_schema_is_that_of_the_contract() -> None:
    graph = build_definitions().resolve_asset_graph()
    schema = graph.get(AssetKey("trips")).metadata["dagster/column_schema"]
    assert [(c.name, c.type) for c in schema.columns] == [(c.name, c.type) for c in TRIP_COLUMNS]


def test_the_location_loads_in_a_fresh_interpreter_without_warnings() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:h3_pipeline", "-c", "import h3_pipeline.definitions"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
