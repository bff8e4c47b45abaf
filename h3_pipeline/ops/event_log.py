"""Dagster's event log in SQLite, without a new engine for each question.

Dagster's own makes an SQLAlchemy engine for every connection. An engine keeps the statements that it has
compiled, so each of an event's five is compiled anew: more work than all else that an event is. The files
are the same, so that either class reads what the other wrote.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from dagster import EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqlEventLogStorageMetadata, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import SqliteStorageConfig
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.event import listen
from sqlalchemy.pool import NullPool, QueuePool

from h3_pipeline.ops.dagster_tables import Tables, make_tables

_ENGINES = 32
"""Databases whose statements are kept; there is one a run, and one for all of them."""


def _trust_the_operating_system(connection: sqlite3.Connection, _: object) -> None:
    """Do not wait for the disk with each event: a killed process loses nothing, a power failure the last few events.

    The files stay sound. What was loaded is told by the warehouse, and a run that is not known to have ended is
    run again.
    """
    connection.execute("PRAGMA synchronous = NORMAL")


class LastingSqliteEventLog(SqliteEventLogStorage):
    """Dagster's event log in SQLite files, one a run, with an engine for each file that lasts."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = lru_cache(_ENGINES)(self._new_engine)
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> "LastingSqliteEventLog":
        """As `dagster.yaml` names it."""
        return cls(inst_data=inst_data, **config_value)

    def _new_engine(self, shard: str) -> Engine:
        # a run's connections do not last: who watches it waits for its file to change, which it does when one is closed
        pool = QueuePool if shard == INDEX_SHARD_NAME else NullPool
        engine = create_engine(
            self.conn_string_for_shard(shard),
            poolclass=pool,
            connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
        )
        listen(engine, "connect", _trust_the_operating_system)
        return engine

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        if make_tables(engine, SqlEventLogStorageMetadata) is Tables.UNCLEAR:
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store what Dagster says of many partitions at once: those of a run in one transaction for each file."""
        by_run: dict[str, list[EventLogEntry]] = {}
        for event in events:
            if event.dagster_event_type in ASSET_EVENTS:
                by_run.setdefault(event.run_id, []).append(event)
            else:
                self.store_event(event)
        for run_id, of_assets in by_run.items():
            inserts = [self.prepare_insert_event(event) for event in of_assets]
            with self.run_connection(run_id) as connection:
                for insert in inserts:
                    connection.execute(insert)
            with self.index_transaction() as connection:
                keys = [connection.execute(insert).inserted_primary_key for insert in inserts]
                ids = [key[0] for key in keys if key is not None]
                self._store_asset_event_tags(connection, of_assets, ids)
                for event, event_id in _last_of_each(of_assets, ids):
                    self._store_asset_event(connection, event, event_id)

    def dispose(self) -> None:
        """Close what is open."""
        self._engine(INDEX_SHARD_NAME).dispose()
        super().dispose()

    def has_table(self, table_name: str) -> bool:
        """Whether a table is there; asked with every event."""
        if table_name in self._tables:
            return True
        # asked while a connection is open, so not by way of `_connect`
        engine = self._engine(INDEX_SHARD_NAME)
        with engine.connect() as connection:
            found = bool(engine.dialect.has_table(connection, table_name))
        if found:  # tables come with a new version of Dagster, and never go
            self._tables.add(table_name)
        return found


def _last_of_each(events: Sequence[EventLogEntry], ids: Sequence[int]) -> Iterator[tuple[EventLogEntry, int]]:
    """Of each asset, the last event of each kind: an asset's row holds that one alone."""
    last = {(event.get_dagster_event().asset_key, event.dagster_event_type): at for at, event in enumerate(events)}
    return ((events[at], ids[at]) for at in sorted(last.values()))
