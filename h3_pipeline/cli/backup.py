"""``backup``: all tables to the bucket, and which backups there are."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from h3_pipeline.cli import screen
from h3_pipeline.cli.screen import Column, Grid
from h3_pipeline.errors import PipelineError
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.backup import TakenBackup, take_backup
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, BackupManifest
from h3_pipeline.warehouse.backup_operation import Progress
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.schema import TRIPS


def backup(*, full: bool, as_json: bool) -> int:
    """Take a backup."""
    settings = Settings.load()
    with bucket_and_warehouse(settings, "Backing up") as (bucket, warehouse, on_progress):
        taken = take_backup(warehouse, bucket, full=full, keep_chains=settings.h3_backup_keep, on_progress=on_progress)
    _tell_dagster(settings, taken)
    manifest = taken.manifest
    if as_json:
        screen.say(json.dumps(manifest.to_json() | {"removed": taken.removed}, ensure_ascii=False, indent=2))
        return 0
    rests = f", rests on {manifest.base}" if manifest.base else ""
    screen.say(
        f"{manifest.name}: {manifest.kind}, {screen.bytes_text(manifest.size)} in "
        f"{screen.counted(manifest.objects, 'object')}, {screen.counted(_trips(manifest), 'trip')}, "
        f"{manifest.seconds:.1f} s{rests}"
    )
    for name in taken.removed:
        screen.say(f"{name}: removed")
    return 0


def _tell_dagster(settings: Settings, taken: TakenBackup) -> None:
    """Show the backup in Dagster as one that a run took; it is as good if that fails."""
    with screen.stage("Telling Dagster"):
        from dagster import DagsterError, DagsterInstance

        from h3_pipeline.assets.backups import backup_event

    with dagster_home(settings.home):
        try:
            with DagsterInstance.get() as instance:
                instance.report_runless_asset_event(backup_event(taken))
        except DagsterError as error:
            screen.note(f"The backup is complete, but Dagster does not know of it: {error}")


def list_backups(*, as_json: bool) -> int:
    """Show the backups that there are."""
    settings = Settings.load()
    with bucket_access(settings) as access:
        catalog = BackupCatalog(Bucket(access), settings.clickhouse_database)
        names = catalog.good()
        manifests: dict[str, BackupManifest | str] = {}
        for name in names:
            try:
                manifests[str(name)] = catalog.manifest(name)
            except PipelineError as error:  # one that is archived or damaged must not hide the others
                manifests[str(name)] = str(error)
    if as_json:
        listed = [
            {"name": name, "error": found} if isinstance(found, str) else found.to_json()
            for name, found in manifests.items()
        ]
        screen.say(json.dumps(listed, ensure_ascii=False, indent=2))
        return 0
    if not names:
        screen.say(f"No backups below {catalog.prefix}; `h3-pipeline backup` takes one")
        return 0
    grid = Grid(
        [
            Column("backup"),
            Column("taken at (UTC)"),
            Column("kind"),
            Column("trips", number=True),
            Column("size", number=True),
            Column("note", folds=True),
        ]
    )
    for name in names:
        found = manifests[str(name)]
        if isinstance(found, str):
            grid.rows.append([str(name), name.taken_at, name.kind, None, None, found])
        else:
            grid.rows.append([str(name), name.taken_at, name.kind, _trips(found), screen.bytes_text(found.size), None])
    screen.show(grid)
    return 0


@contextmanager
def bucket_and_warehouse(
    settings: Settings, description: str
) -> Iterator[tuple[Bucket, Warehouse, Callable[[Progress], None]]]:
    """Open what a BACKUP and a RESTORE go between.

    Args:
        settings: Which bucket and warehouse.
        description: What is done, beside the bar.

    Yields:
        Both, and what shows on a bar what the engine tells of its progress.
    """
    with (
        bucket_access(settings) as access,
        open_warehouse(settings, access, on_wait=screen.note) as warehouse,
        screen.share(description) as show,
    ):
        yield Bucket(access), warehouse, lambda progress: show(progress.done, progress.total)


def _trips(manifest: BackupManifest) -> int:
    return manifest.tables[TRIPS].rows
