"""``export``, on a home with a few trips."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from h3_pipeline.exports.catalog import ExportCatalog
from h3_pipeline_tests.cli.conftest import Answer, one_error_line

Cli = Callable[..., Answer]

MINE = """\
-- title: Mine
-- description: Trips by datasource
-- formats: [csv, arrow]
-- reads: [trips]
-- parameters:
--   region: {type: String, default: Prague, description: Which}
SELECT datasource, count() AS trips FROM trips WHERE region = {region:String} GROUP BY datasource ORDER BY datasource
"""


def test_list(cli: Cli) -> None:
    answer = cli("export", "--list")
    assert answer.code == 0
    names = set(ExportCatalog.load().queries)
    assert names <= {line.split(" ", 1)[0] for line in answer.out.splitlines()}
    listed = json.loads(cli("export", "--list", "--json").out)["exports"]
    assert {export["name"] for export in listed} == names


def test_a_query_of_ones_own_and_one_by_day(
    loaded: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "mine.sql").write_text(MINE)
    monkeypatch.setenv("H3_EXPORTS", str(tmp_path / "queries"))
    answer = cli("export", "mine", "hourly_cells", "--json", "--param", "resolution=7", "--out", tmp_path / "out")
    assert (answer.code, answer.err) == (0, "")
    mine, hourly = json.loads(answer.out)["exports"]
    assert (mine["name"], mine["rows"], mine["parameters"]) == ("mine", 2, {"region": "Prague"})
    csv, arrow = (Path(file["path"]) for file in mine["files"])
    assert csv == tmp_path / "out" / "mine.csv"
    assert pd.read_csv(csv).to_dict("list") == {"datasource": ["a", "b"], "trips": [2, 1]}
    assert pd.read_feather(arrow).equals(pd.read_csv(csv).astype({"trips": "uint64"}))
    # by default the last day with trips
    assert hourly["partition"] == "2018-06-01"
    assert {Path(file["path"]).name.split(".")[0] for file in hourly["files"]} == {"hourly_cells-2018-06-01"}
    table = pd.read_parquet(tmp_path / "out" / "hourly_cells-2018-06-01.parquet")
    assert table["departures"].sum() == 1
    # and on the disk of the laptop, below the home
    copies = loaded / "exports" / "mine" / "latest"
    assert {file.name for file in copies.iterdir()} == {"mine.csv", "mine.arrow"}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["busiest_cell"], "There is no export 'busiest_cell'; did you mean 'busiest_cells'?"),
        (["coverage", "--param", "resolution"], "--param takes NAME=VALUE, not 'resolution'"),
        (["coverage", "--param", "box=1"], "No such parameter: box; there are region, resolution"),
        (["coverage", "--date", "2024-01-01"], "--date is for exports by day or month; coverage is about everything"),
        (["hourly_cells", "--date", "1.1.2024"], "--date takes a day as YYYY-MM-DD, not '1.1.2024'"),
        (
            ["coverage", "--param", "resolution=3"],
            "The parameter resolution of the export coverage must be one of "
            "H3_ROLLUP_RESOLUTIONS (9, 8, 7, 6, 5), not 3",
        ),
    ],
)
def test_wrong_arguments(cli: Cli, home: Path, arguments: list[str], fault: str) -> None:
    answer = cli("export", *arguments)
    assert (answer.code, answer.out, one_error_line(answer.err)) == (1, "", fault)


def test_an_empty_warehouse(cli: Cli, home: Path) -> None:
    answer = cli("export", "hourly_cells")
    assert answer.code == 1
    assert one_error_line(answer.err) == "There are no trips in the tables yet; say which day with --date"
