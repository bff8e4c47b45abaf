"""``dev --production-like``: PostgreSQL and the separate processes from one command, and nothing left of them."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from h3_pipeline.cli.production_services import FOLDER
from h3_pipeline.local import object_store, postgres
from h3_pipeline_tests.cli.conftest import PROGRAM, SECONDS, Answer, environment, gone, one_error_line
from h3_pipeline_tests.cli.test_dev import SENSORS, ask, eventually
from h3_pipeline_tests.servers.conftest import free_ports


def test_without_postgresql_one_line_says_what_is_missing(
    cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "FOLDERS", ())
    answer = cli("dev", "--production-like")
    assert answer.code == 1
    assert answer.out == ""
    message = one_error_line(answer.err)
    assert message.startswith("PostgreSQL is not on this machine")
    assert "apt-get install postgresql" in message


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_processes_of_production(postgres_folder: Path) -> None:
    # a home that PostgreSQL's user may enter, who is not root
    folder = postgres_folder / "dev"
    folder.mkdir()
    home = folder / "home"
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        dev = subprocess.Popen(
            [*PROGRAM, "dev", "--production-like"],
            env=environment(home, PORT=str(port)),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    family: list[psutil.Process] = []
    try:
        eventually(lambda: "Ctrl-C" in (folder / "out").read_text(), dev)
        family = psutil.Process(dev.pid).children(recursive=True)
        commands = [" ".join(process.cmdline()) for process in family]
        for part in ("postgres -D", "dagster api grpc", "dagster._daemon run", "h3_pipeline.ops.webserver", "weed"):
            assert any(part in command for command in commands), part
        locations = ask(url, SENSORS)["workspaceOrError"]["locationEntries"]
        assert locations[0]["locationOrLoadError"]["repositories"][0]["sensors"]

        def health() -> dict[str, dict[str, str]]:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{url}/health", timeout=30) as answer:
                return json.loads(answer.read())

        eventually(lambda: health()["daemon"]["status"] == "ok", dev)
        assert health()["instance_storage"]["status"] == "ok"
        password = (home / FOLDER / "postgres" / "password").read_text()
        assert not any(password in command for command in commands)
    finally:
        dev.send_signal(signal.SIGTERM)
        code = dev.wait(SECONDS)
        object_store.stop(home)
    said = (folder / "err").read_text()
    assert code == 0, said
    assert gone(family)
    assert "Traceback" not in said
    assert password not in "".join(path.read_text() for path in (home / FOLDER / "logs").iterdir())
