"""Dagster's runs in SQLite, without a new engine for each question: as `ops.event_log` for the events.

The file is the same, so that either class reads what the other wrote.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from dagster._core.storage.runs import InstanceInfo, RunStorageSqlMetadata, SqliteRunStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import SqliteStorageConfig
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.pool import NullPool

from h3_pipeline.ops.dagster_tables import Tables, make_tables


class LastingSqliteRunStorage(SqliteRunStorage):
    """Dagster's runs in an SQLite file, with an engine that lasts."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine = create_engine(conn_string, poolclass=NullPool)
        super().__init__(conn_string, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: SqliteStorageConfig
    ) -> "LastingSqliteRunStorage":
        """As `dagster.yaml` names it."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The runs in a folder, which is made if it does not exist."""
        Path(base_dir).mkdir(parents=True, exist_ok=True)
        storage = cls(create_db_conn_string(base_dir, "runs"), inst_data)
        tables = make_tables(storage._engine, RunStorageSqlMetadata)
        if tables is Tables.MADE:
            # nothing is there to be migrated, which they note
            storage.migrate()
            storage.optimize()
        elif tables is Tables.UNCLEAR or not inspect(storage._engine).has_table(InstanceInfo.name):
            return super().from_local(base_dir, inst_data)
        return storage

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        with self._engine.begin() as connection:
            yield connection
