"""Coordinates: the SQL that the pipeline uses against the H3 library's own vectors, and what is no coordinate."""

import csv
import gzip
from pathlib import Path

import h3
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.sql import literal
from h3_pipeline.trips.places import cell, degree_stages, split_point_stages
from h3_pipeline_tests.engine import evaluate


class TestVectors:
    def test_every_vector_in_range_gives_its_cell(self, engine: ClickHouse, shared_data: Path) -> None:
        path = shared_data / "h3-vectors" / "latlng_to_cell.tsv.gz"
        vectors = pd.read_csv(path, sep="\t", usecols=["res", "lat", "lng"])
        in_range = vectors[vectors.lat.abs().le(90) & vectors.lng.abs().le(180)]
        assert 0 < len(in_range) < len(vectors)
        structure = "source String, res UInt8, cell String, expected UInt64, lat Float64, lng Float64"
        table = f"file({literal(str(path))}, 'TSV', {literal(structure)}, 'gzip')"
        resolutions = sorted(in_range.res.unique().tolist())
        cells = ", ".join(f"NOT usable, 0, res = {r}, {cell('safe_lat', 'safe_lng', r)}" for r in resolutions)
        found = engine.rows(
            f"SELECT res, countIf(usable), countIf(usable AND found = expected), countIf(NOT usable AND found = 0), "
            f"count() FROM (SELECT *, multiIf({cells}, 0) AS found FROM ("
            f"SELECT *, abs(lat) <= 90 AND abs(lng) <= 180 AS usable, if(usable, lat, 0.) AS safe_lat, "
            f"if(usable, lng, 0.) AS safe_lng FROM {table})) GROUP BY res ORDER BY res",
            settings={"input_format_tsv_skip_first_lines": 1},
        )
        usable = in_range.groupby("res").size()
        everything = vectors.groupby("res").size()
        assert [tuple(map(int, row)) for row in found] == [
            (r, usable[r], usable[r], everything[r] - usable[r], everything[r]) for r in resolutions
        ]

    def test_vectors_out_of_range_are_told(self, engine: ClickHouse, shared_data: Path) -> None:
        with gzip.open(shared_data / "h3-vectors" / "latlng_to_cell.tsv.gz", "rt") as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if abs(float(row["lng"])) > 180]
        assert rows
        found = evaluate(
            engine, degree_stages("x"), x_lat_text=[row["lat"] for row in rows], x_lng_text=[row["lng"] for row in rows]
        )
        assert {row["x_fault"] for row in found} == {"out_of_range"}

    def test_the_vectors_of_clickhouse(self, engine: ClickHouse, shared_data: Path) -> None:
        vectors = pd.read_csv(shared_data / "h3-vectors" / "clickhouse_geoToH3.tsv", sep="\t")
        for vector in vectors.itertuples():
            assert engine.value(f"SELECT {cell(str(vector.lat), str(vector.lon), int(str(vector.res)))}") == (
                vector.h3_u64
            )

    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        points=st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=30),
        resolution=st.integers(0, 15),
    )
    def test_any_point_written_out_gives_the_cell_that_h3_gives(
        self, engine: ClickHouse, points: list[tuple[float, float]], resolution: int
    ) -> None:
        found = evaluate(
            engine,
            [*degree_stages("x"), {"cell": cell("x_lat_safe", "x_lng_safe", resolution)}],
            x_lat_text=[repr(lat) for lat, _ in points],
            x_lng_text=[repr(lng) for _, lng in points],
        )
        expected = [h3.str_to_int(h3.latlng_to_cell(lat, lng, resolution)) for lat, lng in points]
        assert [row["cell"] for row in found] == expected
        assert [(row["x_lat_read"], row["x_lng_read"]) for row in found] == points

    def test_a_point_that_is_not_usable_never_reaches_h3(self, engine: ClickHouse) -> None:
        found = evaluate(
            engine,
            [*degree_stages("x"), {"cell": cell("x_lat_safe", "x_lng_safe", 10)}],
            x_lat_text=["", "nan", "inf", "91", "1e308", "x", "0"],
            x_lng_text=["", "1", "1", "1", "-1e308", "y", "0"],
        )
        assert {row["cell"] for row in found} == {h3.str_to_int(h3.latlng_to_cell(0, 0, 10))}


class TestDegrees:
    @pytest.mark.parametrize(
        ("lat", "lng", "fault"),
        [
            ("40.7", "-74", ""),
            ("+40.7", "-.5", ""),
            ("4.07e1", "-74.", ""),
            ("0", "-74", ""),
            ("40.7", "0", ""),
            ("90", "180", ""),
            ("-90", "-180", ""),
            ("", "-74", "missing"),
            ("40.7", "", "missing"),
            ("", "", "missing"),
            ("", "x", "missing"),
            ("x", "-74", "invalid"),
            ("40,7", "-74", "invalid"),
            ("40.7N", "74W", "invalid"),
            ("40 42", "-74", "invalid"),
            ("nan", "-74", "invalid"),
            ("-NaN", "-74", "invalid"),
            ("inf", "-74", "invalid"),
            ("40.7", "-Infinity", "invalid"),
            ("1e400", "-74", "invalid"),
            ("0x28", "-74", "invalid"),
            (".", "-74", "invalid"),
            ("-", "-74", "invalid"),
            ("x", "500", "invalid"),
            ("90.0000001", "-74", "out_of_range"),
            ("40.7", "-180.0000001", "out_of_range"),
            ("-74", "40.7", ""),
            ("0", "0", "null_island"),
            ("0.000", "-0.0", "null_island"),
            ("1e-400", "0", "null_island"),
        ],
    )
    def test_fault(self, engine: ClickHouse, lat: str, lng: str, fault: str) -> None:
        assert evaluate(engine, degree_stages("x"), x_lat_text=[lat], x_lng_text=[lng])[0]["x_fault"] == fault


class TestPoints:
    @pytest.mark.parametrize(
        ("text", "lng", "lat"),
        [
            ("POINT (14.4973794438195 50.00136875782316)", "14.4973794438195", "50.00136875782316"),
            ("POINT(-73.9 40.7)", "-73.9", "40.7"),
            ("point ( -73.9   40.7 )", "-73.9", "40.7"),
            ("Point(\t-73.9\t40.7\t)", "-73.9", "40.7"),
            ("POINT (x y)", "x", "y"),
            ("", "", ""),
            ("POINT EMPTY", "", ""),
            ("point  empty", "", ""),
            ("POINT ()", "?", "?"),
            ("POINT (1)", "?", "?"),
            ("POINT (1 2 3)", "?", "?"),
            ("POINT Z (1 2 3)", "?", "?"),
            ("POINT (1, 2)", "1,", "2"),
            ("POINT (1 2", "?", "?"),
            ("POINT (1 2) x", "?", "?"),
            ("POINT ((1 2))", "?", "?"),
            ("MULTIPOINT (1 2)", "?", "?"),
            ("SRID=4326;POINT (1 2)", "?", "?"),
            ("LINESTRING (1 2, 3 4)", "?", "?"),
            ("1 2", "?", "?"),
        ],
    )
    def test_split(self, engine: ClickHouse, text: str, lng: str, lat: str) -> None:
        found = evaluate(engine, split_point_stages("x"), x_point_text=[text])[0]
        assert (found["x_lng_text"], found["x_lat_text"]) == (lng, lat)

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("POINT (-73.9 40.7)", ""),
            ("POINT EMPTY", "missing"),
            ("", "missing"),
            ("POINT (1, 2)", "invalid"),
            ("nowhere", "invalid"),
            ("POINT (nan nan)", "invalid"),
            ("POINT (40.7 -100)", "out_of_range"),
            ("POINT (0 0)", "null_island"),
        ],
    )
    def test_fault(self, engine: ClickHouse, text: str, fault: str) -> None:
        stages = [*split_point_stages("x"), *degree_stages("x")]
        assert evaluate(engine, stages, x_point_text=[text])[0]["x_fault"] == fault
