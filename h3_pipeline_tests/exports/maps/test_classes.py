"""Classes of a legend: every number in one, and the label tells the truth."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from h3_pipeline.exports.maps.classes import classify, number
from h3_pipeline.exports.maps.colours import CLASSES

NUMBERS = st.one_of(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=60),
    st.lists(st.integers(1, 10**9), min_size=1, max_size=60),
    st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=60),
    st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=60),
)


@given(NUMBERS)
def test_every_number_has_a_class(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=float)
    classes = classify(values)
    assert list(classes.limits) == sorted(set(classes.limits))
    assert len(classes.labels) == len(classes.limits) + 1
    assert len(set(classes.palette.pick(len(classes.labels)))) == len(classes.labels)
    found = [classes.of(value) for value in values]
    assert all(0 <= index < len(classes.labels) for index in found)
    by_size = [index for _, index in sorted(zip(values.tolist(), found, strict=True))]
    assert by_size == sorted(by_size)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=200))
def test_labels_of_whole_numbers_are_true(numbers: list[int]) -> None:
    classes = classify(np.array(numbers, dtype=float))
    assert len(classes.labels) <= CLASSES
    for value in numbers:
        ends = [int(end.replace(",", "")) for end in classes.labels[classes.of(value)].split(" – ")]
        assert ends[0] <= value <= ends[-1]


def test_even_numbers_are_parted_evenly() -> None:
    values = np.arange(1.0, 701.0)
    classes = classify(values)
    counts = np.bincount([classes.of(value) for value in values])
    assert len(counts) == CLASSES
    assert counts.min() > 80
    assert "as many" in classes.method


def test_uneven_numbers_are_parted_by_a_factor() -> None:
    values = np.r_[np.full(10_000, 1.0), np.geomspace(1, 1e6, 200).round()]
    classes = classify(values)
    ratios = np.divide(classes.limits[1:], classes.limits[:-1])
    assert len(classes.labels) >= 6
    assert ratios.max() / ratios.min() < 3
    assert "multiple" in classes.method


def test_numbers_about_zero_are_parted_about_zero() -> None:
    classes = classify(np.linspace(-100, 300, 1000))
    assert classes.diverging
    assert classes.limits == tuple(-limit for limit in reversed(classes.limits))
    assert classes.of(0) == len(classes.labels) // 2


def test_a_few_numbers_are_shown_one_by_one() -> None:
    assert classify(np.array([3.0, 1.0, 3.0, 2.5])).labels == ("1", "2.5", "3")
    assert classify(np.array([np.nan, np.inf])).labels == ()


def test_the_largest_are_told_apart() -> None:
    values = np.r_[np.ones(10_000), np.arange(100.0, 400.0)]
    classes = classify(values, largest_only=300)
    assert len({classes.of(value) for value in range(100, 400)}) == CLASSES
    assert classes.of(1) == 0
    assert classes.labels[0].startswith("1 – ")


@pytest.mark.parametrize(
    ("value", "words"), [(1234567, "1,234,567"), (-3, "−3"), (0.123456, "0.1235"), (12345.6, "12,346"), (2.5, "2.5")]
)
def test_numbers_are_for_people(value: float, words: str) -> None:
    assert number(value) == words
    assert not re.search(r"e[+-]", number(value * 1e-3))
