"""The local Dagster instance: a folder with its settings and its SQLite databases."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import yaml

EVENTS_AT_ONCE = {"DAGSTER_EVENT_BATCH_SIZE": "500"}
"""Events of many partitions that Dagster stores at once, as a variable; by default it stores each by itself."""


@contextmanager
def dagster_home(home: Path) -> Iterator[Path]:
    """Point ``DAGSTER_HOME`` at the instance of this home, unless the user has set another.

    Args:
        home: Folder of all local state.
    """
    given = os.environ.get("DAGSTER_HOME")
    if given:
        yield Path(given)
        return
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    text = resources.files("h3_pipeline.local").joinpath("dagster.yaml").read_text(encoding="utf-8")
    (folder / "dagster.yaml").write_text(f"{text}\n{_storages(folder)}", encoding="utf-8")
    ours = {"DAGSTER_HOME": str(folder), **EVENTS_AT_ONCE}
    ours = {name: value for name, value in ours.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield folder
    finally:
        for name in ours:
            del os.environ[name]


def _storages(folder: Path) -> str:
    """Our classes for the storages, which want to be told where Dagster's own keep them."""
    settings = {
        "run_storage": ("run_storage", "LastingSqliteRunStorage", folder / "history"),
        "event_log_storage": ("event_log", "LastingSqliteEventLog", folder / "history" / "runs"),
        "schedule_storage": ("schedule_storage", "LateSqliteScheduleStorage", folder / "schedules"),
    }
    return yaml.safe_dump(
        {
            storage: {"module": f"h3_pipeline.ops.{module}", "class": name, "config": {"base_dir": str(place)}}
            for storage, (module, name, place) in settings.items()
        }
    )
