"""Processes that start fast and are killed: children forked from one that has imported everything but the engine.

Importing takes two seconds, a fork milliseconds. The engine's library starts threads when it is imported, which a
fork does not survive, so each child imports it anew.

``python -m h3_pipeline_tests.reliability.zygote`` reads a request a line on stdin and answers each with a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from h3_pipeline_tests.reliability.programs import Program

_REPOSITORY = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 600.0


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        killed: By SIGKILL, as asked.
        error: The traceback with which it failed by itself, or ``""``.
        stages: What it had begun, in order.
        seconds: From fork to end.
    """

    killed: bool
    error: str
    stages: list[str]
    seconds: float


class Zygote:
    """Runs programs in children that can be killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, program: Program, *, kill_at: int | None = None, kill_after: float | None = None) -> Ended:
        """Run a program in a child of its own process group.

        Args:
            program: What to do.
            kill_at: Kill the group when the stage of this number (from 0) begins.
            kill_after: Kill the group after so many seconds.
        """
        assert self._process.stdin
        assert self._process.stdout
        request = {"program": program, "kill_at": kill_at, "kill_after": kill_after}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote died"
        return Ended(**json.loads(answer))

    def finish(self, program: Program) -> dict:
        """Run a program to its end and return its answer.

        Raises:
            AssertionError: It failed.
        """
        ended = self.run(program)
        assert not ended.error, f"the child failed after {ended.stages[-1:]}: {ended.error}"
        assert not ended.killed
        return json.loads(Path(program["answer"]).read_text(encoding="utf-8"))


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A process to fork from."""
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield Zygote(process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(_LONGEST_SECONDS)
        assert process.stdout
        process.stdout.close()


def _fork(program: Program, kill_at: int | None, report: int) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        seen = -1

        def on_stage(name: str) -> None:
            nonlocal seen
            seen += 1
            _tell(report, {"stage": name})
            if seen == kill_at:
                os.killpg(0, signal.SIGKILL)

        from h3_pipeline_tests.reliability import programs

        programs.run(program, on_stage)
        status = 0
    except BaseException:
        _tell(report, {"error": traceback.format_exc()[-20_000:]})
    finally:
        os._exit(status)


def _tell(report: int, said: dict[str, str]) -> None:
    os.write(report, json.dumps(said).encode() + b"\n")


def _watch(child: int, kill_after: float | None) -> int:
    """Wait for a child, kill its group when its time has come, and return its status."""
    began = time.monotonic()
    limit = _LONGEST_SECONDS if kill_after is None else kill_after
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() - began >= limit:
            os.killpg(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.001)


def _serve(requests: IO[str], answers: IO[str]) -> None:
    for line in requests:
        request = json.loads(line)
        began = time.monotonic()
        reading, writing = os.pipe()
        child = _fork(request["program"], request["kill_at"], writing)
        os.close(writing)
        status = _watch(child, request["kill_after"])
        with os.fdopen(reading, encoding="utf-8") as pipe:
            said = [json.loads(line) for line in pipe]
        ended = Ended(
            killed=os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
            error="".join(line.get("error", "") for line in said) or _abnormal(status),
            stages=[line["stage"] for line in said if "stage" in line],
            seconds=round(time.monotonic() - began, 3),
        )
        answers.write(json.dumps(ended.__dict__) + "\n")
        answers.flush()


def _abnormal(status: int) -> str:
    """Any end other than an ordinary one and SIGKILL, such as a crash of the engine."""
    code = os.waitstatus_to_exitcode(status)
    return "" if code in (0, -signal.SIGKILL) else f"exit code {code}"


def main() -> None:
    """Import what children need, then serve."""
    import pandas  # noqa: F401 - the engine's library imports both
    import pyarrow  # noqa: F401

    assert "chdb" not in sys.modules
    _serve(sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
