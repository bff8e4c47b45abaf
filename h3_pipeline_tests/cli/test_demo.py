"""``demo``, as the real program, twice on one home."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import h3
import pandas as pd
import pytest

from h3_pipeline.cli.demo import write_samples
from h3_pipeline.exports.header import Format
from h3_pipeline.local import object_store
from h3_pipeline_tests.cli.conftest import Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 3000
UPLOADS = ["demo/tokyo.csv", "demo/sao-paulo.csv.gz", "demo/lagos.csv", "demo/new-york-yellow.csv"]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, list[str]]]:
    """A home with two demos behind it, and what each said."""
    program = Program(tmp_path_factory.mktemp("demo") / "home")
    said = []
    try:
        for _ in range(2):
            answer = program("demo", "--rows", str(ROWS))
            assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
            assert object_store.running(program.home) is None
            said.append(answer.stdout)
        yield program, said
    finally:
        object_store.stop(program.home)


def test_the_second_is_like_the_first(demos: tuple[Program, list[str]]) -> None:
    first, second = ([re.sub(r"\s+\d+\.\d$", "", line) for line in said.splitlines()] for said in demos[1])
    assert first == second


def test_it_tells_what_became_of_each_row(demos: tuple[Program, list[str]], tmp_path: Path) -> None:
    lines = [line.split() for line in demos[1][0].splitlines()]
    samples = write_samples(tmp_path, ROWS)
    assert sum(sample.rows for sample in samples) == ROWS
    for upload, sample in zip(UPLOADS, samples, strict=True):
        place = next(n for n, line in enumerate(lines) if line[:1] == [upload])
        assert lines[place][2:5] == [str(sample.rows), str(sample.rows_loaded), str(sample.rows_rejected)]
        below = lines[place + 1 : place + 1 + len(sample.rejected)]
        assert {code: int(rows) for code, rows in below} == sample.rejected


def test_the_tables_hold_the_second_load_alone(demos: tuple[Program, list[str]]) -> None:
    program, _ = demos
    counted = program("query", "SELECT upload, count() AS n FROM trips GROUP BY upload", "--format", "json")
    loaded = {row["upload"]: row["n"] for row in json.loads(counted.stdout)}
    assert sorted(loaded) == sorted(UPLOADS)
    status = json.loads(program("status", "--json").stdout)
    assert {upload["upload"]: upload["rows_in_tables"] for upload in status["uploads"]} == loaded


def test_it_shows_the_busiest_cells(demos: tuple[Program, list[str]]) -> None:
    program, said = demos
    cells = re.findall(r"^([0-9a-f]{15})  (.+?)  +([\d,]+)  +([\d,]+)  (\d\d):00 to \d\d:00$", said[0], re.MULTILINE)
    assert len(cells) == 12
    assert {city for _, city, *_ in cells} == {"Lagos", "New York", "São Paulo", "Tokyo"}
    assert all(h3.get_resolution(cell) == 8 for cell, *_ in cells)
    counted = program(
        "query",
        "SELECT h3ToString(cell) AS c, sum(departures) AS d, sum(arrivals) AS a "
        "FROM cell_hourly_view WHERE resolution = 8 GROUP BY c",
        "--format",
        "json",
    )
    expected = {row["c"]: (row["d"], row["a"]) for row in json.loads(counted.stdout)}
    for cell, _, departures, arrivals, _ in cells:
        assert (int(departures.replace(",", "")), int(arrivals.replace(",", ""))) == expected[cell]
    busiest = {sum(expected[cell]) for cell, city, *_ in cells if city == "New York"}
    assert max(busiest) == max(
        sum(counts) for cell, counts in expected.items() if abs(h3.cell_to_latlng(cell)[1] + 74) < 2
    )


def test_it_exports_in_every_format_and_ends_with_a_map(demos: tuple[Program, list[str]]) -> None:
    program, said = demos
    page = Path(said[1].splitlines()[-1].strip())
    assert page.is_file()
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    folders = [path for path in (program.home / "exports").rglob("latest") if path.is_dir()]
    endings = {file.name.split(".", 1)[1] for folder in folders for file in folder.iterdir()}
    assert endings == {each.value for each in Format}
    departures = pd.read_parquet(page.with_suffix(".parquet"))["departures"].sum()
    counted = program(
        "query", "SELECT sum(departures) AS n FROM cell_hourly_view WHERE resolution = 8", "--format", "json"
    )
    assert json.loads(counted.stdout) == [{"n": departures}]


def test_it_says_what_to_do_next(demos: tuple[Program, list[str]]) -> None:
    after = demos[1][0].split("\nNext\n", 1)[1]
    assert "h3-pipeline dev" in after
    query = re.search(r'h3-pipeline query "(.+)"', after)
    assert query
    assert demos[0]("query", query[1]).returncode == 0
