"""A process's time, memory and end are told as they were."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import processes
from benchmarks.processes import Measured, high_water_mark, run

MIB = 2**20


def python(code: str, folder: Path, *, timeout: float = 60, memory_limit: int | None = None) -> Measured:
    return run(
        [sys.executable, "-c", code],
        environment=os.environ,
        folder=folder,
        output=folder,
        timeout=timeout,
        memory_limit=memory_limit,
    )


# a process lives until it was looked at, however busy the machine is
UNTIL_SEEN = """
import pathlib, time
while not pathlib.Path("seen").exists():
    time.sleep(0.02)
"""


def fill(mebibytes: int) -> str:
    return f"b = bytearray({mebibytes} << 20); b[::4096] = b'x' * len(b[::4096])"


def test_memory_that_was_given_back_counts_and_that_of_the_caller_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(pid: int) -> int:
        mark = high_water_mark(pid)
        if mark > 100 * MIB:
            (tmp_path / "seen").touch()
        return mark

    monkeypatch.setattr(processes, "high_water_mark", look)
    ours = bytearray(200 * MIB)  # what a forked child would begin with
    ours[:: MIB // 256] = b"x" * len(ours[:: MIB // 256])
    measured = python(f"{fill(100)}\ndel b\n{UNTIL_SEEN}\nprint('done')", tmp_path)
    assert measured.failure is None
    assert measured.output == "done\n"
    assert 100 * MIB < measured.peak_bytes < 180 * MIB
    assert measured.cpu_seconds > 0
    assert measured.seconds > 0
    assert high_water_mark(os.getpid()) > 200 * MIB
    del ours


def test_children_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = processes._memory

    def look(process: psutil.Process) -> int:
        size = memory(process)
        if size > 60 * MIB:
            (tmp_path / "seen").touch()
        return size

    monkeypatch.setattr(processes, "_memory", look)
    hold = f"{fill(60)}\n{UNTIL_SEEN}"
    measured = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])", tmp_path)
    assert measured.peak_bytes > 70 * MIB


def test_a_failure_is_told_with_its_last_lines(tmp_path: Path) -> None:
    measured = python("raise SystemExit('no such thing')", tmp_path)
    assert measured.failure is not None
    assert measured.failure.startswith("exit code 1")
    assert measured.failure.endswith("no such thing")


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    measured = python("import time; time.sleep(60)", tmp_path, timeout=0.5)
    assert measured.failure == "killed: it took too long"


def test_one_that_wants_too_much_memory_is_killed(tmp_path: Path) -> None:
    code = f"{fill(300)}; import time; time.sleep(60)"
    measured = python(code, tmp_path, memory_limit=200 * MIB)
    assert measured.failure is not None
    assert "memory" in measured.failure


def test_one_that_is_given_up_does_not_stay(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys, threading, time
from pathlib import Path
from benchmarks.processes import run
here = Path({str(tmp_path)!r})
said = here / "stdout.txt"
def give_up():
    while not (said.exists() and said.read_text().endswith("\\n")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=give_up, daemon=True).start()
child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
try:
    run([sys.executable, "-c", child], environment=os.environ, folder=here, output=here, timeout=60)
except KeyboardInterrupt:
    sys.exit(3)
"""
    ended = subprocess.run([sys.executable, "-c", code], timeout=50, check=False)
    assert ended.returncode == 3
    assert not psutil.pid_exists(int((tmp_path / "stdout.txt").read_text()))
