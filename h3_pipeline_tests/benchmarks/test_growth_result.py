"""What grows: parts that were measured at different times stand side by side, and say so."""

from datetime import timedelta

from benchmarks.growth_result import GrowthResult, Measurement
from h3_pipeline_tests.benchmarks.results import MACHINE

FIRST = Measurement(machine=MACHINE, rounds=3)
LATER = Measurement(machine=MACHINE.model_copy(update={"date": MACHINE.date + timedelta(days=1)}), rounds=1)


def test_parts_measured_at_once_are_one_line() -> None:
    result = GrowthResult(measurements={"tables": FIRST, "files": FIRST})
    assert result.grid().caption == f"{FIRST}."


def test_parts_measured_apart_are_named() -> None:
    result = GrowthResult(measurements={"tables": FIRST, "files": LATER, "keys": FIRST})
    assert result.grid().caption == f"Tables, keys: {FIRST}. Files: {LATER}."
