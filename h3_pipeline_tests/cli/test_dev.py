"""``dev``: the real daemon loads what a second process uploads, and SIGTERM leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from h3_pipeline.cli.dev import running_ui
from h3_pipeline.local import object_store
from h3_pipeline_tests.cli.conftest import PROGRAM, SECONDS, TRIPS, Program, environment, gone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RUNS = "query { runsOrError(limit: 5) { __typename ... on Runs { results { status } } } }"
SENSORS = (
    "query { workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { ... on RepositoryLocation "
    "{ repositories { sensors { name sensorState { status } } } } } } } } }"
)


def test_a_file_put_into_the_bucket_is_loaded(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    (tmp_path / "good.csv").write_text(TRIPS)
    (tmp_path / "strange.csv").write_text("a,b\n1,2\n")
    # a relative home, since the daemon and its runs have another working folder
    settings = environment(Path("home"), PORT=str(port), H3_ROLLUP_RESOLUTIONS="8,7")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        dev = subprocess.Popen(
            [*PROGRAM, "dev"], env=settings, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
    family: list[psutil.Process] = []
    try:
        eventually(lambda: "Ctrl-C" in (tmp_path / "out").read_text(), dev)
        url = f"http://127.0.0.1:{port}"
        assert url in (tmp_path / "out").read_text()
        assert running_ui(program.home) == url
        second = program("dev", PORT=str(port))
        assert second.stderr == f"error: `h3-pipeline dev` runs already, at {url}\n"
        sensors = ask(url, SENSORS)["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]
        states = {each["name"]: each["sensorState"]["status"] for each in sensors["repositories"][0]["sensors"]}
        assert states["uploads_sensor"] == states["processed_sensor"] == "RUNNING"

        assert program("upload", tmp_path / "good.csv", "--to", "taxis").returncode == 0
        eventually(lambda: statuses(url), dev)  # the next arrival gets a run of its own
        assert program("upload", tmp_path / "strange.csv").returncode == 0
        eventually(lambda: sorted(statuses(url)) == ["FAILURE", "SUCCESS"], dev)

        status = json.loads(program("status", "--json").stdout)
        assert status["ui"] == url
        assert status["bucket_runs"]
        assert {(upload["upload"], upload["event"], upload["rows_loaded"]) for upload in status["uploads"]} == {
            ("strange.csv", "refused", 0),
            ("taxis/good.csv", "loaded", 3),
        }
        family = psutil.Process(dev.pid).children(recursive=True)
        assert len(family) >= 4  # the object store, Dagster, its UI, its daemon
    finally:
        dev.send_signal(signal.SIGTERM)
        code = dev.wait(SECONDS)
        object_store.stop(program.home)
    assert code == 0
    assert gone(family)
    assert object_store.running(program.home) is None
    assert running_ui(program.home) is None
    said = (tmp_path / "err").read_text()
    assert "strange.csv refused (unknown_header)" in said
    assert "Traceback" not in said
    assert "DEBUG" not in said
    assert "RUN_SUCCESS" in (program.home / "dev.log").read_text()


def eventually(condition: Any, process: subprocess.Popen[bytes]) -> None:
    """Wait until a condition holds, as long as the process lives."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.5)


def statuses(url: str) -> list[str]:
    return [run["status"] for run in ask(url, RUNS)["runsOrError"]["results"]]


def ask(url: str, query: str) -> Any:
    """Data that Dagster's GraphQL answers."""
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        document = json.loads(answer.read())
    assert "errors" not in document, document["errors"]
    return document["data"]


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    dev = subprocess.Popen(
        [*PROGRAM, "dev"],
        env=environment(program.home, PORT=str(port)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        eventually(lambda: any("dagster" in " ".join(each.cmdline()) for each in children(dev)), dev)
        family = children(dev)
    finally:
        os.kill(dev.pid, signal.SIGINT)
        _, err = dev.communicate(timeout=SECONDS)
        object_store.stop(program.home)
    assert (dev.returncode, err) == (0, b"")
    assert gone(family)


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)
