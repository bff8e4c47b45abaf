"""The engine of one task: embedded, in a folder of its own, gone when the task is done."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from h3_pipeline.clickhouse.embedded import EmbeddedClickHouse, open_embedded
from h3_pipeline.storage.bucket import BucketAccess
from h3_pipeline.storage.named_collection import named_collection_configuration


@dataclass(frozen=True, slots=True)
class TaskEngine:
    """The engine, and a folder on disk beside it for what must be unpacked."""

    clickhouse: EmbeddedClickHouse
    scratch: Path

    @contextmanager
    def on_one_core(self) -> Iterator["TaskEngine"]:
        """The same engine for another thread, whose statements take one core each."""
        with self.clickhouse.another({"max_threads": 1, "max_insert_threads": 1}) as clickhouse:
            yield TaskEngine(clickhouse, self.scratch)


@contextmanager
def open_task_engine(home: Path, access: BucketAccess) -> Iterator[TaskEngine]:
    """Open a task's engine.

    Tasks do not share anything, so any number of them run side by side.

    Args:
        home: Folder of all local state.
        access: The bucket.
    """
    with task_folder(home) as folder, open_engine_in(folder, access) as clickhouse:
        yield TaskEngine(clickhouse, folder)


@contextmanager
def open_engine_in(folder: Path, access: BucketAccess) -> Iterator[EmbeddedClickHouse]:
    """Open the engine of a task whose folder is there already."""
    with open_embedded(folder / "engine", configuration=named_collection_configuration(access)) as clickhouse:
        yield clickhouse


@contextmanager
def task_folder(home: Path) -> Iterator[Path]:
    """A folder for one task. One that a killed task left behind is removed by the next task."""
    tasks = home / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(tasks)
    folder = tasks / uuid4().hex
    folder.mkdir()
    with FileLock(_lock_of(folder)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _remove_abandoned(tasks: Path) -> None:
    for lock_file in tasks.glob("*.lock"):
        lock = FileLock(lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # its task is alive
        try:
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock_file.unlink(missing_ok=True)
        finally:
            lock.release()
