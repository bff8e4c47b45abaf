"""``warehouse_backup`` and ``restore_drill``: backups, and the proof that they can be restored."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetMaterialization,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
    asset,
    asset_check,
)
from pydantic import Field

from h3_pipeline.assets.metadata import Metadata
from h3_pipeline.ops.observed import observed_step
from h3_pipeline.resources import PipelineResource
from h3_pipeline.warehouse.backup import TakenBackup, take_backup
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, NoBackup
from h3_pipeline.warehouse.backup_operation import OnProgress, Progress
from h3_pipeline.warehouse.backup_restore import drill
from h3_pipeline.warehouse.schema import LOADED_TABLES, TRIPS

WAREHOUSE_BACKUP = "warehouse_backup"
RESTORE_DRILL = "restore_drill"
GROUP = "operations"

POOL = "backups"
"""Dagster pool with one slot: a backup and a drill at once would only slow each other down."""

_SECONDS_BETWEEN_LINES = 15.0


class BackupConfig(Config):
    """Which kind of backup."""

    full: bool = Field(False, description="Take a full backup even where an incremental one could be taken")


@asset(
    name=WAREHOUSE_BACKUP,
    deps=list(LOADED_TABLES),
    group_name=GROUP,
    kinds={"clickhouse", "s3"},
    pool=POOL,
    description="All tables of the warehouse below `backups/`, as they were at one instant: full once a week, "
    "in between what changed since. `h3-pipeline restore` brings them back.",
)
@observed_step
def warehouse_backup(
    context: AssetExecutionContext, config: BackupConfig, pipeline: PipelineResource
) -> MaterializeResult:
    """Take a backup, and remove those that are superfluous now."""
    settings = pipeline.settings()
    with pipeline.bucket() as bucket, pipeline.warehouse(bucket) as warehouse:
        taken = take_backup(
            warehouse,
            bucket,
            full=config.full,
            keep_chains=settings.h3_backup_keep,
            on_progress=_logged(context.log.info),
            on_stage=context.log.debug,
        )
    return MaterializeResult(metadata=backup_metadata(taken))


@asset(
    name=RESTORE_DRILL,
    deps=[WAREHOUSE_BACKUP],
    group_name=GROUP,
    kinds={"clickhouse", "s3"},
    pool=POOL,
    check_specs=[
        AssetCheckSpec(
            "backup_gives_back_what_was_backed_up",
            asset=RESTORE_DRILL,
            description="Restored beside the live tables, every table has the rows and the checksum of its backup.",
        )
    ],
    description="The newest backup restored beside the live tables, compared with what was backed up, and dropped.",
)
@observed_step
def restore_drill(
    context: AssetExecutionContext, pipeline: PipelineResource
) -> Iterator[AssetCheckResult | MaterializeResult]:
    """Prove that the newest backup can be restored; the live tables are not touched."""
    with pipeline.bucket() as bucket, pipeline.warehouse(bucket) as warehouse:
        report = drill(warehouse, bucket, on_progress=_logged(context.log.info), on_stage=context.log.debug)
    metadata: Metadata = {
        "backup": report.backup,
        "backup taken at": MetadataValue.timestamp(report.taken_at),
        "seconds": report.seconds,
        **({"problem": report.problem} if report.problem else {}),
        **({"rows compared": _table(report.rows)} if report.rows else {}),
    }
    yield AssetCheckResult(check_name="backup_gives_back_what_was_backed_up", passed=report.good, metadata=metadata)
    if not report.good:
        raise Failure(report.problem, metadata=metadata, allow_retries=False)
    yield MaterializeResult(metadata=metadata)


@asset_check(asset=WAREHOUSE_BACKUP, description="The newest good backup is younger than H3_BACKUP_MAX_AGE_HOURS.")
@observed_step
def backup_is_recent(pipeline: PipelineResource) -> AssetCheckResult:
    """Look at the backups that there are, whoever took them."""
    settings = pipeline.settings()
    with pipeline.bucket() as bucket:
        try:
            newest = BackupCatalog(bucket, settings.clickhouse_database).newest().taken_at
        except NoBackup:
            newest = None
    return _age_check(newest, timedelta(hours=settings.h3_backup_max_age_hours), "backup")


@asset_check(asset=RESTORE_DRILL, description="The newest good restore drill is younger than H3_DRILL_MAX_AGE_DAYS.")
@observed_step
def drill_is_recent(pipeline: PipelineResource) -> AssetCheckResult:
    """Look at the drills that were noted."""
    settings = pipeline.settings()
    with pipeline.bucket() as bucket:
        newest = BackupCatalog(bucket, settings.clickhouse_database).newest_good_drill()
    return _age_check(newest, timedelta(days=settings.h3_drill_max_age_days), "drill")


BACKUP_CHECKS = (backup_is_recent, drill_is_recent)
"""Checks that look at what lies below ``backups/``; the job `check_backups` runs them."""


def backup_event(taken: TakenBackup) -> AssetMaterialization:
    """The event that a backup was taken outside of a run."""
    return AssetMaterialization(asset_key=WAREHOUSE_BACKUP, metadata=backup_metadata(taken))


def backup_metadata(taken: TakenBackup) -> Metadata:
    """What a person wants to know of a backup."""
    manifest = taken.manifest
    return {
        "backup": manifest.name,
        "kind": manifest.kind,
        "rests on": manifest.base or "nothing",
        "taken at": MetadataValue.timestamp(manifest.taken_at),
        "dagster/row_count": manifest.tables[TRIPS].rows,
        "tables": MetadataValue.table(
            [
                TableRecord({"table": table, "rows": content.rows, "checksum": content.checksum})
                for table, content in manifest.tables.items()
            ]
        ),
        "objects": manifest.objects,
        "bytes": manifest.size,
        "bytes after a restore": manifest.restored_size,
        "seconds": manifest.seconds,
        "seconds in which nothing could be published": manifest.locked_seconds,
        "removed": ", ".join(taken.removed) or "nothing",
    }


def _age_check(newest: datetime | None, limit: timedelta, what: str) -> AssetCheckResult:
    now = datetime.now(UTC)
    allowed_hours = round(limit / timedelta(hours=1), 1)
    if newest is None:
        return AssetCheckResult(
            passed=False, metadata={"problem": f"there is no good {what}", "allowed hours": allowed_hours}
        )
    return AssetCheckResult(
        passed=now - newest <= limit,
        metadata={
            f"newest good {what}": MetadataValue.timestamp(newest),
            "age in hours": round((now - newest) / timedelta(hours=1), 1),
            "allowed hours": allowed_hours,
        },
    )


def _table(rows: Mapping[str, int]) -> MetadataValue:
    return MetadataValue.table([TableRecord({"table": table, "rows": count}) for table, count in rows.items()])


def _logged(log: Callable[[str], None]) -> OnProgress:
    """A line in the run's log now and then."""
    last = time.monotonic()

    def on_progress(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log(f"{progress.done:,} of {progress.total:,} bytes")

    return on_progress
