"""Assembles everything that Dagster runs. One function, so that tests can put in their own resource."""

from dagster import Definitions

from h3_pipeline import alert_sensors, checks, jobs, schedules, sensors
from h3_pipeline.assets.backups import BACKUP_CHECKS, restore_drill, warehouse_backup
from h3_pipeline.assets.exports import export_assets
from h3_pipeline.assets.processing import process_uploads
from h3_pipeline.assets.uploads import raw_uploads
from h3_pipeline.assets.warehouse import load_uploads
from h3_pipeline.ops.logs import console_logger
from h3_pipeline.pruning import prune_partitions
from h3_pipeline.resources import PipelineResource, pipeline_resource
from h3_pipeline.retraction import retract_uploads
from h3_pipeline.settings import Settings
from h3_pipeline.stack import load_exports


def build_definitions(pipeline: PipelineResource | None = None) -> Definitions:
    """The project's definitions.

    Args:
        pipeline: The resource of all assets; by default the one that reads the environment.

    Raises:
        ExportError: A query of the user's is not valid; the message names file and line.
    """
    settings = pipeline.settings() if pipeline else Settings.load()
    queries = list(load_exports(settings).queries.values())
    export_jobs = jobs.export_jobs(queries)
    return Definitions(
        assets=[
            raw_uploads,
            process_uploads,
            load_uploads,
            warehouse_backup,
            restore_drill,
            *export_assets(queries, settings.h3_timezone),
        ],
        asset_checks=[*checks.WHOLE_WAREHOUSE_CHECKS, *BACKUP_CHECKS],
        jobs=[
            jobs.ingest_uploads,
            jobs.reconcile_warehouse,
            *jobs.BACKUP_JOBS,
            retract_uploads,
            prune_partitions,
            *export_jobs,
        ],
        sensors=[
            sensors.uploads_sensor,
            sensors.processed_sensor,
            alert_sensors.report_troubles,
        ],
        schedules=[
            schedules.reconcile_daily,
            schedules.prune_daily,
            *schedules.BACKUP_SCHEDULES,
            *schedules.export_schedules(queries, {job.name: job for job in export_jobs}),
        ],
        resources={"pipeline": pipeline or pipeline_resource()},
        loggers={"console": console_logger},
    )


defs = build_definitions()
