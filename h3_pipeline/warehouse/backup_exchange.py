"""Puts restored tables in the place of the live ones, so that a kill at any instant loses nothing.

The engine exchanges two tables in one step, but not several pairs. So the intention is written down
first: a table in the restored database whose comment says which tables, by their UUID, are to be
in the live one. Whoever opens the warehouse next and finds it completes the exchange, before anything else.
The tables that were live until then go with the restored database, which is dropped at last.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from uuid import UUID

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import identifier, literal
from h3_pipeline.warehouse.lock import Lease, PublishLock
from h3_pipeline.warehouse.publish import OnStage
from h3_pipeline.warehouse.schema import Placement

logger = logging.getLogger(__name__)

_DUE = "exchange_due"


def exchange(
    engine: ClickHouse, placement: Placement, restored: str, tables: Sequence[str], lease: Lease, on_stage: OnStage
) -> None:
    """Put tables in the place of the live ones and drop the database in which the live ones then are.

    Args:
        engine: The warehouse.
        placement: The live database.
        restored: Database with the tables that are to be live.
        tables: Their names; all are in the live database too.
        lease: The right to publish.
        on_stage: Told the name of each stage as it begins.
    """
    wanted = {name: str(found) for name, found in _uuids(engine, restored).items() if name in tables}
    lease.check()
    engine.command(
        f"CREATE TABLE {identifier(restored)}.{_DUE} {placement.on_cluster()} (nothing UInt8) ENGINE = Null "
        f"COMMENT {literal(json.dumps(wanted))}"
    )
    on_stage("exchange due")
    _complete(engine, placement, restored, wanted, lease, on_stage)


def finish_interrupted_exchange(engine: ClickHouse, placement: Placement, lock: PublishLock) -> bool:
    """Complete an exchange that was killed in the middle.

    Returns:
        Whether there was one.
    """
    if not _due(engine, placement):
        return False
    with lock.hold("completing a restore that was interrupted") as lease:
        for restored, wanted in _due(engine, placement).items():
            logger.warning("completing a restore that was interrupted: %s", restored)
            _complete(engine, placement, restored, wanted, lease, logger.debug)
    return True


def exchange_is_due(engine: ClickHouse, restored: str) -> bool:
    """Whether a database holds tables whose exchange has begun."""
    return _DUE in _uuids(engine, restored)


def _complete(
    engine: ClickHouse,
    placement: Placement,
    restored: str,
    wanted: Mapping[str, str],
    lease: Lease,
    on_stage: OnStage,
) -> None:
    # the ledger of migrations last: while it is the old one, the tables' columns are what it says, or older
    for name in sorted(wanted, key=lambda name: (name == "schema_migrations", name)):
        engine.repeat(lambda name=name: _exchange_one(engine, placement, restored, name, wanted[name], lease))
        on_stage(f"restored {name}")
    live = _uuids(engine, placement.database)
    if wrong := [name for name, uuid in wanted.items() if str(live.get(name)) != uuid]:
        raise WarehouseError(
            f"The tables {', '.join(wrong)} of {placement.database} are not the restored ones, which are in "
            f"{restored}: another process renamed them. Open the warehouse again to complete the restore."
        )
    engine.command(f"DROP DATABASE IF EXISTS {identifier(restored)} {placement.on_cluster()} SYNC", repeatable=True)
    on_stage("old tables dropped")


def _exchange_one(
    engine: ClickHouse, placement: Placement, restored: str, name: str, wanted: str, lease: Lease
) -> None:
    """Exchange a table unless that is done; so it may be called again when the outcome is unknown."""
    live = _uuids(engine, placement.database).get(name)
    if str(live) == wanted:
        return
    lease.check()
    ours, restored_one = placement.table(name), f"{identifier(restored)}.{identifier(name)}"
    # a table that later migrations did away with is in the backup only
    action = f"EXCHANGE TABLES {ours} AND {restored_one}" if live else f"RENAME TABLE {restored_one} TO {ours}"
    engine.command(f"{action} {placement.on_cluster()}")


def _due(engine: ClickHouse, placement: Placement) -> dict[str, dict[str, str]]:
    """Restored databases whose exchange has begun, and the UUIDs of the tables that are to be live."""
    rows = engine.rows(
        "SELECT database, comment FROM system.tables "
        "WHERE startsWith(database, {prefix:String}) AND name = {due:String}",
        {"prefix": f"{placement.database}__restore_", "due": _DUE},
    )
    return {str(database): json.loads(comment) for database, comment in rows}


def _uuids(engine: ClickHouse, database: str) -> dict[str, UUID]:
    rows = engine.rows(
        "SELECT name, uuid FROM system.tables WHERE database = {database:String}", {"database": database}
    )
    return {str(name): uuid for name, uuid in rows}
