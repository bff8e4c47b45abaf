"""The engine inside this process (chDB), and the lock that lets one process at a time open it."""

import logging
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from filelock import FileLock, Timeout

from h3_pipeline.clickhouse.client import ClickHouse, EngineSettings, Parameters
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import assignments, literal

logger = logging.getLogger(__name__)

MEMORY_LIMIT_BYTES = 1_000_000_000
"""What the engine may allocate: with Python beside it, a task stays below 1.5 GB."""

_SETTINGS: Mapping[str, int | str] = {
    # by default the engine takes one core where it may not have gigabytes for each; our statements are made for less
    "max_threads_min_free_memory_per_thread": 0,
    "max_insert_threads_min_free_memory_per_thread": 0,
    # by default files are mapped, and the whole of a large one counts as the process's memory
    "storage_file_read_method": "pread",
}

LOCK_WAIT_SECONDS = 3600.0
_QUIET_SECONDS = 1.0


class EmbeddedClickHouse(ClickHouse):
    """The engine in this process, which sets a command's settings all at once.

    Its client looks every one of them up, and sets and takes them back one by one: that takes longer than most
    commands do. What is set meanwhile is the whole connection's, so it is for one thread.

    Args:
        connect: Connects a client to the engine that has settings of its own.
        standing: The settings.
    """

    def __init__(self, connect: Callable[[EngineSettings], Client], standing: EngineSettings) -> None:
        super().__init__(connect(standing), "the embedded engine", comments=False)
        self._connect = connect
        self._standing = standing

    def another(self, settings: EngineSettings) -> "EmbeddedClickHouse":
        """One more connection, for another thread; to be closed before this one.

        Args:
            settings: What it has set otherwise.
        """
        return EmbeddedClickHouse(self._connect, {**self._standing, **settings})

    def command(
        self,
        sql: str,
        parameters: Parameters | None = None,
        settings: EngineSettings | None = None,
        *,
        repeatable: bool = False,
    ) -> None:
        """As `ClickHouse.command`, its settings set at once."""
        if not settings:
            super().command(sql, parameters, repeatable=repeatable)
            return
        before = {name: literal(self._standing[name]) if name in self._standing else "DEFAULT" for name in settings}
        try:
            super().command(f"SET {assignments(settings)}")
            super().command(sql, parameters, repeatable=repeatable)
        finally:
            super().command("SET " + ", ".join(f"{name} = {value}" for name, value in before.items()))


@contextmanager
def open_embedded(
    path: Path,
    *,
    configuration: str = "",
    may_set: bool = True,
    wait_seconds: float = LOCK_WAIT_SECONDS,
    on_wait: Callable[[str], None] = logger.info,
) -> Iterator[EmbeddedClickHouse]:
    """Open the engine on a folder, once no other process has it open.

    chDB allows one process per folder and one folder per process. The lock is the operating
    system's, so a process that is killed lets go of it.

    Args:
        path: Folder of the engine's data; made if it does not exist.
        configuration: XML elements for the engine's configuration, such as a named collection.
        may_set: Whether the configuration's user may change settings; one who may only read may not.
        wait_seconds: How long to wait for another process.
        on_wait: Told once, in words, that there is a wait.

    Raises:
        WarehouseError: Another process kept it for too long, or the engine does not open.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(path.name + ".lock"), is_singleton=True, thread_local=False)
    _acquire(lock, path, wait_seconds, on_wait)
    try:
        with (
            _configuration_file(path, configuration) as file,
            _connected(path, file, _SETTINGS if may_set else {}) as engine,
        ):
            yield engine
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, wait_seconds: float, on_wait: Callable[[str], None]) -> None:
    try:
        lock.acquire(timeout=min(_QUIET_SECONDS, wait_seconds))
    except Timeout:
        on_wait(f"The warehouse at {path} is in use by another process; waiting for it to finish.")
    else:
        return
    try:
        lock.acquire(timeout=max(wait_seconds - _QUIET_SECONDS, 0))
    except Timeout:
        raise WarehouseError(
            f"The warehouse at {path} has been in use by another process for {wait_seconds:.0f} s. "
            "Wait for that command or run to end, or stop it, and try again."
        ) from None


@contextmanager
def _connected(path: Path, configuration_file: Path, settings: EngineSettings) -> Iterator[EmbeddedClickHouse]:
    def connect(settings: EngineSettings) -> Client:
        try:
            return clickhouse_connect.get_client(
                interface="chdb",
                path=str(path),
                chdb_options={"config-file": str(configuration_file)},
                settings=dict(settings),
            )
        except ClickHouseError as error:
            raise WarehouseError(f"The embedded warehouse at {path} does not open: {error}") from error

    with EmbeddedClickHouse(connect, settings) as engine:
        engine.prove_h3_argument_order()
        yield engine


@contextmanager
def _configuration_file(engine: Path, elements: str) -> Iterator[Path]:
    """A configuration that only we can read (it may hold a credential), removed afterwards.

    It lies beside the engine's folder and is ours by the lock, so one that a killed process left
    behind is overwritten.
    """
    path = engine.with_name(engine.name + ".xml")
    path.unlink(missing_ok=True)
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    try:
        path.write_text(_configuration(elements), encoding="utf-8")
        yield path
    finally:
        path.unlink(missing_ok=True)


def _configuration(elements: str) -> str:
    # without console=0 the engine logs every step to a terminal, whatever the level
    return f"""<clickhouse>
  <logger><level>none</level><console>0</console></logger>
  <max_server_memory_usage>{MEMORY_LIMIT_BYTES}</max_server_memory_usage>
  <mark_cache_size>33554432</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_mark_cache_size>0</index_mark_cache_size>
  <!-- with fewer, a mutation waits seconds for its turn behind merges -->
  <background_pool_size>8</background_pool_size>
  {elements}
</clickhouse>
"""


def element(name: str, value: str) -> str:
    """One XML element of the engine's configuration."""
    return f"<{name}>{escape(value)}</{name}>"
