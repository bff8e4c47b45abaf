"""Runs a process from its start to its end: how long it took, and the most memory that it and its children had."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SECONDS_BETWEEN_LOOKS = 0.02
_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """A process that has ended.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Processor time of it and its children.
        peak_bytes: Most resident memory of it and its children together.
        failure: Why it did not end well, or None.
        output: What it wrote to stdout.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    failure: str | None
    output: str


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: Path,
    timeout: float,
    memory_limit: int | None = None,
) -> Measured:
    """Run a command.

    Args:
        command: Program and arguments.
        environment: Its whole environment.
        folder: Its working directory.
        output: A folder for what it writes to stdout and stderr.
        timeout: It is killed after so many seconds.
        memory_limit: It is killed when it has more bytes; the machine would otherwise choose a victim itself.
    """
    stdout, stderr = output / "stdout.txt", output / "stderr.txt"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        began = time.perf_counter()
        # with pipes instead of files a process that writes much would wait for us
        process = subprocess.Popen(
            command, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        watch = _Watch(process.pid, memory_limit, began + timeout)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: what we started must not stay
            watch.kill("given up")
            process.wait()
            watch.stop()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
    failure = watch.killed_for
    if failure is None and process.returncode:
        lines = stderr.read_text(errors="replace").strip().splitlines()
        failure = f"exit code {process.returncode}: " + "\n".join(lines[-_LAST_LINES:])
    return Measured(
        seconds,
        usage.ru_utime + usage.ru_stime,
        watch.peak,
        failure,
        stdout.read_text(encoding="utf-8", errors="replace"),
    )


@dataclass
class _Watch(threading.Thread):
    """Looks at a process again and again.

    Not once at the end at `ru_maxrss`: a child begins with the peak of its parent there.
    """

    pid: int
    memory_limit: int | None
    deadline: float
    peak: int = 0
    killed_for: str | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    # a thread is known by what it is
    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.is_set():
            self._look()
            self._over.wait(_SECONDS_BETWEEN_LOOKS)

    def stop(self) -> None:
        """Stop looking; wait for the last look."""
        self._over.set()
        self.join()

    def kill(self, why: str) -> None:
        """Kill the process and its children."""
        with suppress(psutil.NoSuchProcess):
            self._kill(self._tree(), why)

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def _look(self) -> None:
        try:
            tree = self._tree()
            together = sum(_memory(process) for process in tree)
            # the kernel's own record misses nothing between two looks, but there is one a process
            self.peak = max(self.peak, together, high_water_mark(self.pid))
            if self.memory_limit is not None and together > self.memory_limit:
                self._kill(tree, f"killed: more than {self.memory_limit / 2**30:.1f} GiB of memory")
            elif time.perf_counter() > self.deadline:
                self._kill(tree, "killed: it took too long")
        except psutil.NoSuchProcess:
            return

    def _kill(self, tree: Sequence[psutil.Process], why: str) -> None:
        self.killed_for = self.killed_for or why
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def high_water_mark(pid: int) -> int:
    """Most resident memory that one process has had so far (``VmHWM``), or 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
