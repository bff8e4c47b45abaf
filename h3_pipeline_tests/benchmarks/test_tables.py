"""Made tables are right, their fingerprint sees every difference, and both ways to ask give the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fingerprint import differences, fingerprint
from benchmarks.full_tables import fill_month
from benchmarks.queries import Asked, _ask
from benchmarks.questions import questions
from benchmarks.tables import DATABASE, definitions
from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement

TRIPS = 2_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClickHouse]:
    """A warehouse with the trips of one month."""
    with open_embedded(tmp_path / "warehouse") as engine:
        migrate(engine, Placement(DATABASE))
        fill_month(engine, 6, 0, TRIPS)
        yield engine


def test_made_trips_look_real_and_hourly_tables_hold_every_one(engine: ClickHouse) -> None:
    assert engine.value("SELECT count() FROM trips") == TRIPS
    for table, counted in (("cell_hourly", "departures"), ("cell_hourly", "arrivals"), ("flow_hourly", "trips")):
        found = engine.pairs(f"SELECT resolution, sum(t.{counted}) FROM {table} AS t GROUP BY resolution")
        assert found == dict.fromkeys((5, 6, 7, 8, 9), TRIPS)
    noted = engine.pairs("SELECT table_name, sum(rows) FROM publications GROUP BY table_name")
    assert noted == engine.pairs(
        "SELECT table, sum(rows) FROM system.parts WHERE active AND database = currentDatabase() "
        "AND table IN ('trips', 'cell_hourly', 'flow_hourly') GROUP BY table"
    )
    shares = engine.pairs("SELECT region, count() / (SELECT count() FROM trips) FROM trips GROUP BY region")
    assert 0.6 < shares["New York"] < 0.8
    local = "toHour(started_at + toIntervalMinute(utc_offset_minutes))"
    hours = engine.pairs(f"SELECT {local}, count() FROM trips GROUP BY 1")
    assert hours[18] > 5 * hours[3]
    assert engine.value("SELECT countIf(h3GetResolution(origin_h3) != 10 OR ended_at < started_at) FROM trips") == 0


def test_a_fingerprint_sees_every_difference_and_no_order_of_rows(engine: ClickHouse) -> None:
    before = fingerprint(engine)
    assert before["flow_hourly_view 9 trips"] == before["trips rows"] == TRIPS
    for table in ("trips", "cell_hourly", "flow_hourly"):
        engine.command(f"OPTIMIZE TABLE {table} FINAL")
    assert differences(before, fingerprint(engine)) == []
    for change, seen in (
        ("INTO trips SELECT * REPLACE (fare_amount + 1 AS fare_amount) FROM trips LIMIT 1", "trips checksum"),
        ("INTO cell_hourly SELECT * FROM cell_hourly WHERE resolution = 7 LIMIT 1", "cell_hourly_view 7 checksum"),
        ("INTO flow_hourly SELECT * FROM flow_hourly WHERE resolution = 5 LIMIT 1", "flow_hourly_view 5 trips"),
    ):
        known = fingerprint(engine)
        engine.command(f"INSERT {change}")
        assert seen in differences(known, fingerprint(engine))


def test_both_ways_to_ask_give_the_same(engine: ClickHouse) -> None:
    cell = engine.value(
        "SELECT cell FROM cell_hourly WHERE resolution = 8 AND region = 'New York' "
        "GROUP BY cell ORDER BY sum(departures) DESC LIMIT 1"
    )
    for question in questions(int(cell)):
        of_rollups, of_trips = Asked(), Asked()
        found = _ask(engine, question.of_rollups, of_rollups)
        assert found, question.name
        assert found == _ask(engine, question.of_trips, of_trips), question.name
        assert of_rollups.rows_read > 0
        assert 0 < of_trips.rows_read <= 2 * TRIPS


def test_definitions_make_the_pipelines_tables(tmp_path: Path) -> None:
    statements = definitions(tmp_path / "pipelines")
    with open_embedded(tmp_path / "plain") as engine:
        for statement in statements:
            engine.command(statement)
        made = engine.pairs(f"SELECT name, engine FROM system.tables WHERE database = '{DATABASE}'")
    assert made == {
        "trips": "MergeTree",
        "cell_hourly": "AggregatingMergeTree",
        "flow_hourly": "AggregatingMergeTree",
        "cell_hourly_view": "View",
        "flow_hourly_view": "View",
    }
