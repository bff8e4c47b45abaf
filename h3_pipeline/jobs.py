"""The jobs: what a run does."""

from collections.abc import Iterable
from typing import Any

from dagster import AssetSelection, define_asset_job, in_process_executor

from h3_pipeline.assets.backups import BACKUP_CHECKS, RESTORE_DRILL, WAREHOUSE_BACKUP
from h3_pipeline.assets.exports import asset_key
from h3_pipeline.assets.processing import PROCESSED_TRIPS, UPLOAD_MANIFESTS
from h3_pipeline.checks import WHOLE_WAREHOUSE_CHECKS
from h3_pipeline.exports.catalog import Query
from h3_pipeline.ops.logs import CONSOLE
from h3_pipeline.run_retries import repeat_if_it_may_pass
from h3_pipeline.warehouse.schema import LOADED_TABLES


def _job(name: str, *, selection: AssetSelection, description: str) -> Any:
    return define_asset_job(
        name,
        selection=selection,
        # one process for all steps: chDB allows one engine a process, and a task on Fargate is one process
        executor_def=in_process_executor,
        config=CONSOLE,
        hooks={repeat_if_it_may_pass},
        description=description,
    )


ingest_uploads = _job(
    "ingest_uploads",
    # the recounts of the whole warehouse have a job of their own
    selection=AssetSelection.assets(PROCESSED_TRIPS, UPLOAD_MANIFESTS, *LOADED_TABLES)
    - AssetSelection.checks(*WHOLE_WAREHOUSE_CHECKS),
    description="Uploads to trips and hourly tables: judge, write clean, load, roll up, publish.",
)

reconcile_warehouse = _job(
    "reconcile_warehouse",
    selection=AssetSelection.checks(*WHOLE_WAREHOUSE_CHECKS),
    description="Compare every hourly table with a recount of all trips.",
)

back_up_warehouse = _job(
    "back_up_warehouse",
    selection=AssetSelection.assets(WAREHOUSE_BACKUP) - AssetSelection.checks(*BACKUP_CHECKS),
    description="All tables to `backups/`: full once a week, in between what changed since.",
)

drill_restore = _job(
    "drill_restore",
    selection=AssetSelection.assets(RESTORE_DRILL) - AssetSelection.checks(*BACKUP_CHECKS),
    description="Restore the newest backup beside the live tables, compare, and drop it.",
)

check_backups = _job(
    "check_backups",
    selection=AssetSelection.checks(*BACKUP_CHECKS),
    description="Whether the newest backup and the newest good drill are recent enough.",
)

BACKUP_JOBS = (back_up_warehouse, drill_restore, check_backups)


def export_jobs(queries: Iterable[Query]) -> list[Any]:
    """A job for each export, ``export_NAME``."""
    return [
        _job(
            f"export_{query.name}",
            selection=AssetSelection.assets(asset_key(query)),
            description=query.header.title,
        )
        for query in queries
    ]
