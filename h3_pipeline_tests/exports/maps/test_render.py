"""A map's file: self-contained, the same each time, and deaf to what its values say."""

import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pandas as pd
import pytest

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.maps.extent import bounds, places
from h3_pipeline.exports.maps.payload import Payload
from h3_pipeline.exports.maps.render import write_map
from h3_pipeline.exports.maps.spec import MapSpec, Measure
from h3_pipeline_tests.exports.maps import results

SPEC = MapSpec(title="Departures", measures=(Measure("departures", "Departures"),), cell="cell")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = results.by_cell_and_hour(results.city_trips(1000), (7, 8))
    return results.write(frame, tmp_path_factory.mktemp("result") / "result.parquet")


def _spec_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="spec">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_one_file_that_asks_for_nothing(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "map.html"
    written = write_map(source, SPEC, target)
    page = target.read_text("utf-8")
    assert written.path == target
    assert written.bytes == target.stat().st_size < 3_000_000
    assert [each.name for each in tmp_path.iterdir()] == ["map.html"]
    assert "default-src &#39;none&#39;" in page
    assert "connect-src &#39;none&#39;" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?!data:)\w+:", page)
    assert "deck.gl (MIT licence" in page


def test_the_same_result_gives_the_same_file(source: Path, tmp_path: Path) -> None:
    for name in ("one.html", "other.html"):
        write_map(source, SPEC, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_the_library_is_pydecks_with_its_licences(source: Path, tmp_path: Path) -> None:
    write_map(source, SPEC, tmp_path / "map.html")
    found = re.search(r'id="library">([^<]+)</script>', (tmp_path / "map.html").read_text("utf-8"))
    assert found
    script = gzip.decompress(base64.b64decode(found[1])).decode()
    assert "Bundled license information" in script
    assert "sourceMappingURL" not in script


def test_values_cannot_break_out(source: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    spec = MapSpec(
        title=evil, description=evil, note=evil, cell="cell", measures=(Measure("departures", evil, unit=evil),)
    )
    write_map(source, spec, tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert _spec_of(page)["measures"][0]["label"] == evil
    assert _spec_of(page)["title"] == evil


def test_tiles_are_asked_for_only_where_the_map_says_so(source: Path, tmp_path: Path) -> None:
    spec = replace(SPEC, tiles_url="https://tiles.example.org/{z}/{x}/{y}.png", tiles_attribution="© mappers")
    write_map(source, spec, tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text("utf-8")
    assert "connect-src https://tiles.example.org;" in page
    assert "© mappers" in page


@pytest.mark.parametrize("url", ["tiles/{z}", "ftp://host/{z}", "https://", "https://a;script-src *", "javascript:1"])
def test_an_address_that_is_none_is_refused(url: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no address of tiles"):
        write_map(source, replace(SPEC, tiles_url=url), tmp_path / "map.html")
    assert not any(tmp_path.iterdir())


def test_what_is_no_cell_leaves_no_file(tmp_path: Path) -> None:
    source = results.write(pd.DataFrame({"cell": [5], "departures": [1]}), tmp_path / "r.parquet")
    with pytest.raises(ExportError, match=r"5 \(5\) is not an H3 cell"):
        write_map(source, SPEC, tmp_path / "map.html")
    assert not (tmp_path / "map.html").exists()


def test_without_rows_the_page_is_small(tmp_path: Path) -> None:
    empty = pd.DataFrame({"cell": pd.array([], dtype="UInt64"), "departures": pd.array([], dtype="Int64")})
    written = write_map(results.write(empty, tmp_path / "r.parquet"), SPEC, tmp_path / "map.html")
    assert (written.rows, written.features) == (0, 0)
    assert written.bytes < 60_000


def test_a_map_has_cells_or_flows() -> None:
    with pytest.raises(ValueError, match="either cell or flow"):
        replace(SPEC, cell=None)
    with pytest.raises(ValueError, match="either cell or flow"):
        replace(SPEC, flow=("a", "b"))
    with pytest.raises(ValueError, match="at least one measure"):
        replace(SPEC, measures=())


def test_the_view_is_where_most_is() -> None:
    city = np.random.default_rng(1).normal((-74.0, 40.7), 0.05, size=(1000, 2))
    points = np.vstack([city, [(2.3, 48.9)]])
    west, south, east, north = bounds(points, np.ones(len(points)), share=0.98)
    assert -74.3 < west < east < -73.7
    assert 40.4 < south < north < 41.0
    assert bounds(points)[2:] == pytest.approx((2.3, 48.9))


def test_the_view_lies_across_the_antimeridian_where_the_cells_do() -> None:
    west, _, east, _ = bounds(np.array([(179.0, -17.0), (-179.5, -16.0), (178.0, -18.0)]))
    assert (west, east) == (178.0, 180.5)


def test_places_are_told_apart_and_named() -> None:
    rng = np.random.default_rng(1)
    prague, fiji = rng.normal((14.43, 50.08), 0.05, size=(600, 2)), rng.normal((180.0, -17.0), 0.05, size=(200, 2))
    fiji[:, 0] = (fiji[:, 0] + 180) % 360 - 180
    first, second = places(np.vstack([fiji, prague]), np.r_[np.ones(200), np.full(600, 2.0)], 0.98)
    assert first.name == "Europe/Prague, 50.1°N 14.4°E"
    assert first.share == pytest.approx(1200 / 1400)
    assert first.box[0] < 14.43 < first.box[2]
    assert second.name.startswith("Pacific/Fiji, 17.0°S")
    assert 179 < second.box[0] < 180 < second.box[2] < 181


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "u1"),
        ([0, 256], "u2"),
        ([0, 2**20], "u4"),
        ([-1, 5], "i4"),
        ([0.5, 3], "f4"),
        ([np.nan, 3], "f4"),
        ([2.0**40, 1], "f8"),
    ],
)
def test_numbers_take_the_room_they_need(values: list[float], kind: str) -> None:
    payload = Payload()
    payload.add(np.arange(3, dtype=np.uint8))
    place = payload.add_numbers(np.array(values, dtype=float))
    assert place["type"] == kind
    assert place["offset"] % 8 == 0
    content = gzip.decompress(base64.b64decode(payload.text()))
    read = np.frombuffer(content, dtype=f"<{kind}", count=place["length"], offset=place["offset"])
    np.testing.assert_array_equal(read.astype(float), values)


def test_cells_keep_all_their_bits() -> None:
    cells = np.array([h3.latlng_to_cell(1, 2, 15)], dtype=np.uint64)
    payload = Payload()
    place = payload.add(cells)
    assert place["type"] == "u8"
    assert gzip.decompress(base64.b64decode(payload.text())) == cells.tobytes()
