"""Dagster's own processes: started, waited for, their log sifted, and ended to the last one."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Thread

import psutil

from h3_pipeline.cli import screen
from h3_pipeline.errors import PipelineError
from h3_pipeline.settings import Settings

HOST = "127.0.0.1"
START_SECONDS = 300.0
GRACE_SECONDS = 8.0
"""How long Dagster may take to end; what is left of it then is killed."""

LOG_BYTES = 10_000_000

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LOUD = re.compile(r"\S+ \S+ \S+ - \S+ - (WARNING|ERROR|CRITICAL) - ")
_HARMLESS = re.compile(r"No cursor for event type")
"""Dagster's daemon warns so when it starts for the first time."""


@dataclass(frozen=True, slots=True)
class DagsterServices:
    """Dagster's UI, daemon and code server.

    Attributes:
        url: Where the UI is.
        log: File with all that they say.
    """

    url: str
    log: Path
    _process: subprocess.Popen[str]

    def wait_until_ready(self) -> None:
        """Wait until the UI answers.

        Raises:
            PipelineError: It ended, or took too long.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None:
            try:
                with opener.open(f"{self.url}/server_info", timeout=5):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise PipelineError(
                        f"Dagster's UI did not answer at {self.url} within {START_SECONDS:.0f} s; its log is {self.log}"
                    ) from None
                time.sleep(0.3)
        raise PipelineError(f"Dagster ended while it was starting; its log is {self.log}")

    def wait(self) -> int:
        """Wait until they end by themselves, and return the exit code."""
        return self._process.wait()


@contextmanager
def dagster_services(settings: Settings, folder: Path, *, verbose: bool) -> Iterator[DagsterServices]:
    """Run Dagster; when left, all its processes are gone.

    Args:
        settings: The settings; the port is theirs.
        folder: ``DAGSTER_HOME``.
        verbose: Show on stderr all that they say, not only warnings and errors.
    """
    log = settings.home / "dev.log"
    # A shell lets its background jobs ignore Ctrl-C. They would inherit that, and we end them by it.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            _command(settings, verbose),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=folder,
            env=environment(settings, verbose),
            start_new_session=True,  # Ctrl-C reaches us alone
        )
    finally:
        signal.signal(signal.SIGINT, interrupt)
    reader = Thread(target=relay, args=(process, log, verbose), daemon=True)
    reader.start()
    try:
        yield DagsterServices(f"http://{HOST}:{settings.port}", log, process)
    finally:
        end(process)
        reader.join(timeout=2)


def _command(settings: Settings, verbose: bool) -> list[str]:
    level = "info" if verbose else "warning"
    command = [sys.executable, "-m", "dagster", "dev", "-m", "h3_pipeline.definitions"]
    command += ["-h", HOST, "-p", str(settings.port)]
    return [*command, "--log-level", level, "--code-server-log-level", level]


def environment(settings: Settings, verbose: bool) -> dict[str, str]:
    """Ours, with absolute paths: their working folder is another."""
    environment = {**os.environ, "H3_PIPELINE_HOME": str(settings.home)}
    if settings.h3_pipeline_feeds:
        environment["H3_PIPELINE_FEEDS"] = str(settings.h3_pipeline_feeds.expanduser().resolve())
    if not verbose:
        environment["PYTHONWARNINGS"] = "ignore"
    return environment


def relay(process: subprocess.Popen[str], log: Path, verbose: bool) -> None:
    """Write all that they say to a log, and on the screen their warnings and errors, a line each."""
    handler = RotatingFileHandler(log, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    try:
        for line in process.stdout or ():
            plain = _COLOUR.sub("", line.rstrip())
            handler.emit(logging.makeLogRecord({"msg": plain}))
            if verbose or (_LOUD.match(plain) and not _HARMLESS.search(plain)):
                screen.note(plain)
    finally:
        handler.close()


def end(process: subprocess.Popen[str]) -> None:
    """Ask them to end, and kill what has not ended in time."""
    # a second Ctrl-C must not leave anything behind
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        family = _family(process.pid)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        family |= _family(process.pid)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()  # psutil makes sure that the id has not passed to another process
        psutil.wait_procs(list(family), timeout=5)
        process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _family(pid: int) -> set[psutil.Process]:
    """The descendants of their first process, and all that are in its session."""
    family: set[psutil.Process] = set()
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        family = {first, *first.children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) == pid:
                family.add(process)
    return family
