"""The command line on a home of its own: in this process, or as the real program."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from h3_pipeline.cli import run
from h3_pipeline.local import object_store
from h3_pipeline.settings import Settings

PROGRAM = [sys.executable, "-c", "from h3_pipeline.cli import main; main()"]
"""The console script, whether or not it is installed."""

SECONDS = 300
"""No command here takes so long, even on a busy machine."""

TRIPS = """\
region,origin_coord,destination_coord,datetime,datasource
Prague,POINT (14.4973794438195 50.00136875782316),POINT (14.43109483523328 50.04052930943246),2018-05-28 09:03:40,a
Prague,POINT (14.42 50.08),POINT (14.43 50.09),2018-05-29 10:00:00,a
Prague,POINT (14.42 50.08),POINT (14.43 50.09),2018-06-01 10:00:00,b
Prague,POINT (0 0),POINT (14.43 50.09),2018-05-29 10:00:00,b
"""
"""Four trips, the last of them at null island."""


def own_settings() -> list[str]:
    """Variables of the project's settings, and of what else would lead a test elsewhere."""
    mine = [name.upper() for name in Settings.model_fields]
    return [*mine, "AWS_DEFAULT_REGION", "DAGSTER_HOME", "H3_PIPELINE_DEBUG"]


def environment(home: Path, **settings: str) -> dict[str, str]:
    """A process environment with these settings and no other."""
    inherited = {name: value for name, value in os.environ.items() if name not in own_settings()}
    repository = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [repository, inherited.get("PYTHONPATH")]))
    return {**inherited, "PYTHONPATH": path, "H3_PIPELINE_HOME": str(home), **settings}


@dataclass(frozen=True)
class Program:
    """Runs the real program on a home."""

    home: Path

    def __call__(self, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env=environment(self.home, **settings),
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for commands in this process; its server is gone after the test however it ended."""
    for name in own_settings():
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("H3_PIPELINE_HOME", str(folder))
    monkeypatch.setattr(logging, "lastResort", logging.lastResort)  # commands change it
    yield folder
    object_store.stop(folder)


@pytest.fixture
def cli(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command in this process."""

    def command(*arguments: str | Path) -> Answer:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        streams = capfd.readouterr()
        return Answer(code, streams.out, streams.err)

    return command


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess[str]]]:
    """A home into which a good file and one with an unknown header went, and what ``ingest --json`` said.

    Tests share the home: they may look, not change.
    """
    folder = tmp_path_factory.mktemp("ingested")
    (folder / "good.csv").write_text(TRIPS)
    (folder / "strange.csv").write_text("a,b\n1,2\n")
    home = folder / "home"
    program = Program(home)
    answer = program("ingest", folder / "good.csv", folder / "strange.csv", "--to", "trips", "--json")
    yield home, answer
    object_store.stop(home)


@pytest.fixture
def loaded(
    ingested: tuple[Path, subprocess.CompletedProcess[str]], home: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The shared home, for commands in this process."""
    monkeypatch.setenv("H3_PIPELINE_HOME", str(ingested[0]))
    return ingested[0]


def gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether processes have ended; one that was just killed is given a moment to be buried."""
    return psutil.wait_procs(processes, timeout=20)[1] == []


def one_error_line(err: str) -> str:
    """The message of the error that is all there is on stderr."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
