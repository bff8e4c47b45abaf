"""Tasks of a deployed stack on this machine: the command, settings and secrets that their task definition states.

What stands between a task definition and a process is Fargate's work on AWS, and done here: reading secrets, and giving
a run its command. Only addresses differ, since what the stack names is not on this machine; its user lists them.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.emulator.client import Aws

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / ".venv" / "bin"
"""What the image has in `/opt/h3/bin`; `make infra-test` brings it up to date."""

DAGSTER = REPOSITORY / "infra" / "dagster"
"""What the image has in `/opt/dagster`."""

SECONDS = 240


def eventually(what: str, condition: Callable[[], Any]) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.3)
    return found


@dataclass
class Fargate:
    """One deployment's tasks.

    Attributes:
        aws: Where the deployment is.
        name: Its name, which is the cluster's.
        folder: An empty folder.
        addresses: Settings that must differ on this machine, by name.
    """

    aws: Aws
    name: str
    folder: Path
    addresses: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def definition(self, family: str) -> dict[str, Any]:
        """The newest task definition of a family."""
        found = self.aws.client("ecs").describe_task_definition(taskDefinition=f"{self.name}-{family}")
        return found["taskDefinition"]

    def container(self, family: str) -> dict[str, Any]:
        """The pipeline's container in it."""
        (found,) = (each for each in self.definition(family)["containerDefinitions"] if each["name"] == family)
        return found

    def settings(self, family: str) -> dict[str, str]:
        """Plain settings and secrets, as the task would see them."""
        container = self.container(family)
        plain = {each["name"]: each["value"] for each in container["environment"]}
        return plain | {each["name"]: self._secret(each["valueFrom"]) for each in container["secrets"]}

    def _secret(self, value_from: str) -> str:
        """`ARN:key:stage:version`, of which the ARN has seven parts."""
        parts = value_from.split(":")
        arn, key = ":".join(parts[:7]), parts[7]
        content = self.aws.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        return json.loads(content)[key]

    def environment(self, family: str) -> dict[str, str]:
        """All that a task's process finds around it."""
        home = self.folder / f"{family}-home"
        home.mkdir(exist_ok=True)
        # of this machine's own, nothing but where programs and libraries are
        own = {name: os.environ[name] for name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        return {
            **own,
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "DAGSTER_HOME": str(DAGSTER),
            "H3_PIPELINE_HOME": str(home),
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            **self.aws.environment,
            **self.settings(family),
            **self.addresses,
        }

    def start(
        self, family: str, command: list[str] | None = None, settings: Mapping[str, str] | None = None, name: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start a task.

        Args:
            family: Its task definition.
            command: What it runs; by default what the definition says.
            settings: More settings, as whoever starts a task may give them.
            name: Name of its log; by default the family's.
        """
        program, *arguments = [self._here(word) for word in command or self.container(family)["command"]]
        with (self.folder / f"{name or family}.log").open("ab") as log:
            process = subprocess.Popen(
                [PROGRAMS / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder / f"{family}-home" if (self.folder / f"{family}-home").exists() else self.folder,
                env=self.environment(family) | dict(settings or {}),
                # a run has children
                start_new_session=True,
            )
        self.processes[name or family] = process
        return process

    def _here(self, word: str) -> str:
        """A word of a command, on this machine: loopback, the port that is free, the repository for the image."""
        places = {
            "0.0.0.0": "127.0.0.1",
            "4000": self.addresses["DAGSTER_CODE_SERVER_PORT"],
            "/opt/dagster/workspace.yaml": str(DAGSTER / "workspace.yaml"),
        }
        return places.get(word, word)

    def ask(self, *command: str) -> str:
        """Output of a command in a task like the daemon's."""
        done = subprocess.run(
            [PROGRAMS / command[0], *command[1:]],
            env=self.environment("daemon"),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def check(self) -> None:
        """Fail if a service has ended by itself."""
        for name in ("code", "daemon"):
            if name in self.processes and self.processes[name].poll() is not None:
                raise AssertionError(f"{name} ended:\n{self.log()}")

    def log(self) -> str:
        """What all of them said last."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def task_metadata(self) -> Iterator[str]:
        """Where the daemon learns which task it is; the emulator has such a task, with the service's network."""
        ecs = self.aws.client("ecs")
        (service,) = ecs.describe_services(cluster=self.name, services=["daemon"])["services"]
        task = ecs.run_task(
            cluster=self.name,
            taskDefinition=service["taskDefinition"],
            launchType=service["launchType"],
            networkConfiguration=service["networkConfiguration"],
        )["tasks"][0]
        document = json.dumps({"Cluster": task["clusterArn"], "TaskARN": task["taskArn"]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def launched_runs(self) -> list[dict[str, Any]]:
        """Commands and settings of the runs that the daemon has started tasks for."""
        ecs = self.aws.client("ecs")
        tasks = ecs.list_tasks(cluster=self.name, family=f"{self.name}-run")["taskArns"]
        if not tasks:
            return []
        found = ecs.describe_tasks(cluster=self.name, tasks=tasks)["tasks"]
        return [override for task in found for override in task["overrides"]["containerOverrides"]]
