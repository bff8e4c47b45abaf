from pathlib import Path

import pytest
from PIL import Image

from benchmarks.loading import _compare
from benchmarks.loading_chart import draw
from benchmarks.loading_report import costs, notes, start, times
from benchmarks.loading_result import LoadingResult, NotComparable, SizeResult
from h3_pipeline_tests.benchmarks.results import MACHINE, loading_result, runs


def test_medians_and_multiples_of_the_pipelines_time() -> None:
    grid = times(loading_result())
    assert grid.header == ["seconds (× the pipeline's)", "1 M rows"]
    assert [row[1] for row in grid.rows] == ["2.0", "12.0 (6.00 ×)", "failed", "1.0 (0.50 ×)"]
    assert "3 rounds" in grid.caption
    assert "2024-05-01, 2 cores (A Processor)" in grid.caption


def test_costs_by_row_and_before_the_first() -> None:
    result = loading_result()
    assert list(costs(result).rows[0]) == ["this pipeline", "2.00", "4.0", "1.00"]
    assert list(start(result).rows[0]) == ["this pipeline", "0.50", "0.50", "0.50", "1.00", "1.00"]
    assert list(start(result).rows[1])[1:] == ["–"] * 5


def test_what_differs_and_what_failed_is_said() -> None:
    text = "\n".join(notes(loading_result()))
    assert "999,000 trips loaded; the tables are the same for this pipeline, pandas + h3-py." in text
    assert "the tables of limit: the engine alone differ: trips rows." in text
    assert "polars + polars-h3 failed in 1 of 1 runs: killed: more than 1.0 GiB of memory" in text
    assert "pandas + h3-py took the whole file at once." in text


def test_one_that_did_not_run_has_not_failed() -> None:
    size = loading_result().sizes[-1]
    assert size.without_figure("polars") == "failed"
    del size.runs["polars"]
    assert size.without_figure("polars") == "–"


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    draw(loading_result(), tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        colours = picture.convert("RGB").getcolors(1 << 24) or []
        assert len(colours) > 4


def test_a_result_reads_back(tmp_path: Path) -> None:
    result = loading_result()
    result.write(tmp_path / "loading.json")
    assert LoadingResult.read(tmp_path / "loading.json") == result
    assert LoadingResult.read(tmp_path / "none.json") is None


def test_runs_are_added_to_a_kept_result() -> None:
    more = loading_result()
    more.sizes[-1].runs = {"pipeline": runs(4, 4, 4), "limit": runs(3)}
    more.sizes[-1].different = {"limit": ["trips checksum"]}
    more.sizes.append(SizeResult(rows=5_000_000, bytes=1, runs={"pipeline": runs(9)}))
    more.machine = MACHINE.model_copy(update={"commit": MACHINE.commit + "+", "load": 3.0})
    whole = more.added_to(loading_result())
    assert [size.rows for size in whole.sizes] == [1, 1_000_000, 5_000_000]
    assert [run.seconds for run in whole.sizes[1].runs["pipeline"]] == [2, 1, 30, 4, 4, 4]
    assert [run.seconds for run in whole.sizes[1].runs["pandas"]] == [12, 12, 12]
    assert whole.sizes[1].different == {"limit": ["trips checksum", "trips rows"]}
    assert whole.sizes[1].equal == ["pipeline", "pandas"]
    assert "5 M rows (0.0 MB): 1 round of this pipeline." in notes(whole)
    assert more.added_to(None) is more


def test_a_result_of_another_commit_or_of_other_tables_is_not_added_to() -> None:
    other = loading_result()
    other.machine = MACHINE.model_copy(update={"commit": "another"})
    with pytest.raises(NotComparable, match="another machine or commit"):
        other.added_to(loading_result())
    other = loading_result()
    other.sizes[-1].trips = 5
    other.sizes[-1].rollup_rows = {"cell_hourly_view 9 groups": 3}
    kept = loading_result()
    kept.sizes[-1].rollup_rows = {"cell_hourly_view 9 groups": 4}
    with pytest.raises(NotComparable, match="tables of 1,000,000 rows"):
        other.added_to(kept)


def test_a_contender_whose_tables_differ_once_is_no_longer_equal() -> None:
    good = {"trips rows": 10, "trips checksum": 5, "cell_hourly_view 9 groups": 3}
    size, found = SizeResult(rows=10, bytes=1), {}
    for contender in ("pipeline", "pandas", "polars"):
        _compare(size, found, contender, good)
    assert size.equal == ["pipeline", "pandas", "polars"]
    assert size.trips == 10
    assert size.rollup_rows == {"cell_hourly_view 9 groups": 3}
    _compare(size, found, "pandas", good | {"trips checksum": 6})
    _compare(size, found, "limit", {"trips rows": 10})
    _compare(size, found, "pandas", good)
    assert size.equal == ["pipeline", "polars"]
    assert size.different["pandas"] == ["trips checksum"]
    assert size.different["limit"] == ["cell_hourly_view 9 groups", "trips checksum"]


def test_a_pipeline_that_differs_from_itself_is_noticed() -> None:
    size, found = SizeResult(rows=10, bytes=1), {}
    _compare(size, found, "pipeline", {"trips rows": 10})
    _compare(size, found, "pipeline", {"trips rows": 11})
    assert size.equal == []
    assert size.different == {"pipeline": ["trips rows"]}
