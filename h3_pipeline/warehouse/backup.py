"""Takes a backup of the warehouse: all of its tables, as they were at one instant between two publications.

The engine backs up table after table, and loads would go on meanwhile. So, with the publishing lock held
for a moment, the tables are cloned into a database beside, which copies no data; what follows reads the clones.
On a cluster, clones would be another table to each replica: there the lock is held until the end.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import identifier
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse import publications
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, BackupManifest, BackupName
from h3_pipeline.warehouse.backup_content import contents, kept_tables
from h3_pipeline.warehouse.backup_operation import OnProgress, Operation, OperationFailed, unwatched
from h3_pipeline.warehouse.backup_scratch import Purpose, engine_now, scratch_database
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import LEDGER
from h3_pipeline.warehouse.publish import OnStage

logger = logging.getLogger(__name__)

KEEP_CHAINS = 4


@dataclass(frozen=True, slots=True)
class _Source:
    """Tables that do not change while they are read.

    Attributes:
        database: Where they are.
        tables: Their names.
        taken_at: Since when they do not change, UTC.
        locked_seconds: How long no upload could be published; so far, where the lock is still held.
    """

    database: str
    tables: list[str]
    taken_at: datetime
    locked_since: float
    locked_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TakenBackup:
    """What taking a backup did.

    Attributes:
        manifest: The backup.
        removed: Older backups, and remains, that were removed after it.
    """

    manifest: BackupManifest
    removed: list[str] = field(default_factory=list)


def take_backup(
    warehouse: Warehouse,
    bucket: Bucket,
    *,
    full: bool = False,
    keep_chains: int = KEEP_CHAINS,
    on_progress: OnProgress = unwatched,
    on_stage: OnStage = logger.debug,
) -> TakenBackup:
    """Back up every table to the bucket, and remove the backups that it makes superfluous.

    The backup is incremental where a full one is young enough to rest on.

    Args:
        warehouse: The warehouse.
        bucket: The bucket.
        full: Take a full one in any case.
        keep_chains: Full backups to keep, each with all that rest on it.
        on_progress: Told now and then how far the engine is.
        on_stage: Told the name of each stage when it is reached.

    Raises:
        WarehouseError: The engine could not write it. What it wrote until then counts for nothing.
        StorageError: The bucket failed.
    """
    began = time.monotonic()
    catalog = BackupCatalog(bucket, warehouse.placement.database)
    with _unchanging(warehouse, on_stage) as source:
        name = BackupName(source.taken_at)
        base = None if full else catalog.base_for(source.taken_at)
        if base is not None:
            name = BackupName(source.taken_at, base.taken_at)
        manifest = _write(warehouse, catalog, source, name, began, on_progress, on_stage)
    removed = [*catalog.outdated(keep_chains), *catalog.abandoned(source.taken_at)]
    catalog.remove(removed)
    on_stage("superfluous removed")
    return TakenBackup(manifest, [str(each) for each in removed])


def _write(
    warehouse: Warehouse,
    catalog: BackupCatalog,
    source: _Source,
    name: BackupName,
    began: float,
    on_progress: OnProgress,
    on_stage: OnStage,
) -> BackupManifest:
    engine, placement = warehouse.engine, warehouse.placement
    found = contents(engine, source.database, source.tables)
    on_stage("counted")
    size = _bytes_on_disk(engine, source.database)
    operation = Operation(engine, placement, source.tables, source.database, placement.database, catalog.data(name))
    try:
        operation.back_up(catalog.data(name.base) if name.base else None, size, on_progress)
    except OperationFailed as error:
        if name.base is None:
            raise
        raise OperationFailed(
            f"{error} The backup was to rest on {name.base}; if that one is damaged, `h3-pipeline backup --full` "
            "takes one that rests on none."
        ) from error
    on_stage("written")
    objects = catalog.written(name)
    if not objects:
        raise WarehouseError(
            f"{engine.where} wrote the backup, but {catalog.bucket} has nothing below {catalog.data(name)}: the "
            "engine's named collection trips_bucket leads to another bucket"
        )
    now = time.monotonic()
    manifest = BackupManifest(
        name=str(name),
        kind=name.kind,
        base=str(name.base) if name.base else None,
        database=placement.database,
        taken_at=name.taken_at,
        seconds=round(now - began, 3),
        locked_seconds=round(source.locked_seconds or now - source.locked_since, 3),
        objects=len(objects),
        size=sum(stored.size for stored in objects),
        restored_size=size,
        engine_version=str(engine.value("SELECT version()")),
        code_version=version("h3_pipeline"),
        migrations=_migrations(engine, source.database),
        tables=found,
        publications=_publication_states(engine, source.database),
    )
    catalog.seal(name, manifest, objects)
    on_stage("sealed")
    return manifest


@contextmanager
def _unchanging(warehouse: Warehouse, on_stage: OnStage) -> Iterator[_Source]:
    """The tables at an instant at which no upload is half published."""
    engine, placement = warehouse.engine, warehouse.placement
    with ExitStack() as stack:
        if placement.cluster:
            stack.enter_context(warehouse.lock.hold("taking a backup"))
            locked = time.monotonic()
            yield _Source(placement.database, kept_tables(engine, placement.database), engine_now(engine), locked)
            return
        snapshot = stack.enter_context(scratch_database(engine, placement, warehouse.lock, Purpose.SNAPSHOT))
        with warehouse.lock.hold("taking a backup") as lease:
            on_stage("locked")
            locked = time.monotonic()
            tables = kept_tables(engine, placement.database)
            for table in tables:
                clone = f"{identifier(snapshot)}.{identifier(table)}"
                engine.command(f"CREATE TABLE {clone} CLONE AS {placement.table(table)}")
                # the clones are to be read once: merging them would only cost disk and time
                engine.command(f"SYSTEM STOP MERGES {clone}", repeatable=True)
            taken_at = engine_now(engine)
            lease.check()
            seconds = time.monotonic() - locked
        on_stage("snapshot taken")
        yield _Source(snapshot, tables, taken_at, locked, seconds)


def _bytes_on_disk(engine: ClickHouse, database: str) -> int:
    return int(
        engine.value(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = {database:String}",
            {"database": database},
        )
    )


def _migrations(engine: ClickHouse, database: str) -> list[str]:
    rows = engine.rows(f"SELECT DISTINCT name FROM {identifier(database)}.{LEDGER} ORDER BY name")
    return [str(name) for (name,) in rows]


def _publication_states(engine: ClickHouse, database: str) -> dict[str, int]:
    states = engine.pairs(
        f"SELECT toString(state), count() FROM {identifier(database)}.{publications.TABLE} FINAL GROUP BY state"
    )
    return {str(state): int(months) for state, months in states.items()}
