import pytest

from benchmarks.grid import Grid, number, rows_text
from benchmarks.spread import Spread, interleaved, ratio, spread


def test_the_median_is_the_middle_whatever_the_order() -> None:
    assert spread([5, 1, 100]) == Spread(5, 1, 100)
    assert spread([4, 1, 2, 100]) == Spread(3, 1, 100)
    assert spread([]) is None


@pytest.mark.parametrize(("value", "base", "expected"), [(6, 2, 3), (None, 2, None), (6, None, None), (6, 0, None)])
def test_a_ratio_needs_both(value: float | None, base: float | None, expected: float | None) -> None:
    assert ratio(value, base) == expected


def test_everyone_runs_once_a_round_and_is_first_in_turn() -> None:
    orders = interleaved(["a", "b", "c"], 4)
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


@pytest.mark.parametrize(
    ("rows", "text"), [(1, "1"), (999, "999"), (50_000, "50 k"), (1_500_000, "1.5 M"), (1_234_567, "1,234,567")]
)
def test_rows_as_people_say_them(rows: int, text: str) -> None:
    assert rows_text(rows) == text


def test_a_grid_as_markdown() -> None:
    grid = Grid(["what", "s"], [["a", number(1234.56)], ["b", number(None)]], "When.")
    assert grid.markdown() == "When.\n\n| what | s |\n| --- | --: |\n| a | 1,234.6 |\n| b | – |"
