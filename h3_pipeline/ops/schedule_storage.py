"""Dagster's schedules and sensors in SQLite, in a file that is not made before somebody asks: a load never does."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self

from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData
from filelock import FileLock
from sqlalchemy import Connection


class LateSqliteScheduleStorage(SqliteScheduleStorage):
    """Dagster's schedules and sensors in an SQLite file, which Dagster's own class makes at the first question.

    Args:
        folder: Where the file is.
        inst_data: Where `dagster.yaml` names this class.
    """

    def __init__(self, folder: Path, inst_data: ConfigurableClassData | None = None) -> None:
        self._folder = folder
        self._there = False
        self._making = Lock()
        super().__init__(create_db_conn_string(str(folder), "schedules"), inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "LateSqliteScheduleStorage":
        """As `dagster.yaml` names it."""
        return cls.from_local(inst_data=inst_data, **config_value)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The schedules in a folder, which is made if it does not exist."""
        return cls(Path(base_dir), inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in a transaction."""
        with self._making:
            if not self._there:
                self._folder.mkdir(parents=True, exist_ok=True)
                # the daemon and the webserver ask first at the same time
                with FileLock(self._folder / "schedules.lock"):
                    SqliteScheduleStorage.from_local(str(self._folder))
                self._there = True
        with super().connect() as connection:
            yield connection
