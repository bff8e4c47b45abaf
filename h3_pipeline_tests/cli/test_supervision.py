"""Signals: whatever a command is doing, it ends, and leaves nothing running."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from h3_pipeline.local import object_store
from h3_pipeline_tests.cli.conftest import PROGRAM, SECONDS, environment, one_error_line

ENDLESS = "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job would not hear Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.kill()
        command.communicate(timeout=SECONDS)
        object_store.stop(home)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)


def worker(command: subprocess.Popen[str]) -> psutil.Process:
    """The process that does a command's work."""
    (child,) = psutil.Process(command.pid).children()
    return child


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_statement_of_the_engine_can_be_interrupted(tmp_path: Path, number: int, code: int) -> None:
    home = tmp_path / "home"
    with running(home, "query", ENDLESS) as command:
        eventually(lambda: (home / "warehouse" / "store").exists())
        child = worker(command)
        command.send_signal(number)
        out, err = command.communicate(timeout=SECONDS)
    assert (command.returncode, out) == (code, "")
    assert one_error_line(err) == "interrupted"
    assert not child.is_running()


def test_a_command_that_the_system_kills_is_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "home", "query", ENDLESS) as command:
        eventually(lambda: psutil.Process(command.pid).children())
        worker(command).kill()
        _, err = command.communicate(timeout=SECONDS)
    assert command.returncode == 1
    assert "SIGKILL" in one_error_line(err)


def test_a_killed_command_leaves_no_worker(tmp_path: Path) -> None:
    with running(tmp_path / "home", "query", ENDLESS) as command:
        eventually(lambda: psutil.Process(command.pid).children())
        child = worker(command)
        command.kill()
        psutil.wait_procs([child], timeout=SECONDS)
        assert not child.is_running()


@pytest.mark.slow
def test_an_interrupted_load_leaves_no_object_store(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "demo", "--rows", "100000") as command:
        eventually(lambda: command.poll() is not None or list(home.glob("tasks/*/engine")))
        assert object_store.running(home)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=SECONDS)
        assert command.returncode == 130
        assert one_error_line(err) == "interrupted"
        assert object_store.running(home) is None


LATER = {
    "query": [*PROGRAM, "query", "SELECT 1 AS one", "--format", "csv"],
    # as a step of Dagster does it, which cannot be told whom to tell
    "step": [
        sys.executable,
        "-c",
        "from h3_pipeline.cli import process; from h3_pipeline.settings import Settings\n"
        "from h3_pipeline.warehouse.connect import open_warehouse\n"
        "process.quieten()\n"
        "with open_warehouse(Settings.load(), None): print('open')",
    ],
}


@pytest.mark.parametrize("kind", LATER)
def test_a_command_that_waits_for_the_warehouse_says_so(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with FileLock(home / "warehouse.lock"):
        command = subprocess.Popen(
            LATER[kind], env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert command.stderr
        said = command.stderr.readline()
    out, rest = command.communicate(timeout=SECONDS)
    assert said.startswith(f"The warehouse at {home / 'warehouse'} is in use by another process")
    assert (command.returncode, out, rest) == (0, '"one"\n1\n' if kind == "query" else "open\n", "")
