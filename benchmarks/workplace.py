"""Folders, Pythons and environments of the processes that are measured."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import REPOSITORY

BENCH_PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
"""Has what the other contenders need; `make bench-venv` makes it."""

PIPELINE_PYTHON = Path(sys.executable)

_NOT_INHERITED = ("AWS_", "CLICKHOUSE_", "DAGSTER_", "H3_", "OTEL_", "S3_")


def environment(*more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of the pipeline, and some more variables."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    for each in more:
        mine |= each
    return mine


@contextmanager
def work_folder(given: Path | None, *, reused: str | None = None) -> Iterator[Path]:
    """A folder for files, the object store and warehouses; removed at the end.

    Args:
        given: Make it in here, for a disk with room; None takes the system's place for such folders.
        reused: Take the folder of this name in the given one, and keep it for the next time.
    """
    if given is not None and reused is not None:
        folder = given / reused
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="h3-bench-", dir=given) as name:
        yield Path(name).resolve()
