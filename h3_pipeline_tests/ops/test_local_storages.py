"""The runs and schedules of a local home: the files of Dagster's own classes, whoever makes them."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from dagster import DagsterInstance, RunsFilter, job, op
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.event_log import SqlEventLogStorageMetadata
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from h3_pipeline.ops.dagster_tables import Tables, make_tables
from h3_pipeline_tests.ops.instances import dagsters, ours


@op
def do_nothing() -> None:
    """Nothing."""


@job
def nothing() -> None:
    do_nothing()


@pytest.fixture(autouse=True)
def no_home_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def _add_tick(instance: DagsterInstance) -> None:
    instance.create_tick(TickData("origin", "sensor", InstigatorType.SENSOR, TickStatus.STARTED, timestamp=0.0))


def _ticks(instance: DagsterInstance) -> int:
    return len(instance.get_ticks("origin", "selector"))


def _contents(file: Path) -> dict[str, object]:
    connection = sqlite3.connect(file)
    try:
        tables = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2, 3").fetchall()
        names = {name for _, name, _, _ in tables}
        marks = "SELECT name FROM secondary_indexes ORDER BY 1"
        return {
            "tables": tables,
            "version": connection.execute("SELECT version_num FROM alembic_version").fetchall(),
            "migrated": connection.execute(marks).fetchall() if "secondary_indexes" in names else [],
            "journal": connection.execute("PRAGMA journal_mode").fetchall(),
        }
    finally:
        connection.close()


def test_files_are_those_that_dagster_makes(tmp_path: Path) -> None:
    made = {}
    for instance_of in (ours, dagsters):
        home = tmp_path / instance_of.__name__
        with instance_of(home) as instance:
            run_id = nothing.execute_in_process(instance=instance).run_id
            _add_tick(instance)
        files = (home / "dagster").rglob("*.db")
        made[instance_of] = {str(file.relative_to(home)).replace(run_id, "run"): _contents(file) for file in files}
    assert len(made[ours]) == 4
    assert made[ours] == made[dagsters]


@pytest.mark.parametrize(("writer", "reader"), [(ours, dagsters), (dagsters, ours)])
def test_either_class_reads_what_the_other_wrote(tmp_path: Path, writer, reader) -> None:
    with writer(tmp_path) as instance:
        run_id = nothing.execute_in_process(instance=instance).run_id
        _add_tick(instance)
    with reader(tmp_path) as instance:
        assert [run.run_id for run in instance.get_runs(RunsFilter())] == [run_id]
        assert nothing.execute_in_process(instance=instance).success
        assert _ticks(instance) == 1


def test_a_run_makes_no_file_of_schedules(tmp_path: Path) -> None:
    with ours(tmp_path) as instance:
        assert nothing.execute_in_process(instance=instance).success
        assert not list(tmp_path.rglob("schedules.db"))
        assert _ticks(instance) == 0
    assert list(tmp_path.rglob("schedules.db"))


def test_several_make_the_same_file_at_once(tmp_path: Path) -> None:
    with ours(tmp_path / "known") as instance:
        _ticks(instance)
    at_once = 4
    ready = Barrier(at_once)

    def first_question(_: int) -> int:
        ready.wait(60)
        folder = tmp_path / "home" / "dagster"
        with DagsterInstance.from_config(str(folder)) as instance:
            return _ticks(instance) + instance.get_runs_count()

    with ours(tmp_path / "home"):
        pass
    for file in (tmp_path / "home").rglob("*.db*"):
        file.unlink()
    with ThreadPoolExecutor(at_once) as pool:
        assert list(pool.map(first_question, range(at_once))) == [0] * at_once
    for file in (tmp_path / "known").rglob("*.db"):
        assert _contents(tmp_path / "home" / file.relative_to(tmp_path / "known")) == _contents(file)


def test_tables_of_an_old_dagster_are_left_to_dagster(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'index.db'}", poolclass=NullPool)
    SqlEventLogStorageMetadata.create_all(engine)
    assert make_tables(engine, SqlEventLogStorageMetadata) is Tables.UNCLEAR
    with engine.connect() as connection:
        assert not connection.dialect.has_table(connection, "alembic_version")


def test_tables_that_are_there_are_left_alone(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'index.db'}", poolclass=NullPool)
    assert make_tables(engine, SqlEventLogStorageMetadata) is Tables.MADE
    before = _contents(tmp_path / "index.db")
    assert make_tables(engine, SqlEventLogStorageMetadata) is Tables.THERE
    assert _contents(tmp_path / "index.db") == before
