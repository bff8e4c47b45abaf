"""Databases beside the warehouse's own, for as long as one piece of work lasts.

Their names say of which database, for what and since when, so that what a killed process left is found
and dropped by the next one.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.sql import identifier
from h3_pipeline.warehouse.backup_catalog import ABANDONED_AFTER
from h3_pipeline.warehouse.backup_exchange import exchange_is_due
from h3_pipeline.warehouse.lock import ProcessLock, PublishLock
from h3_pipeline.warehouse.schema import Placement

logger = logging.getLogger(__name__)

_STAMP = "%Y%m%dT%H%M%S%f"


class Purpose(StrEnum):
    """What a database beside is for."""

    SNAPSHOT = "snapshot"
    DRILL = "drill"
    RESTORE = "restore"


@contextmanager
def scratch_database(engine: ClickHouse, placement: Placement, lock: PublishLock, purpose: Purpose) -> Iterator[str]:
    """An empty database beside the warehouse's, dropped afterwards.

    Args:
        engine: The warehouse.
        placement: Its database, and its cluster.
        lock: Tells whether another process can be at work in the same warehouse.
        purpose: What for.
    """
    drop_leftovers(engine, placement, lock)
    name = f"{_prefix(placement)}{purpose}_{engine_now(engine).strftime(_STAMP)}"
    engine.command(f"CREATE DATABASE {identifier(name)} {placement.on_cluster()}")
    try:
        yield name
    finally:
        try:
            if not exchange_is_due(engine, name):
                drop_database(engine, placement, name)
        except QueryError as error:
            # what failed has its own message; the next piece of work drops it
            logger.warning("the database %s was not dropped: %s", name, error)


def drop_leftovers(engine: ClickHouse, placement: Placement, lock: PublishLock) -> list[str]:
    """Drop what processes left that were killed, but not what one may still be at work on.

    Returns:
        The databases' names.
    """
    alone = isinstance(lock, ProcessLock)
    now = engine_now(engine)
    dropped = []
    for name, made_at in _found(engine, placement):
        if (alone or now - made_at > ABANDONED_AFTER) and not exchange_is_due(engine, name):
            drop_database(engine, placement, name)
            dropped.append(name)
    return dropped


def drop_database(engine: ClickHouse, placement: Placement, name: str) -> None:
    """Drop a database and wait until its files are gone."""
    engine.command(f"DROP DATABASE IF EXISTS {identifier(name)} {placement.on_cluster()} SYNC", repeatable=True)


def _found(engine: ClickHouse, placement: Placement) -> list[tuple[str, datetime]]:
    prefix = _prefix(placement)
    pattern = re.compile(rf"{re.escape(prefix)}(?:{'|'.join(Purpose)})_(\d{{8}}T\d{{12}})")
    rows = engine.rows(
        "SELECT name FROM system.databases WHERE startsWith(name, {prefix:String})",
        {"prefix": prefix},
    )
    matches = [pattern.fullmatch(str(name)) for (name,) in rows]
    return [(match[0], datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)) for match in matches if match]


def engine_now(engine: ClickHouse) -> datetime:
    """The engine's clock, UTC, to the millisecond: the only one that all processes share."""
    milliseconds = int(engine.value("SELECT toUnixTimestamp64Milli(now64(3))"))
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _prefix(placement: Placement) -> str:
    return f"{placement.database}__"
