"""Assembles everything that Dagster runs. One function, so that tests can put in their own resource."""

from dagster import Definitions

from h3_pipeline import checks, jobs, schedules, sensors
from h3_pipeline.assets.backups import BACKUP_CHECKS, restore_drill, warehouse_backup
from h3_pipeline.assets.processing import process_uploads
from h3_pipeline.assets.uploads import raw_uploads
from h3_pipeline.assets.warehouse import load_uploads
from h3_pipeline.ops.logs import console_logger
from h3_pipeline.resources import PipelineResource
from h3_pipeline.retraction import retract_uploads


def build_definitions(pipeline: PipelineResource | None = None) -> Definitions:
    """The project's definitions.

    Args:
        pipeline: The resource of all assets; by default the one that reads the environment.
    """
    return Definitions(
        assets=[raw_uploads, process_uploads, load_uploads, warehouse_backup, restore_drill],
        asset_checks=[*checks.WHOLE_WAREHOUSE_CHECKS, *BACKUP_CHECKS],
        jobs=[jobs.ingest_uploads, jobs.reconcile_warehouse, *jobs.BACKUP_JOBS, retract_uploads],
        sensors=[sensors.uploads_sensor, sensors.processed_sensor, sensors.report_failed_runs],
        schedules=[schedules.reconcile_daily, *schedules.BACKUP_SCHEDULES],
        resources={"pipeline": pipeline or PipelineResource()},
        loggers={"console": console_logger},
    )


defs = build_definitions()
