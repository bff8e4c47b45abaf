"""A pytest plugin: a PostgreSQL server for tests, and databases in it.

Where PostgreSQL is not on the machine such tests are skipped, or fail if
``H3_PIPELINE_REQUIRE_POSTGRES=1`` says that it should be, as it does in CI.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import psycopg2
import pytest

from h3_pipeline.errors import StorageError
from h3_pipeline.local.postgres import PostgresServer, find_programs, local_postgres

REQUIRE = "H3_PIPELINE_REQUIRE_POSTGRES"

_databases = count(1)


def require_postgres() -> None:
    """Skip the test that asks where there is no PostgreSQL, or fail it where it must be."""
    try:
        find_programs()
    except StorageError as error:
        if os.environ.get(REQUIRE, "") in ("", "0"):
            pytest.skip(str(error))
        pytest.fail(f"{REQUIRE} is set, but {error}")


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter too, who is somebody else where root runs the tests."""
    require_postgres()
    folder = Path(tempfile.mkdtemp(prefix="h3-pipeline-postgres-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_folder: Path) -> Iterator[PostgresServer]:
    """A server that tests share; each takes a database of its own, and none may stop it."""
    with local_postgres(postgres_folder / "shared", durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres: PostgresServer) -> Callable[[], PostgresServer]:
    """Makes an empty database on the shared server."""

    def make() -> PostgresServer:
        name = f"dagster_{next(_databases)}"
        connection = psycopg2.connect(
            host=postgres.host,
            port=postgres.port,
            user=postgres.user,
            password=postgres.password,
            dbname=postgres.database,
        )
        connection.autocommit = True
        try:
            connection.cursor().execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return replace(postgres, database=name)

    return make
