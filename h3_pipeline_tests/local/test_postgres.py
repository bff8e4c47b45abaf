"""The home's PostgreSQL: found where packages put it, kept from one start to the next, gone when left."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import psycopg2
import pytest

from h3_pipeline.errors import StorageError
from h3_pipeline.local import postgres
from h3_pipeline.local.postgres import PROGRAMS, PostgresServer, find_programs, local_postgres
from h3_pipeline_tests.postgres import REQUIRE, require_postgres


def install(folder: Path) -> Path:
    """Put programs of the right names into a folder."""
    folder.mkdir(parents=True)
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_search_path_comes_first(tmp_path: Path) -> None:
    mine, other = install(tmp_path / "mine"), install(tmp_path / "18" / "bin")
    assert find_programs(str(mine), [f"{tmp_path}/*/bin"]) == mine
    assert find_programs(str(tmp_path / "nowhere"), [f"{tmp_path}/*/bin"]) == other


def test_the_newest_of_several_is_taken(tmp_path: Path) -> None:
    for version in ("9", "15", "18"):
        install(tmp_path / version / "bin")
    (tmp_path / "20" / "bin").mkdir(parents=True)  # a client alone
    assert find_programs(str(tmp_path / "nowhere"), [f"{tmp_path}/*/bin"]) == tmp_path / "18" / "bin"


def test_without_it_one_line_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        find_programs(str(tmp_path), [])
    assert "apt-get install postgresql" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "outcome"), [("", pytest.skip), ("0", pytest.skip), ("1", pytest.fail)])
def test_without_it_a_test_is_skipped_or_fails(monkeypatch: pytest.MonkeyPatch, value: str, outcome: object) -> None:
    def missing() -> Path:
        return find_programs("/nowhere", [])

    monkeypatch.setattr("h3_pipeline_tests.postgres.find_programs", missing)
    monkeypatch.setenv(REQUIRE, value)
    with pytest.raises(outcome.Exception):  # type: ignore[attr-defined]
        require_postgres()


def connect(server: PostgresServer, password: str | None = None) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password if password is None else password,
        dbname=server.database,
    )


def test_data_stay_and_the_server_goes(postgres_folder: Path) -> None:
    folder = postgres_folder / "home"
    with local_postgres(folder, durable=False) as first, connect(first) as connection:
        connection.cursor().execute("CREATE TABLE kept AS SELECT 42 AS answer")
    connection.close()
    assert not psutil.pid_exists(first.process_id)
    with local_postgres(folder, durable=False) as second:
        assert second.password == first.password
        assert first.password not in repr(first)
        with connect(second) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT answer FROM kept")
            assert cursor.fetchall() == [(42,)]
        connection.close()
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            connect(second, "guessed")
    password = folder / "password"
    assert password.stat().st_mode & 0o077 == 0
    assert (folder / "data").stat().st_uid == password.stat().st_uid != 0 or os.geteuid() != 0


def test_a_server_that_was_left_behind_is_ended(postgres_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = postgres_folder / "left"
    with monkeypatch.context() as patched:
        patched.setattr(postgres._Server, "stop", lambda _self: None)  # as if we were killed
        with local_postgres(folder, durable=False) as left:
            pass
    process = psutil.Process(left.process_id)
    with local_postgres(folder, durable=False) as server, connect(server) as connection:
        assert connection.server_version
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    connection.close()
