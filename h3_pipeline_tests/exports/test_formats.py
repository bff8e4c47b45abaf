"""Every format read back by a reader that is not ours, with equal numbers."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import geopandas
import h3
import numpy as np
import pandas as pd
import pyarrow.ipc
import pyarrow.parquet
import pytest
import shapely
from backports import zstd
from pandas.testing import assert_frame_equal

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.header import FORMAT_NAMES
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.exports.conftest import NewYork, ReadExport

EVERYTHING = f"""\
-- title: Everything
-- description: Every type that files hold, and cells that are missing
-- formats: [{", ".join(FORMAT_NAMES)}]
-- reads: [cell_hourly]
-- parameters:
--   rows: {{type: UInt16, default: 1000, description: How many}}
-- cell: cell
-- measures:
--   tenth: {{label: Tenths}}
WITH (SELECT groupUniqArray(cell) FROM cell_hourly WHERE resolution = 9) AS cells
SELECT
    number,
    if(number % 10 = 3, NULL, cells[number % length(cells) + 1]) AS cell,
    number / 10 AS tenth,
    -number / 7 AS longitude,
    toInt64(number) - 5 AS signed,
    if(number % 3 = 0, NULL, number / 3) AS sometimes,
    toDateTime('2016-03-13 06:59:59', 'UTC') + number AS at,
    toDateTime64('2016-03-13 06:59:59.123', 3, 'UTC') + number AS exactly_at,
    toDate('2016-03-13') + number AS day,
    number % 2 = 0 AS even,
    toLowCardinality(if(number % 2, 'Bronx, "The"', 'Žižkov')) AS place,
    CAST(number % 2 + 1 AS Enum8('one' = 1, 'two' = 2)) AS kind,
    if(number % 4 = 0, NULL, concat(['=1+1', '+1', '-1', '@a', '\\t=1', '\\r=1', 'a=1', ''][number % 8 + 1])) AS text,
    toDecimal64(number, 2) / 4 AS exact,
    [number, number + 1] AS several
FROM numbers({{rows:UInt16}})
ORDER BY number DESC
"""


@pytest.fixture(scope="module")
def everything(new_york: NewYork) -> ReadExport:
    return new_york.export(Query.parse("everything", EVERYTHING, "everything.sql"))


@pytest.fixture(scope="module")
def parquet(everything: ReadExport) -> pd.DataFrame:
    return everything.table


def test_every_file_reads_back_as_it_was_written(everything: ReadExport) -> None:
    checks = {check.format: check for check in everything.exported.checks}
    assert set(checks) == set(FORMAT_NAMES)
    assert not everything.exported.damaged
    assert everything.exported.recounted == everything.exported.manifest.rows == 1000


def test_parquet(everything: ReadExport, parquet: pd.DataFrame) -> None:
    schema = pyarrow.parquet.read_schema(everything.exported.folder / "everything.parquet")  # type: ignore[operator]
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert types == {
        "number": "uint64",
        "cell": "string",
        "cell_id": "uint64",
        "tenth": "double",
        "longitude": "double",
        "signed": "int64",
        "sometimes": "double",
        "at": "timestamp[ms, tz=UTC]",
        "exactly_at": "timestamp[ms, tz=UTC]",
        "day": "date32[day]",
        "even": "uint8",
        "place": "string",
        "kind": "string",
        "text": "string",
        "exact": "decimal128(18, 2)",
        "several": "list<element: uint64 not null>",
    }
    assert parquet["number"].to_list() == list(range(999, -1, -1))  # the query's order
    np.testing.assert_array_equal(parquet["tenth"], parquet["number"] / 10)
    known = parquet.dropna(subset="cell")
    assert len(known) == 900
    # pandas reads a column with NULLs as floating point
    assert [float(h3.str_to_int(cell)) for cell in known["cell"]] == list(known["cell_id"])
    assert all(h3.is_valid_cell(cell) for cell in known["cell"])
    [first] = parquet[parquet["number"] == 1].to_dict("records")
    assert first["at"] == pd.Timestamp("2016-03-13 07:00:00Z")
    assert first["exactly_at"] == pd.Timestamp("2016-03-13 07:00:00.123Z")
    assert first["day"] == date(2016, 3, 14)
    assert (str(first["place"]), str(first["kind"]), str(first["exact"])) == ('Bronx, "The"', "two", "0.25")
    assert list(first["several"]) == [1, 2]


def test_arrow(everything: ReadExport, parquet: pd.DataFrame, tmp_path: Path) -> None:
    with pyarrow.ipc.open_file(everything.download("arrow", tmp_path)) as file:
        found = file.read_all().to_pandas()
    assert str(found["at"].dtype) == "datetime64[s, UTC]"
    assert_frame_equal(found.astype({"at": "datetime64[ms, UTC]"}), parquet, check_dtype=False)


@pytest.mark.parametrize("name", ["csv", "csv.gz", "csv.zst"])
def test_csv(everything: ReadExport, parquet: pd.DataFrame, tmp_path: Path, name: str) -> None:
    packed = everything.download(name, tmp_path).read_bytes()
    unpack = {"csv": bytes, "csv.gz": gzip.decompress, "csv.zst": zstd.decompress}[name]
    text = unpack(packed).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == list(parquet.columns)
    found = pd.read_csv(io.StringIO(text), float_precision="round_trip")
    for column in ("number", "tenth", "longitude", "signed", "sometimes"):
        np.testing.assert_array_equal(found[column], parquet[column])
    assert found["cell"].equals(parquet["cell"].where(parquet["cell"].notna(), np.nan))
    # exact, where a column of floats is not
    assert [row["cell_id"] for row in rows] == [str(h3.str_to_int(row["cell"])) if row["cell"] else "" for row in rows]
    np.testing.assert_array_equal(pd.to_datetime(found["at"], utc=True), parquet["at"])
    assert rows[0]["day"] == parquet["day"].iloc[0].isoformat()
    assert [row["place"] for row in rows] == parquet["place"].to_list()


def test_csv_holds_no_formula(everything: ReadExport, parquet: pd.DataFrame, tmp_path: Path) -> None:
    text = everything.download("csv", tmp_path).read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    guarded = 0
    for row, original in zip(rows, parquet["text"], strict=True):
        if original is None:
            assert row["text"] == ""
        elif original[:1] in ("=", "+", "-", "@", "\t", "\r"):
            assert row["text"] == f"'{original}"
            guarded += 1
        else:
            assert row["text"] == original
        # a number that is negative stays one
        assert row["longitude"] in ("0", "-0") or row["longitude"].startswith("-")
    assert guarded > 400


def test_geojson(everything: ReadExport, parquet: pd.DataFrame, tmp_path: Path) -> None:
    path = everything.download("geojson", tmp_path)
    document = json.loads(path.read_text())
    assert document["type"] == "FeatureCollection"
    for feature, row in zip(document["features"], parquet.itertuples(), strict=True):
        assert feature.get("id") == row.cell
        assert (feature["geometry"] is None) == (row.cell is None)
        assert feature["properties"]["cell_id"] == (None if row.cell is None else h3.str_to_int(row.cell))
        assert feature["properties"]["tenth"] == row.tenth
        assert feature["properties"]["at"] == row.at.isoformat().replace("+00:00", "Z")
    found = geopandas.read_file(path)
    _shapes_are_the_cells(found)


def test_geoparquet(everything: ReadExport, parquet: pd.DataFrame, tmp_path: Path) -> None:
    path = everything.download("geoparquet", tmp_path)
    found = geopandas.read_parquet(path)
    _shapes_are_the_cells(found)
    assert found.crs == "OGC:CRS84"
    assert_frame_equal(pd.DataFrame(found.drop(columns="geometry")), parquet, check_dtype=False)
    metadata = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])
    column = metadata["columns"][metadata["primary_column"]]
    assert (metadata["version"], column["encoding"], column["geometry_types"]) == ("1.1.0", "WKB", ["Polygon"])
    np.testing.assert_allclose(column["bbox"], found.total_bounds)


def test_map(everything: ReadExport, tmp_path: Path) -> None:
    page = everything.download("map", tmp_path).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Everything" in page


def test_flows_are_lines(new_york: NewYork, tmp_path: Path) -> None:
    text = """\
-- title: Flows
-- description: Two flows, one across the antimeridian
-- formats: [geojson, geoparquet]
-- reads: [flow_hourly]
-- flow: [origin, destination]
SELECT geoToH3(40.7, -74.0, 7) AS origin, geoToH3(40.8, -73.9, 7) AS destination, 1 AS trips
UNION ALL SELECT geoToH3(-17.0, 179.0, 7), geoToH3(-18.0, -179.0, 7), 2
"""
    answer = new_york.export(Query.parse("flows", text, "flows.sql"))
    found = geopandas.read_parquet(answer.download("geoparquet", tmp_path)).sort_values("trips")
    near, across = found.geometry
    lat_lng = [h3.cell_to_latlng(found.iloc[0][end]) for end in ("origin", "destination")]
    np.testing.assert_allclose(near.coords, [point[::-1] for point in lat_lng])
    assert across.geom_type == "MultiLineString"
    assert across.length < 3
    assert {abs(x) for line in across.geoms for x, _ in line.coords} >= {180.0}
    again = geopandas.read_file(answer.download("geojson", tmp_path)).sort_values("trips")
    assert [shape.geom_type for shape in again.geometry] == ["LineString", "MultiLineString"]


def _shapes_are_the_cells(found: geopandas.GeoDataFrame) -> None:
    for row in found.itertuples():
        if row.geometry is None:
            assert row.cell is None or pd.isna(row.cell)
            continue
        lat, lng = h3.cell_to_latlng(row.cell)
        assert row.geometry.is_valid
        assert row.geometry.exterior.is_ccw
        assert shapely.contains_xy(row.geometry, lng, lat)
        assert len(row.geometry.exterior.coords) == 7


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ("1 AS n", "odd.sql:5: cell: the result has no column 'cell'; its columns are n"),
        ("'x' AS cell", "odd.sql: the column 'cell' is a cell, so its type must be UInt64, not String"),
        ("toUInt64(7) AS cell", "odd.sql:5: cell: 1 of 1 values of 'cell' are no H3 cells"),
        ("geoToH3(1., 2., 7) AS cell, 1 AS cell_id", "odd.sql: the column 'cell_id' is there twice"),
        ("geoToH3(1., 2., 7) AS cell, map('a', 1) AS m", "odd.sql: the column 'm' has the type Map(String, UInt8)"),
        ("geoToH3(1., 2., 7) AS cell, nothing AS m", "odd.sql:7: Unknown expression"),
        ("geoToH3(1., 2., 7) AS cell FROM absent", "odd.sql:7: Unknown table"),
        ("geoToH3(1., 2., 7) AS cell, file('/etc/passwd') AS m", "odd.sql:6: The warehouse is read-only here"),
    ],
)
def test_a_result_that_is_not_what_the_header_says(new_york: NewYork, columns: str, fault: str) -> None:
    text = f"""\
-- title: Odd
-- description: Odd
-- formats: [csv]
-- reads: [trips]
-- cell: cell
SELECT
    {columns}
"""
    with pytest.raises(ExportError) as error:
        new_york.export(Query.parse("odd", text, "odd.sql"))
    assert str(error.value).startswith(fault)
    assert list(new_york.bucket.list("exports/odd/")) == []


def test_times_of_an_hour_of_the_week_are_utc(everything: ReadExport, tmp_path: Path) -> None:
    rows = csv.DictReader(io.StringIO(everything.download("csv", tmp_path).read_text()))
    instants = {datetime.fromisoformat(row["at"]).utcoffset() for row in rows}
    assert {offset.total_seconds() for offset in instants if offset is not None} == {0}


class DamagingBucket(Bucket):
    """Stores a file otherwise than it was given: one byte more, or the end cut off."""

    damage: tuple[str, Callable[[bytes], bytes]] = ("", bytes)

    def upload(self, file: Path, key: str, callback: Any = None, *, content_type: str | None = None) -> None:
        ending, change = self.damage
        if key.endswith(ending):
            file.write_bytes(change(file.read_bytes()))
        super().upload(file, key, callback, content_type=content_type)


@pytest.mark.parametrize(
    ("ending", "change"),
    [
        ("csv", lambda body: body.replace(b"\n", b"\n1,", 1)),
        ("csv", lambda body: body[: len(body) // 2].rpartition(b"\n")[0] + b"\n"),
        ("parquet", lambda body: body[: len(body) // 2]),
        ("geojson", lambda body: body.replace(b"1", b"2", 1)),
    ],
    ids=["another-row", "fewer-rows", "cut-off", "another-digit"],
)
def test_what_does_not_read_back_is_never_published(
    new_york: NewYork, ending: str, change: Callable[[bytes], bytes]
) -> None:
    text = """\
-- title: Odd
-- description: Odd
-- formats: [csv, parquet, geojson]
-- reads: [cell_hourly]
-- cell: cell
SELECT DISTINCT cell FROM cell_hourly WHERE resolution = 8 ORDER BY cell LIMIT 50
"""
    bucket = DamagingBucket(new_york.bucket.access)
    bucket.damage = (ending, change)
    answer = replace(new_york, bucket=bucket).export(Query.parse("damaged", text, "damaged.sql"))
    [damaged] = answer.exported.damaged
    assert damaged.format in ending
    assert not answer.exported.is_latest
    assert answer.exported.folder is None
    assert bucket.read_json("exports/damaged/latest.json") is None
