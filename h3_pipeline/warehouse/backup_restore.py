"""Restores a backup, or proves that it can be restored.

Either way the backup is first restored into a database beside, and compared there with what its
manifest says. Only then are its tables exchanged with the live ones, see `backup_exchange`.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice

from h3_pipeline.errors import PipelineError, WarehouseError
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import ArchivedObject, Bucket
from h3_pipeline.warehouse import history
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, BackupManifest, BackupName, NoInventory
from h3_pipeline.warehouse.backup_content import contents
from h3_pipeline.warehouse.backup_exchange import exchange, finish_interrupted_exchange
from h3_pipeline.warehouse.backup_operation import OnProgress, Operation, OperationFailed, unwatched
from h3_pipeline.warehouse.backup_scratch import Purpose, engine_now, scratch_database
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import LEDGER, migrate
from h3_pipeline.warehouse.publish import OnStage
from h3_pipeline.warehouse.schema import Placement
from h3_pipeline.warehouse.templates import migration_names

logger = logging.getLogger(__name__)

_NAMED = 5


class BackupDamaged(WarehouseError):
    """A backup does not give back what was backed up."""


class BackupArchived(WarehouseError):
    """Objects of a backup must be thawed before it can be read."""


class WouldOverwrite(WarehouseError):
    """There is something where a backup was to be restored, and nobody said that it may go."""


@dataclass(frozen=True, slots=True)
class RestoredBackup:
    """What a restore did.

    Attributes:
        manifest: The backup.
        database: Where its tables are now.
        seconds: How long it took.
        not_in_backup: Uploads in the bucket that the restored tables do not hold in that version.
    """

    manifest: BackupManifest
    database: str
    seconds: float
    not_in_backup: list[str]


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What became of a restore drill.

    Attributes:
        backup: Name of the backup.
        taken_at: When it was taken, UTC.
        good: Whether it gave back all that was backed up.
        problem: What is wrong, or ``''``.
        seconds: How long it took.
        rows: Rows that were compared, by table.
    """

    backup: str
    taken_at: datetime
    good: bool
    problem: str
    seconds: float
    rows: dict[str, int] = field(default_factory=dict)


def restore_backup(
    warehouse: Warehouse,
    bucket: Bucket,
    *,
    at: datetime | None = None,
    to: str | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = unwatched,
    on_stage: OnStage = logger.debug,
) -> RestoredBackup:
    """Make the tables what they were when a backup was taken.

    Until all of it is restored and found to be what its manifest says, the live tables are untouched.

    Args:
        warehouse: The warehouse.
        bucket: The bucket.
        at: Take the newest backup that is not later; None takes the newest.
        to: Another database to restore to, made if it does not exist.
        overwrite: Whether rows that are in the tables may go.
        on_progress: Told now and then how far the engine is.
        on_stage: Told the name of each stage when it is reached.

    Raises:
        NoBackup: There is none.
        BackupArchived: It must be thawed first.
        BackupDamaged: It is not whole.
        WouldOverwrite: There are rows in the tables.
        WarehouseError: Anything else went wrong in the engine.
    """
    began = time.monotonic()
    engine, live = warehouse.engine, warehouse.placement
    target = Placement(to, live.cluster) if to else live
    catalog = BackupCatalog(bucket, live.database)
    name = catalog.newest(at)
    manifest = _readable(catalog, name)
    try:
        _refuse_damaged(catalog, name)
    except NoInventory as error:  # without it, damage is found all the same, only later
        logger.warning("%s", error)
    try:
        finish_interrupted_exchange(engine, target, warehouse.lock)
        migrate(engine, target)
        _refuse_to_overwrite(warehouse, target, manifest, overwrite)
        with scratch_database(engine, target, warehouse.lock, Purpose.RESTORE) as restored:
            _restore_beside(warehouse, catalog, name, manifest, restored, on_progress, on_stage)
            with warehouse.lock.hold("restoring a backup") as lease:
                _refuse_to_overwrite(warehouse, target, manifest, overwrite)
                on_stage("exchange")
                exchange(engine, target, restored, list(manifest.tables), lease, on_stage)
        migrate(engine, target)  # a backup may be older than the tables are now
    finally:
        engine.use(live.database)
    missing = _not_loaded(warehouse, target, bucket)
    return RestoredBackup(manifest, target.database, round(time.monotonic() - began, 3), missing)


def drill(
    warehouse: Warehouse,
    bucket: Bucket,
    *,
    on_progress: OnProgress = unwatched,
    on_stage: OnStage = logger.debug,
) -> DrillReport:
    """Restore the newest backup beside the live tables, compare it with its manifest, and drop it.

    A backup that cannot be restored is the report's, not an error.

    Raises:
        NoBackup: There is none.
        BackupArchived: It must be thawed first.
        StorageError: The bucket cannot be reached.
    """
    began = time.monotonic()
    catalog = BackupCatalog(bucket, warehouse.placement.database)
    name = catalog.newest()
    refuse_archived(catalog, name)
    problem = ""
    rows: dict[str, int] = {}
    try:
        manifest = _readable(catalog, name)
        _refuse_damaged(catalog, name)
        with scratch_database(warehouse.engine, warehouse.placement, warehouse.lock, Purpose.DRILL) as restored:
            _restore_beside(warehouse, catalog, name, manifest, restored, on_progress, on_stage)
        rows = {table: content.rows for table, content in manifest.tables.items()}
    except WarehouseError as error:
        problem = str(error)
    report = DrillReport(str(name), name.taken_at, not problem, problem, round(time.monotonic() - began, 3), rows)
    catalog.note_drill(engine_now(warehouse.engine), good=report.good, report=asdict(report))
    on_stage("noted")
    return report


def refuse_archived(catalog: BackupCatalog, name: BackupName) -> None:
    """Make sure that every object of a backup can be read.

    Raises:
        BackupArchived: Some must be thawed; the message says which, and how.
    """
    if archived := catalog.archived(name):
        raise BackupArchived(_thaw_message(catalog, name, archived))


def _thaw_message(catalog: BackupCatalog, name: BackupName, archived: Sequence[ArchivedObject]) -> str:
    access = catalog.bucket.access
    folders = sorted({catalog.folder(each) for each in (name, name.base) if each})
    folders = [folder for folder in folders if any(stored.key.startswith(folder) for stored in archived)]
    thawing = sum(stored.thawing for stored in archived)
    classes = " and ".join(sorted({stored.storage_class for stored in archived}))
    size = sum(stored.size for stored in archived)
    what = (
        f"Backup {name} cannot be read yet: {len(archived):,} objects of {size:,} bytes are in storage class "
        f"{classes}, below {' and '.join(folders)}"
    )
    if thawing == len(archived):
        return f"{what}. All of them are being thawed; try again in some hours."
    under_way = f" ({thawing:,} are being thawed already)" if thawing else ""
    endpoint = f" --endpoint-url {access.endpoint_url}" if access.endpoint_url else ""
    aws = f"aws s3api{endpoint}"
    commands = "; ".join(
        f"{aws} list-objects-v2 --bucket {access.name} --prefix {folder} --output text --query "
        "\"Contents[?StorageClass=='GLACIER'||StorageClass=='DEEP_ARCHIVE'].[Key]\" | xargs -I KEY "
        f"{aws} restore-object --bucket {access.name} --key KEY "
        "--restore-request 'Days=7,GlacierJobParameters={Tier=Standard}'"
        for folder in folders
    )
    return f"{what}{under_way}. Thaw them and try again when that is done, in some hours: {commands}"


def _readable(catalog: BackupCatalog, name: BackupName) -> BackupManifest:
    """The manifest of a backup whose objects can be read, and whose tables we know."""
    refuse_archived(catalog, name)
    manifest = catalog.manifest(name)
    if unknown := sorted(set(manifest.migrations) - set(migration_names())):
        raise WarehouseError(
            f"Backup {name} is of a newer version of h3_pipeline ({unknown[-1]}); update this installation"
        )
    return manifest


def _restore_beside(
    warehouse: Warehouse,
    catalog: BackupCatalog,
    name: BackupName,
    manifest: BackupManifest,
    restored: str,
    on_progress: OnProgress,
    on_stage: OnStage,
) -> None:
    """Restore a backup into an empty database and compare it with its manifest."""
    engine, tables = warehouse.engine, list(manifest.tables)
    place = Placement(restored, warehouse.placement.cluster)
    if place.cluster:
        # a replicated table in the backup names its path in the keeper, where the live one is
        migrate(engine, place)
        engine.command(f"TRUNCATE TABLE {place.table(LEDGER)} {place.on_cluster()} SYNC", repeatable=True)
    operation = Operation(engine, place, tables, restored, manifest.database, catalog.data(name))
    try:
        with _damage_named(catalog, name):
            operation.restore(on_progress)
            on_stage("restored beside")
            found = contents(engine, restored, tables)
    finally:
        engine.use(warehouse.placement.database)
    differing = [
        f"{table} has {found[table].rows:,} rows with checksum {found[table].checksum}, and had {content.rows:,} with "
        f"{content.checksum}"
        for table, content in manifest.tables.items()
        if found[table] != content
    ]
    if differing:
        faults = differing + _changed(catalog, name)
        raise BackupDamaged(f"Backup {name} does not give back what was backed up: {_listed(faults)}.")
    on_stage("verified")


@contextmanager
def _damage_named(catalog: BackupCatalog, name: BackupName) -> Iterator[None]:
    """Add to a failure which objects are not what they were when the backup was taken."""
    try:
        yield
    except WarehouseError as error:
        changed = _changed(catalog, name)
        if not changed and not isinstance(error, OperationFailed):
            raise
        suffix = f" ({_listed(changed)})" if changed else ""
        raise BackupDamaged(f"Backup {name} cannot be restored: {error}{suffix}{_another(catalog, name)}") from error


def _refuse_damaged(catalog: BackupCatalog, name: BackupName) -> None:
    """Make sure that every object of a backup is there, in its size, before the engine is troubled with it.

    Raises:
        BackupDamaged: One is not.
        NoInventory: Nobody knows what there should be.
    """
    faults = [fault for each in (name, name.base) if each for fault in _missing_or_cut(catalog, each)]
    if faults:
        raise BackupDamaged(f"Backup {name} is damaged: {_listed(faults)}.{_another(catalog, name)}")


def _missing_or_cut(catalog: BackupCatalog, name: BackupName) -> list[str]:
    now = {stored.key: stored.size for stored in catalog.written(name)}
    return [
        f"{key} is missing" if key not in now else f"{key} has {now[key]:,} bytes, and had {size:,}"
        for key, (size, _) in catalog.inventory(name).items()
        if now.get(key) != size
    ]


def _changed(catalog: BackupCatalog, name: BackupName) -> list[str]:
    """Objects with other content, going by their ETags; a copy may have another ETag and be good all the same."""
    changed = []
    for each in (name, name.base):
        if each is None:
            continue
        try:
            now = {stored.key: stored.etag for stored in catalog.written(each)}
            noted = catalog.inventory(each)
        except PipelineError as error:
            changed.append(str(error))
            continue
        changed += [f"{key} was changed since" for key, (_, etag) in noted.items() if now.get(key, etag) != etag]
    return changed


def _listed(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - _NAMED:,} more" if len(faults) > _NAMED else ""
    return "; ".join(faults[:_NAMED]) + more


def _another(catalog: BackupCatalog, name: BackupName) -> str:
    """A hint at the newest backup that does not rest on the same."""
    older = [each for each in catalog.good() if each.chain != name.chain and each < name]
    if not older:
        return " Take a new one with `h3-pipeline backup --full`."
    at = older[-1].taken_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f" `h3-pipeline restore --at {at}` takes an older one that does not rest on it."


def _refuse_to_overwrite(warehouse: Warehouse, target: Placement, manifest: BackupManifest, overwrite: bool) -> None:
    if overwrite:
        return
    tables = [table for table in manifest.tables if table != LEDGER]
    rows = {
        str(table): int(count)
        for table, count in warehouse.engine.rows(
            "SELECT table, sum(rows) FROM system.parts WHERE active AND database = {database:String} "
            "AND table IN {tables:Array(String)} AND rows > 0 GROUP BY table ORDER BY table",
            {"database": target.database, "tables": tables},
        )
    }
    if rows:
        held = ", ".join(f"{table} ({count:,})" for table, count in islice(rows.items(), _NAMED))
        raise WouldOverwrite(
            f"Nothing was restored: tables of {target.database} hold rows: {held}. To replace them by those of the "
            "backup, add --overwrite; to restore beside them, --to ANOTHER_DATABASE"
        )


def _not_loaded(warehouse: Warehouse, target: Placement, bucket: Bucket) -> list[str]:
    """Uploads in the bucket that the tables do not hold in this version, and that were not retracted in it."""
    events = history.latest(warehouse.engine, target)
    known = {event.upload: event.upload_etag for event in events}
    return [
        prefixes.key_of_object(stored.key)
        for stored in bucket.list(prefixes.UPLOADS)
        if known.get(prefixes.key_of_object(stored.key)) != stored.etag
    ]
