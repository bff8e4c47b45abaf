"""Dagster as it runs on AWS, on this machine: PostgreSQL, code server, daemon, webserver, a process for each run."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from h3_pipeline.cli import screen
from h3_pipeline.cli.dagster_services import HOST, START_SECONDS, end, environment, relay
from h3_pipeline.errors import PipelineError
from h3_pipeline.local.dagster_home import EVENTS_AT_ONCE
from h3_pipeline.local.ports import held
from h3_pipeline.local.postgres import local_postgres
from h3_pipeline.local.production import write_instance
from h3_pipeline.settings import Settings

SETTLED_SECONDS = 30.0
"""What has run for so long is started again when it ends."""

FOLDER = "production"
"""Below the home: the instance, PostgreSQL's data, the logs."""


@dataclass
class ProductionServices:
    """The processes.

    Attributes:
        url: Where the UI is.
        log: Folder of what they say, a file for each.
    """

    url: str
    log: Path
    _verbose: bool
    _environment: Mapping[str, str]
    _code_port: int
    _workspace: Path
    _stack: ExitStack
    _processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    _started: dict[str, float] = field(default_factory=dict)
    _arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def wait_until_ready(self) -> None:
        """Start one after the other, and wait until the UI is healthy.

        Raises:
            PipelineError: One of them ended, or took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        port = str(self._code_port)
        self._start("code-server", "dagster", "api", "grpc", "-m", "h3_pipeline.definitions", "-h", HOST, "-p", port)
        # the others would take a minute to look again for a code server that is not there yet
        self._wait("code-server", lambda: _listens(self._code_port), deadline)
        self._start("daemon", "dagster._daemon", "run", "-w", str(self._workspace))
        self._start("webserver", "h3_pipeline.ops.webserver", "--host", HOST, "-w", str(self._workspace))
        self._wait("webserver", lambda: _healthy(f"{self.url}/health"), deadline)

    def wait(self) -> int:
        """Start again what ends by itself, as ECS does; return the exit code of what ends right after its start."""
        while True:
            for name, process in list(self._processes.items()):
                code = process.poll()
                if code is None:
                    continue
                if time.monotonic() - self._started[name] < SETTLED_SECONDS:
                    return code
                screen.note(f"The {name} ended, with exit code {code}; it is started again")
                self._start(name, *self._arguments[name])
            time.sleep(0.5)

    def _start(self, name: str, *arguments: str) -> None:
        # A shell lets its background jobs ignore Ctrl-C. They would inherit that, and we end them by it.
        interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=self._workspace.parent,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches us alone
            )
        finally:
            signal.signal(signal.SIGINT, interrupt)
        reader = Thread(target=relay, args=(process, self.log / f"{name}.log", self._verbose), daemon=True)
        reader.start()
        self._stack.callback(reader.join, 2)
        self._stack.callback(end, process)
        self._processes[name] = process
        self._started[name] = time.monotonic()
        self._arguments[name] = arguments

    def _wait(self, name: str, condition: Callable[[], bool], deadline: float) -> None:
        while not condition():
            for each, process in self._processes.items():
                if process.poll() is not None:
                    raise PipelineError(f"The {each} ended while it was starting; its log is {self.log / each}.log")
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"The {name} did not answer within {START_SECONDS:.0f} s; its log is {self.log / name}.log"
                )
            time.sleep(0.3)


@contextmanager
def production_services(settings: Settings, *, verbose: bool) -> Iterator[ProductionServices]:
    """Run the processes; when left, all of them are gone, and PostgreSQL with them.

    Args:
        settings: The settings; the port is theirs.
        verbose: Show on stderr all that they say, not only warnings and errors.

    Raises:
        StorageError: PostgreSQL is not on this machine, or does not start.
    """
    folder = settings.home / FOLDER
    log = folder / "logs"
    log.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        database = stack.enter_context(local_postgres(folder / "postgres"))
        workspace = write_instance(folder / "dagster")
        with held() as code_port:
            pass
        own = {
            **EVENTS_AT_ONCE,
            "DAGSTER_HOME": str(workspace.parent),
            "DAGSTER_CODE_SERVER_HOST": HOST,
            "DAGSTER_CODE_SERVER_PORT": str(code_port),
        }
        variables = {**environment(settings, verbose), **database.environment(), **own, "PORT": str(settings.port)}
        url = f"http://{HOST}:{settings.port}"
        yield ProductionServices(url, log, verbose, variables, code_port, workspace, stack)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except OSError:  # it does not listen yet, or says 503
        return False
