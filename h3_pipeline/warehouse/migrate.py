"""Brings the warehouse's tables up to date: numbered SQL files, and a ledger of those applied.

A file is one statement. Each is safe to run twice (``IF NOT EXISTS``), so a migration that was
killed before the ledger noted it is simply run again.
"""

import hashlib
import logging

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.warehouse.schema import Placement, trip_column_definitions
from h3_pipeline.warehouse.templates import migration_names, migration_text, render_migration

logger = logging.getLogger(__name__)

LEDGER = "schema_migrations"


def migrate(engine: ClickHouse, placement: Placement) -> list[str]:
    """Apply the migrations that the ledger does not know yet.

    Args:
        engine: The warehouse.
        placement: Database and cluster.

    Returns:
        Names of the migrations applied now.

    Raises:
        WarehouseError: A migration was changed after it was applied, or a newer version of the
            project has migrated this warehouse.
    """
    if not _exists(engine, placement):
        engine.command(f"CREATE DATABASE IF NOT EXISTS `{placement.database}` {placement.on_cluster()}")
        engine.command(
            f"CREATE TABLE IF NOT EXISTS {placement.table(LEDGER)} {placement.on_cluster()} "
            "(name String, checksum String, applied_at DateTime('UTC')) "
            f"ENGINE = {placement.engine('MergeTree')} ORDER BY name"
        )
    engine.use(placement.database)
    applied = engine.pairs(f"SELECT name, any(checksum) FROM {placement.table(LEDGER)} GROUP BY name")
    known = migration_names()
    if unknown := sorted(set(applied) - set(known)):
        raise WarehouseError(
            f"The warehouse was migrated by a newer version of h3_pipeline ({unknown[-1]}); update this installation"
        )
    done = []
    for name in known:
        checksum = hashlib.sha256(migration_text(name).encode()).hexdigest()
        if name not in applied:
            logger.info("migrating the warehouse: %s", name)
            engine.command(_render(name, placement))
            engine.command(
                f"INSERT INTO {placement.table(LEDGER)} VALUES ({{name:String}}, {{checksum:String}}, now('UTC'))",
                {"name": name, "checksum": checksum},
            )
            done.append(name)
        elif applied[name] != checksum:
            raise WarehouseError(
                f"Migration {name} was changed after it was applied to this warehouse; "
                "put its text back and add a new migration for the change"
            )
    return done


def _exists(engine: ClickHouse, placement: Placement) -> bool:
    found = engine.value(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {name:String}",
        {"database": placement.database, "name": LEDGER},
    )
    return bool(found)


def _render(name: str, placement: Placement) -> str:
    return render_migration(
        name,
        table=lambda table: f"{placement.table(table)} {placement.on_cluster()}",
        qualified=placement.table,
        engine=placement.engine,
        no_deduplication=placement.no_deduplication(),
        trip_columns=trip_column_definitions(),
    )
