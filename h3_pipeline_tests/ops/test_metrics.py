"""Metrics are lines that CloudWatch takes, and have no dimension without bounds."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from h3_pipeline.telemetry import metric_names as names
from h3_pipeline.telemetry import metrics
from h3_pipeline.telemetry.context import doing
from h3_pipeline.telemetry.metric_names import OTHER, Dimension, Metric, Stage
from h3_pipeline.telemetry.stages import StageClock


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    written: list[str] = []
    # what this process admitted before
    monkeypatch.setattr(metrics, "_admitted", {d: set[str]() for d in Dimension} | {Dimension.STAGE: set(Stage)})
    metrics.use(written.append)
    yield written
    metrics.use(None)


def check_format(line: str) -> dict:
    """What the embedded metric format demands of a line; its own words are in the comments."""
    assert line.endswith("\n")
    assert line.count("\n") == 1
    document = json.loads(line)
    assert len(line.encode()) <= 256 * 1024  # "a maximum size of 256 KB"
    assert isinstance(document["_aws"]["Timestamp"], int)  # "milliseconds after Jan 1, 1970"
    assert document["_aws"]["Timestamp"] > 1.6e12
    for directive in document["_aws"]["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 255
        assert directive["Dimensions"]  # minItems 1
        assert len(directive["Metrics"]) <= 100
        for keys in directive["Dimensions"]:
            assert len(keys) <= 9
            assert all(isinstance(document[key], str) and document[key] for key in keys)  # "a string value"
        for metric in directive["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert isinstance(document[metric["Name"]], int | float)  # "a numeric value"
            assert re.fullmatch(r"Seconds|Bytes|Count", metric["Unit"])
    return document


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
def test_every_metric_makes_a_valid_line(lines: list[str], metric: Metric) -> None:
    if metric.dimension is not None and metric.dimension is not Dimension.STAGE:
        metrics.admit(metric.dimension, ["a"])
    value = None if metric.dimension is None else Stage.JUDGE.value if metric.dimension is Dimension.STAGE else "a"
    with doing(run_id="r", upload="taxis/ü \n.csv"):
        metrics.emit({metric: 1.5}, value, code="x")
    document = check_format(lines[0])
    assert document[metric.name] == 1.5
    [directive] = document["_aws"]["CloudWatchMetrics"]
    expected = [[]] if metric.dimension is None else [[], [metric.dimension.key]]
    assert directive["Dimensions"] == expected
    assert document["upload"] == "taxis/ü \n.csv"
    assert document.get(metric.dimension.key if metric.dimension else "") == value


def test_names_are_unique_and_no_dimension_is_a_name_of_a_property() -> None:
    assert len(names.BY_NAME) == len(names.METRICS)
    keys = {dimension.key for dimension in Dimension}
    assert not keys & (set(names.BY_NAME) | {"run_id", "job", "asset", "upload"})
    defined = {value for value in vars(names).values() if isinstance(value, Metric)}
    assert defined == set(names.METRICS)


def test_a_dimension_cannot_grow_without_bounds(lines: list[str]) -> None:
    """Whoever tries to break a metric down by upload gets a few values, and `other`."""
    uploads = [f"upload-{number}.csv" for number in range(10_000)]
    for upload in uploads:
        metrics.admit(Dimension.FEED, [upload])
        metrics.emit({names.ROWS_IN: 1}, upload)
    found = {json.loads(line)["Feed"] for line in lines}
    assert len(found) == Dimension.FEED.limit + 1
    assert OTHER in found


def test_what_was_not_admitted_is_other(lines: list[str]) -> None:
    metrics.admit(Dimension.FEED, ["known"])
    metrics.emit({names.ROWS_IN: 1}, "known")
    metrics.emit({names.ROWS_IN: 1}, "user/feed\n")
    assert [json.loads(line)["Feed"] for line in lines] == ["known", OTHER]


@pytest.mark.parametrize(
    ("values", "dimension_value"),
    [
        ({names.ROWS_IN: 1}, None),
        ({names.QUEUE_DEPTH: 1}, "feed"),
        ({names.ROWS_IN: 1, names.QUEUE_DEPTH: 1}, "feed"),
        ({names.ROWS_IN: 1, names.STAGE_SECONDS: 1}, "feed"),
    ],
)
def test_metrics_of_different_dimensions_do_not_share_a_line(
    lines: list[str], values: dict[Metric, float], dimension_value: str | None
) -> None:
    with pytest.raises(ValueError, match="cannot be told"):
        metrics.emit(values, dimension_value)
    assert not lines


def test_nothing_is_written_when_off(capfd: pytest.CaptureFixture[str]) -> None:
    assert not metrics.are_on()
    metrics.emit({names.QUEUE_DEPTH: 1})
    assert capfd.readouterr().out == ""


def test_stages_are_measured_and_their_steps_belong_to_them(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("h3_pipeline.telemetry.stages.time.monotonic", lambda: now[0])
    told: list[str] = []
    clock = StageClock(told.append)
    stages = ["stage", "roll up", "publish trips 202401", "noted trips 202401", "publish cell_hourly 202401", "record"]
    for name in [*stages, "recorded"]:
        clock(name)
        now[0] += 1
    clock.stop()
    assert told == [*stages, "recorded"]
    found = {d["Stage"]: d["StageSeconds"] for d in map(json.loads, lines)}
    assert found == {"stage": 1, "roll up": 1, "publish": 3, "record": 2}


def test_the_names_need_the_standard_library_alone() -> None:
    """The infrastructure's dashboard reads them where the project's dependencies are not installed."""
    program = "import h3_pipeline.telemetry.metric_names as m, sys; print(len(m.METRICS), *sys.modules)"
    ran = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    count, *modules = ran.stdout.split()
    assert int(count) == len(names.METRICS)
    assert {m for m in modules if m.startswith("h3_pipeline")} == {
        "h3_pipeline",
        "h3_pipeline.telemetry",
        "h3_pipeline.telemetry.metric_names",
    }
