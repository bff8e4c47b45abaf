"""What every command has in common: help, errors of one line, exit codes, quiet libraries."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import h3_pipeline.cli.status
from h3_pipeline.cli.app import app
from h3_pipeline_tests.cli.conftest import PROGRAM, SECONDS, Answer, environment, one_error_line

COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]

Cli = Callable[..., Answer]


def test_the_commands_are_those_of_the_contract() -> None:
    assert COMMANDS == [
        "demo",
        "dev",
        "upload",
        "ingest",
        "retract",
        "query",
        "backup",
        "restore",
        "export",
        "status",
        "doctor",
        "stop",
    ]


def test_a_process_that_ends_does_not_look_through_what_it_imported() -> None:
    code = """
from h3_pipeline.cli.process import collect_rarely

class Found:
    def __del__(self):
        print("found")

collect_rarely()
unreachable = Found()
unreachable.itself = unreachable
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert ended.stdout == ""


def test_what_is_imported_is_never_looked_through() -> None:
    code = """
import gc
from h3_pipeline.cli.process import importing

with importing():
    print(gc.isenabled())
    there_to_stay = [[]]
print(gc.isenabled(), any(thing is there_to_stay for thing in gc.get_objects()))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True)
    assert ended.stdout.split() == ["False", "True", "False"]


@pytest.mark.parametrize(("given", "threads"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2)])
def test_numpy_starts_no_threads_unless_told_to(given: dict[str, str], threads: int) -> None:
    code = """
import psutil
from h3_pipeline.cli.process import multiply_alone

multiply_alone()
import numpy
print(psutil.Process().num_threads())
"""
    settings = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | given
    ended = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert ended.stdout.split() == [str(threads)]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_with_an_example_and_the_exit_codes(cli: Cli, command: str) -> None:
    answer = cli(command, "--help")
    assert answer.code == 0
    assert f"h3-pipeline {command}" in answer.out.split("Example", 1)[1]
    assert "Exit codes: 0" in answer.out
    assert answer.err == ""


def test_help_lists_the_commands(cli: Cli) -> None:
    out = cli("--help").out
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_no_command_at_all_shows_the_help_and_is_no_success(cli: Cli) -> None:
    answer = cli()
    assert answer.code == 2
    assert answer.out == cli("--help").out


def test_version(cli: Cli) -> None:
    from importlib.metadata import version

    assert cli("--version").out == f"h3-pipeline {version('h3_pipeline')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ingset"], "'ingest'"),
        (["ingest"], "Missing argument"),
        (["status", "--jsno"], "--jsno"),
        (["demo", "--rows", "many"], "--rows"),
        (["demo", "--rows", "0"], "--rows"),
        (["query", "SELECT 1", "--format", "xml"], "xml"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(cli: Cli, arguments: list[str], words: str) -> None:
    answer = cli(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    message = one_error_line(answer.err)
    assert words in message
    assert "--help" in message


def test_help_and_mistakes_import_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from h3_pipeline.cli import run\n"
        "codes = [run(['--help']), run(['ingest', '--help']), run(['ingest']), run(['--version'])]\n"
        "heavy = {'dagster', 'pandas', 'numpy', 'chdb', 'boto3', 'clickhouse_connect', 'h3'}\n"
        "print(codes, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 2, 0] []"


def test_a_bug_is_one_line_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, as_json: bool) -> int:
        raise ValueError("first\nsecond")

    monkeypatch.setattr(h3_pipeline.cli.status, "status", broken)
    answer = cli("status")
    assert answer.code == 1
    message = one_error_line(answer.err)
    assert message.startswith("unexpected ValueError: first second")
    assert "H3_PIPELINE_DEBUG=1" in message
    monkeypatch.setenv("H3_PIPELINE_DEBUG", "1")
    answer = cli("status")
    assert answer.code == 1
    assert "Traceback (most recent call last)" in answer.err
    assert answer.out == ""


def test_a_bad_setting_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H3_RESOLUTION", "99")
    answer = cli("status")
    assert answer.code == 1
    assert "H3_RESOLUTION" in one_error_line(answer.err)


def test_a_home_that_cannot_be_made_is_one_line(cli: Cli, home: Path) -> None:
    home.write_text("a file where the folder should be")
    answer = cli("query", "SELECT 1")
    assert answer.code == 1
    assert str(home) in one_error_line(answer.err)


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = subprocess.Popen(
        [*PROGRAM, "query", "SELECT * FROM numbers(200000)", "--format", "csv"],
        env=environment(tmp_path / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout
    assert command.stderr
    assert command.stdout.readline() == b'"number"\n'
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait(SECONDS) == 1
    command.stderr.close()


def test_a_terminal_sees_no_log_of_the_engine(tmp_path: Path) -> None:
    master, slave = os.openpty()
    command = subprocess.Popen(
        [*PROGRAM, "query", "SELECT 40 + 2 AS answer"],
        env=environment(tmp_path / "home", TERM="xterm", COLUMNS="100"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:  # Linux says so when the other side is closed
        pass
    os.close(master)
    assert command.wait(SECONDS) == 0
    assert b"answer" in shown
    assert b"42" in shown
    assert not any(level in shown for level in (b"<Debug>", b"<Trace>", b"<Information>"))
