"""Dagster's instance in a home: with the project's storages, and with Dagster's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance

from h3_pipeline.local.dagster_home import dagster_home


@contextmanager
def ours(home: Path) -> Iterator[DagsterInstance]:
    with dagster_home(home) as folder, DagsterInstance.from_config(str(folder)) as instance:
        yield instance


@contextmanager
def dagsters(home: Path) -> Iterator[DagsterInstance]:
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with DagsterInstance.from_config(str(folder)) as instance:
        yield instance
