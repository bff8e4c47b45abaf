"""Results reduced to what a map shows, compared with pandas."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.maps import result as reducing
from h3_pipeline.exports.maps.result import read_result
from h3_pipeline.exports.maps.spec import Combine, MapSpec, Measure
from h3_pipeline_tests.exports.maps import results

SPEC = MapSpec(
    title="Departures",
    measures=(Measure("departures", "Departures"), Measure("minutes", "Duration", "min", weight="departures")),
    cell="cell",
    hour_of_week="hour_of_week",
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return results.by_cell_and_hour(results.city_trips(4000), (6, 8))


@pytest.fixture(scope="module")
def source(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results.write(frame, tmp_path_factory.mktemp("result") / "result.parquet")


def _expected(frame: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    whole = frame.assign(time=frame["minutes"] * frame["departures"])
    sums = whole.groupby(by)[["departures", "time"]].sum()
    return pd.DataFrame({"departures": sums["departures"], "minutes": sums["time"] / sums["departures"]})


@pytest.mark.parametrize("pending", [1 << 20, 500])
def test_sums_and_means_are_those_of_pandas(
    frame: pd.DataFrame, source: Path, pending: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reducing, "_PENDING_ROWS", pending)
    monkeypatch.setattr(reducing, "_BATCH_ROWS", 700)
    result = read_result(source, SPEC)
    assert result.rows == len(frame)
    assert result.combine == (Combine.SUM, Combine.MEAN)
    assert [grid.resolution for grid in result.grids] == [6, 8]
    for grid in result.grids:
        mine = frame[[h3.get_resolution(cell) == grid.resolution for cell in frame["cell"]]]
        totals = pd.DataFrame(grid.totals.T, index=grid.keys[:, 0], columns=["departures", "minutes"]).sort_index()
        pd.testing.assert_frame_equal(totals, _expected(mine, "cell"), check_dtype=False, check_names=False)
        # what is drawn last is the largest
        assert (np.diff(grid.totals[0]) >= 0).all()
        assert grid.hourly is not None
        assert (np.diff(grid.hourly.hour.astype(int)) >= 0).all()
        index = pd.MultiIndex.from_arrays([grid.keys[grid.hourly.feature, 0], grid.hourly.hour])
        hourly = pd.DataFrame(grid.hourly.values.T, index=index, columns=["departures", "minutes"]).sort_index()
        expected = _expected(mine, ["cell", "hour_of_week"])
        assert hourly.index.tolist() == expected.index.tolist()
        np.testing.assert_allclose(hourly.to_numpy(), expected.to_numpy())


def test_flows_in_hexadecimal_are_pairs(tmp_path: Path) -> None:
    flows = results.flows(results.city_trips(2000), 7)
    twice = pd.concat([flows, flows], ignore_index=True)
    spec = MapSpec(title="Flows", measures=(Measure("trips", "Trips"),), flow=("origin", "destination"))
    [grid] = read_result(results.write(twice, tmp_path / "flows.parquet"), spec).grids
    found = {(f"{o:x}", f"{d:x}"): total for (o, d), total in zip(grid.keys.tolist(), grid.totals[0], strict=True)}
    assert found == {(row.origin, row.destination): 2 * row.trips for row in flows.itertuples()}


def test_flows_have_hours(tmp_path: Path) -> None:
    flows = results.flows(results.city_trips(500), 6)
    frame = pd.concat([flows.assign(hour=3), flows.assign(hour=90, trips=flows["trips"] * 2)], ignore_index=True)
    spec = MapSpec(
        title="Flows", measures=(Measure("trips", "Trips"),), flow=("origin", "destination"), hour_of_week="hour"
    )
    [grid] = read_result(results.write(frame, tmp_path / "flows.parquet"), spec).grids
    assert grid.hourly is not None
    assert set(grid.hourly.hour.tolist()) == {3, 90}
    early, late = (
        dict(zip(grid.hourly.feature[at].tolist(), grid.hourly.values[0, at].tolist(), strict=True))
        for at in (grid.hourly.hour == 3, grid.hourly.hour == 90)
    )
    assert late == {feature: 2 * trips for feature, trips in early.items()}
    assert [early[feature] + late[feature] for feature in range(len(grid.keys))] == grid.totals[0].tolist()


def test_an_arrow_file_gives_the_same(frame: pd.DataFrame, source: Path, tmp_path: Path) -> None:
    path = tmp_path / "result.arrow"
    feather.write_feather(pa.Table.from_pandas(frame), str(path), compression="uncompressed")
    one, other = read_result(source, SPEC), read_result(path, SPEC)
    for left, right in zip(one.grids, other.grids, strict=True):
        assert (left.keys == right.keys).all()
        np.testing.assert_array_equal(left.totals, right.totals)


def test_what_is_too_much_leaves_out_the_smallest(frame: pd.DataFrame, source: Path) -> None:
    whole = read_result(source, SPEC)
    few = read_result(source, replace(SPEC, max_features=10))
    for all_of, some in zip(whole.grids, few.grids, strict=True):
        assert len(some.keys) == 10
        assert some.found == len(all_of.keys)
        assert sorted(some.totals[0]) == sorted(all_of.totals[0])[-10:]
        assert some.hourly is not None
        assert set(some.hourly.feature.tolist()) == set(range(10))

    little = read_result(source, replace(SPEC, max_rows=400))
    assert sum(len(grid.hourly.hour) for grid in little.grids if grid.hourly) <= 400
    assert all(len(grid.keys) for grid in little.grids)


def test_nulls_count_for_nothing(tmp_path: Path) -> None:
    a, b = (h3.latlng_to_cell(40.7, lng, 7) for lng in (-74.0, -73.9))
    frame = pd.DataFrame(
        {
            "cell": pd.array([a, a, b, None], dtype="UInt64"),
            "minutes": [10.0, np.nan, np.nan, 7.0],
            "trips": pd.array([1, None, 3, 9], dtype="Int64"),
        }
    )
    spec = MapSpec(title="t", cell="cell", measures=(Measure("trips", "Trips"), Measure("minutes", "Minutes")))
    [grid] = read_result(results.write(frame, tmp_path / "r.parquet"), spec).grids
    found = dict(zip(grid.keys[:, 0].tolist(), grid.totals.T.tolist(), strict=True))
    assert found[a] == [1, 10]
    assert found[b][0] == 3
    assert np.isnan(found[b][1])


def _no_file(path: Path) -> None:
    path.write_bytes(b"cell,departures\n1,2\n")


def _written(**changes: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        cell = h3.latlng_to_cell(40.7, -74.0, 7)
        frame = pd.DataFrame({"cell": [cell], "departures": [1], "minutes": [1.0], "hour_of_week": [0]})
        results.write(frame.assign(**changes), path)

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_no_file, "neither a Parquet file nor an Arrow file"),
        (_written(hour_of_week=[168]), "hour_of_week holds 168, which is no hour of the week"),
        (_written(hour_of_week=[None]), "hour_of_week holds nan, which is no hour of the week"),
        (_written(departures=["many"]), "departures is no number but"),
        (_written(cell=["Broadway"]), "the column cell does not hold H3 cells"),
        (lambda path: results.write(pd.DataFrame({"x": [1]}), path), "the column cell, which the result does not have"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "result"
    write(path)
    with pytest.raises(ExportError, match=message) as caught:
        read_result(path, SPEC)
    assert "\n" not in str(caught.value)


def test_too_many_different_cells_are_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reducing, "MAX_DIFFERENT", 100)
    with pytest.raises(ExportError, match="more than 100 cells, flows or hours"):
        read_result(source, SPEC)
