"""``doctor`` and ``stop``."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from h3_pipeline.local import object_store
from h3_pipeline_tests.cli.conftest import Answer

Cli = Callable[..., Answer]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, which PORT names."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        number = held.getsockname()[1]
    monkeypatch.setenv("PORT", str(number))
    return number


def verdicts(answer: Answer) -> dict[str, str]:
    return {line.split()[0]: line.split()[1] for line in answer.out.splitlines()[1:]}


def test_all_is_well(cli: Cli, home: Path, port: int) -> None:
    answer = cli("doctor")
    assert (answer.code, answer.err) == (0, "")
    checks = ["python", "packages", "settings", "home", "feeds", "bucket", "warehouse", "exports", "dagster", "port"]
    assert verdicts(answer) == dict.fromkeys(checks, "ok")
    assert object_store.running(home) is None


def test_it_finds_everything_that_is_wrong(
    cli: Cli, home: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "warehouse").write_text("a file where the folder should be")
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(tmp_path / "nowhere.yaml"))
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with socket.create_server(("127.0.0.1", port)):
        answer = cli("doctor")
    assert answer.code == 1
    wrong = {name for name, verdict in verdicts(answer).items() if verdict == "WRONG"}
    assert wrong == {"feeds", "bucket", "warehouse", "exports", "port"}
    for words in ("nowhere.yaml", "http://127.0.0.1:1", f"{port} is in use"):
        assert words in answer.out


def test_a_setting_that_cannot_be_read(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "none")
    answer = cli("doctor")
    assert answer.code == 1
    assert verdicts(answer)["settings"] == "WRONG"
    assert "PORT" in answer.out


def test_stop(cli: Cli, home: Path) -> None:
    assert "was not running" in cli("stop").out
    with object_store.local_object_store(home):
        assert object_store.running(home)
        answer = cli("stop")
        assert (answer.code, answer.err) == (0, "")
        assert object_store.running(home) is None
    assert "was not running" in cli("stop").out


def test_dev_needs_a_free_port(cli: Cli, home: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        answer = cli("dev")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"error: Port {port} is in use by another program; end that, or choose another port in PORT\n"
    assert object_store.running(home) is None
