"""All processes of production on this machine, and what a test does with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import urllib3
import yaml

from h3_pipeline.local.postgres import PostgresServer
from h3_pipeline.settings import Settings
from h3_pipeline_tests.ops.cluster import INSTANCE, instance_settings
from h3_pipeline_tests.servers.conftest import free_ports

SECONDS = 400
"""Nothing here takes so long, even on a busy machine."""

LAUNCHER = {"module": "h3_pipeline.ops.launchers.process", "class": "ProcessRunLauncher"}
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "h3_pipeline"}


def eventually(what: str, condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} never happened")
        time.sleep(0.2)
    return found


def quick_instance() -> dict[str, Any]:
    """``infra/dagster/dagster.yaml`` with runs as processes, and a daemon that looks often."""
    settings = instance_settings(run_monitoring={"poll_interval_seconds": 1, "free_slots_after_run_end_seconds": 1})
    settings["run_launcher"] = LAUNCHER
    settings["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    return settings


@dataclass
class Process:
    """A process of the site.

    Attributes:
        popen: The process.
        log: All that it says.
    """

    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it as a host that dies does."""
        self.popen.kill()
        self.popen.wait()

    def check(self) -> None:
        """Fail if it has ended by itself."""
        if self.popen.poll() is not None:
            raise AssertionError(f"{self.log.stem} ended:\n{self.log.read_text(errors='replace')[-3000:]}")


@dataclass
class Site:
    """The processes, and what a test does with them.

    Attributes:
        folder: Where everything is.
        environment: What all of them are told.
        port: The webserver's.
        processes: What runs, by name.
    """

    folder: Path
    environment: Mapping[str, str]
    port: int
    processes: dict[str, Process] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> Process:
        """Start a Python module as a process."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self.environment,
            )
        self.processes[name] = Process(popen, log)
        return self.processes[name]

    def start_daemon(self, name: str) -> Process:
        """Start a daemon."""
        return self.start(name, "dagster._daemon", "run", "-w", str(INSTANCE / "workspace.yaml"))

    def get(self, path: str) -> urllib3.BaseHTTPResponse | None:
        """The webserver's answer, or None while it does not listen."""
        self.processes["webserver"].check()
        try:
            return urllib3.request("GET", f"http://127.0.0.1:{self.port}{path}", timeout=30, retries=False)
        except urllib3.exceptions.HTTPError:
            return None

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Data that the webserver's GraphQL gives."""
        body = {"query": query, "variables": variables}
        answer = urllib3.request("POST", f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=60, retries=False)
        document = answer.json()
        assert "errors" not in document, document
        return document["data"]

    def loaded(self) -> bool:
        """Whether the webserver has the code server's definitions."""
        self.processes["code-server"].check()
        query = (
            "query { workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
        )
        (entry,) = self.ask(query)["workspaceOrError"]["locationEntries"]
        return (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation"

    def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first: id, status, tags, steps that began."""
        query = """query { runsOrError { ... on Runs { results {
            runId status parentRunId tags { key value } stepStats { stepKey status } } } } }"""
        found = self.ask(query)["runsOrError"]["results"]
        for run in found:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
            run["steps"] = {step["stepKey"]: step["status"] for step in run["stepStats"]}
        return list(reversed(found))

    def log(self) -> str:
        """What all of them said last."""
        return "\n".join(
            f"--- {process.log.name}\n{process.log.read_text(errors='replace')[-4000:]}"
            for process in self.processes.values()
        )

    def stop(self) -> None:
        """End all processes, those of runs too."""
        for process in self.processes.values():
            with ExitStack() as stack:
                stack.callback(process.kill)
        marker = f"{self.folder}"
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("DAGSTER_HOME", "").startswith(marker):
                process.kill()


@contextmanager
def production_site(folder: Path, database: PostgresServer, environment: Mapping[str, str]) -> Iterator[Site]:
    """Run code server and webserver; the daemon is the test's.

    Args:
        folder: An empty folder.
        database: Dagster's database.
        environment: Where object store and warehouse are.
    """
    port, code_port = free_ports(2)
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(quick_instance()))
    foreign = {name.upper() for name in Settings.model_fields}
    site = Site(
        folder,
        {
            **{name: value for name, value in os.environ.items() if name not in foreign},
            **database.environment(),
            **environment,
            "DAGSTER_HOME": str(home),
            "DAGSTER_CODE_SERVER_HOST": "127.0.0.1",
            "DAGSTER_CODE_SERVER_PORT": str(code_port),
            "PORT": str(port),
            "H3_PIPELINE_HOME": str(folder / "home"),
            "PYTHONPATH": str(INSTANCE.parents[1]),
        },
        port,
    )
    try:
        site.start("code-server", "dagster", "api", "grpc", "-m", "h3_pipeline.definitions", "-p", str(code_port))
        site.start("webserver", "h3_pipeline.ops.webserver", "-w", str(INSTANCE / "workspace.yaml"))
        yield site
    except BaseException:
        print(site.log())
        raise
    finally:
        site.stop()
