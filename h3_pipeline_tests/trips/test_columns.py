"""The contract of a trip's columns, spelled out: whoever changes it changes it here too."""

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.trips.columns import MAPPABLE_COLUMNS, PROCESSED_COLUMNS, TRIP_COLUMNS
from h3_pipeline.trips.select import JUDGED_COLUMNS

CONTRACT = [
    ("upload", "LowCardinality(String)"),
    ("upload_etag", "LowCardinality(String)"),
    ("row_number", "UInt64"),
    ("region", "LowCardinality(String)"),
    ("datasource", "LowCardinality(String)"),
    ("started_at", "DateTime('UTC')"),
    ("ended_at", "Nullable(DateTime('UTC'))"),
    ("utc_offset_minutes", "Int16"),
    ("origin_lat", "Float64"),
    ("origin_lng", "Float64"),
    ("destination_lat", "Nullable(Float64)"),
    ("destination_lng", "Nullable(Float64)"),
    ("origin_h3", "UInt64"),
    ("destination_h3", "Nullable(UInt64)"),
    ("distance_km", "Nullable(Float32)"),
    ("passenger_count", "Nullable(UInt8)"),
    ("fare_amount", "Nullable(Float32)"),
    ("total_amount", "Nullable(Float32)"),
]


def test_names_and_types() -> None:
    assert [(column.name, column.type) for column in TRIP_COLUMNS] == CONTRACT


def test_every_column_is_described() -> None:
    assert all(column.description for column in TRIP_COLUMNS)


def test_a_clean_csv_has_all_but_what_is_the_same_in_every_row() -> None:
    assert [*PROCESSED_COLUMNS] == [name for name, _ in CONTRACT[2:]]


def test_every_column_from_region_on_may_be_mapped_but_what_is_made_here() -> None:
    made = {"utc_offset_minutes", "origin_h3", "destination_h3"}
    points = {"origin_point", "destination_point"}
    assert set(MAPPABLE_COLUMNS) == {name for name, _ in CONTRACT[3:]} - made | points


def test_the_engine_knows_every_type(engine: ClickHouse) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in dict([*CONTRACT, *JUDGED_COLUMNS]).items())
    engine.command(f"CREATE TABLE default.contract ({columns}) ENGINE = Memory")
    found = engine.rows("SELECT name, type FROM system.columns WHERE table = 'contract' AND database = 'default'")
    assert [tuple(row) for row in found][: len(CONTRACT)] == CONTRACT
