"""The jobs: what a run does."""

from dagster import AssetSelection, define_asset_job, in_process_executor

from h3_pipeline.assets.processing import PROCESSED_TRIPS, UPLOAD_MANIFESTS
from h3_pipeline.checks import WHOLE_WAREHOUSE_CHECKS
from h3_pipeline.run_retries import repeat_if_it_may_pass
from h3_pipeline.warehouse.schema import LOADED_TABLES

# One process for all steps: chDB allows one engine a process, and a task on Fargate is one process.
ingest_uploads = define_asset_job(
    "ingest_uploads",
    # the recounts of the whole warehouse have a job of their own
    selection=AssetSelection.assets(PROCESSED_TRIPS, UPLOAD_MANIFESTS, *LOADED_TABLES)
    - AssetSelection.checks(*WHOLE_WAREHOUSE_CHECKS),
    executor_def=in_process_executor,
    hooks={repeat_if_it_may_pass},
    description="Uploads to trips and hourly tables: judge, write clean, load, roll up, publish.",
)

reconcile_warehouse = define_asset_job(
    "reconcile_warehouse",
    selection=AssetSelection.checks(*WHOLE_WAREHOUSE_CHECKS),
    executor_def=in_process_executor,
    hooks={repeat_if_it_may_pass},
    description="Compare every hourly table with a recount of all trips.",
)
