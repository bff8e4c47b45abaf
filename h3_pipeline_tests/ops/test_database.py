"""Connections that a pool holds outlive a restart of the database."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import Pool

from h3_pipeline.local.postgres import PostgresServer, local_postgres
from h3_pipeline.ops import database
from h3_pipeline.ops.database import outlive_restarts


def url(server: PostgresServer) -> str:
    return f"postgresql+psycopg2://{server.user}:{server.password}@{server.host}:{server.port}/{server.database}"


def test_a_restart_is_not_noticed(postgres_folder: Path) -> None:
    folder = postgres_folder / "restarted"
    with local_postgres(folder, durable=False) as server:
        engine = create_engine(url(server), pool_size=1, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
    outlive_restarts()
    try:
        with pytest.raises(OperationalError), engine.connect():
            pass
        with (
            local_postgres(folder, port=server.port, durable=False),
            engine.connect() as connection,
            connection.begin(),  # no transaction is left open by the trial
        ):
            assert connection.scalar(text("SELECT 2")) == 2
    finally:
        event.remove(Pool, "checkout", database._try)
        engine.dispose()


def test_it_is_for_sqlite_too() -> None:
    outlive_restarts()
    outlive_restarts()  # twice is once
    try:
        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT 3")) == 3
    finally:
        event.remove(Pool, "checkout", database._try)
