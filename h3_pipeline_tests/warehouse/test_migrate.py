"""The warehouse's tables are made once, brought up to date, and never changed behind somebody's back."""

import re
from typing import Any, cast

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.errors import WarehouseError
from h3_pipeline.trips.columns import TRIP_COLUMNS
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import LEDGER, migrate
from h3_pipeline.warehouse.schema import LOADED_TABLES, Placement
from h3_pipeline.warehouse.templates import migration_names

MEASURES = (
    "duration_min_avg",
    "duration_min_p50",
    "duration_min_p90",
    "distance_km_sum",
    "distance_km_avg",
    "fare_sum",
    "fare_avg",
    "fare_p50",
)
CELL_VIEW = ("resolution", "cell", "hour", "region", "datasource", "departures", "arrivals", *MEASURES)
FLOW_VIEW = ("resolution", "origin", "destination", "hour", "region", "datasource", "trips", *MEASURES)


class Recorder:
    """Stands for a server that has nothing yet; keeps the statements that it is sent."""

    where = "a recorder"

    def __init__(self) -> None:
        self.statements: list[str] = []

    def use(self, database: str) -> None:
        pass

    def value(self, *_: Any) -> int:
        return 0

    def pairs(self, *_: Any) -> dict[str, str]:
        return {}

    def command(self, sql: str, *_: Any, **__: Any) -> None:
        self.statements.append(sql)


def rendered(placement: Placement) -> list[str]:
    """Every statement of definition."""
    recorder = Recorder()
    migrate(cast(ClickHouse, recorder), placement)
    return [sql for sql in recorder.statements if not sql.startswith("INSERT")]


def columns(warehouse: Warehouse, table: str) -> dict[str, str]:
    return warehouse.engine.pairs(
        "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
        {"database": warehouse.placement.database, "table": table},
    )


class TestLedger:
    def test_a_new_warehouse_has_all_and_a_second_time_there_is_nothing_to_do(self, warehouse: Warehouse) -> None:
        engine, placement = warehouse.engine, warehouse.placement
        ledger = [row[0] for row in engine.rows(f"SELECT name FROM {LEDGER} ORDER BY name")]
        assert ledger == migration_names() == sorted(ledger)
        assert migrate(engine, placement) == []
        assert engine.value(f"SELECT count() FROM {LEDGER}") == len(ledger)

    def test_one_that_was_killed_before_the_ledger_noted_it_is_run_again(self, warehouse: Warehouse) -> None:
        engine, placement = warehouse.engine, warehouse.placement
        *_, forgotten = migration_names()
        engine.command(f"DELETE FROM {LEDGER} WHERE name = '{forgotten}'")
        assert migrate(engine, placement) == [forgotten]
        assert migrate(engine, placement) == []

    def test_a_changed_migration_is_refused(self, warehouse: Warehouse) -> None:
        engine, placement = warehouse.engine, warehouse.placement
        engine.command(f"ALTER TABLE {LEDGER} UPDATE checksum = 'other' WHERE startsWith(name, '0001')")
        engine.command(f"OPTIMIZE TABLE {LEDGER} FINAL")
        with pytest.raises(WarehouseError, match=r"Migration 0001_trips was changed after it was applied") as caught:
            migrate(engine, placement)
        assert "\n" not in str(caught.value)

    def test_a_warehouse_of_a_newer_version_is_refused(self, warehouse: Warehouse) -> None:
        engine, placement = warehouse.engine, warehouse.placement
        engine.command(f"INSERT INTO {LEDGER} VALUES ('9999_of_the_future', 'x', now())")
        with pytest.raises(WarehouseError, match=r"newer version of h3_pipeline \(9999_of_the_future\)"):
            migrate(engine, placement)


class TestTables:
    def test_trips_has_the_columns_of_the_contract_with_their_descriptions(self, warehouse: Warehouse) -> None:
        assert columns(warehouse, "trips") == {column.name: column.type for column in TRIP_COLUMNS}
        comments = warehouse.engine.pairs("SELECT name, comment FROM system.columns WHERE table = 'trips'")
        assert comments == {column.name: column.description for column in TRIP_COLUMNS}

    def test_the_views_have_the_columns_of_the_contract(self, warehouse: Warehouse) -> None:
        assert tuple(columns(warehouse, "cell_hourly_view")) == CELL_VIEW
        assert tuple(columns(warehouse, "flow_hourly_view")) == FLOW_VIEW
        for view in ("cell_hourly_view", "flow_hourly_view"):
            assert warehouse.engine.rows(f"SELECT * FROM {view}") == []

    def test_what_loading_relies_on(self, warehouse: Warehouse) -> None:
        for table in LOADED_TABLES:
            (row,) = warehouse.engine.records(
                "SELECT partition_key, sorting_key, create_table_query FROM system.tables WHERE name = {name:String}",
                {"name": table},
            )
            assert row["partition_key"].startswith("toYYYYMM(")
            assert "non_replicated_deduplication_window = 0" in row["create_table_query"]
            if table != "trips":
                assert row["sorting_key"].endswith(", upload")


class TestCluster:
    def test_every_table_is_replicated_and_every_statement_is_for_the_cluster(self) -> None:
        statements = rendered(Placement("trips_db", "main"))
        assert len(statements) == len(migration_names()) + 2
        for sql in statements:
            assert "ON CLUSTER 'main'" in sql
        tables = [sql for sql in statements if "CREATE TABLE" in sql]
        engines = [re.findall(r"ENGINE = (\w+)\(([^)]*)\)", sql) for sql in tables]
        assert all(len(found) == 1 for found in engines)
        for ((engine, arguments),) in engines:
            assert engine.startswith("Replicated")
            assert arguments.startswith("'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'")
        assert {engine for ((engine, _),) in engines} == {
            "ReplicatedMergeTree",
            "ReplicatedAggregatingMergeTree",
            "ReplicatedReplacingMergeTree",
        }
        loaded = [sql for sql in tables if "PARTITION BY" in sql]
        assert len(loaded) == len(LOADED_TABLES)
        assert all(" replicated_deduplication_window = 0" in sql for sql in loaded)

    def test_the_engine_parses_every_statement(self, warehouse: Warehouse) -> None:
        for sql in rendered(Placement("trips_db", "main")):
            assert warehouse.engine.rows(f"EXPLAIN AST {sql}")

    def test_a_single_server_has_nothing_of_it(self) -> None:
        for sql in rendered(Placement("trips_db")):
            assert "Replicated" not in sql
            assert "CLUSTER" not in sql
            assert "trips_db" in sql
