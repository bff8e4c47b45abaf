"""Classes of numbers for a legend: few, with round limits, and with words that say how they were made."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from h3_pipeline.exports.maps.colours import CLASSES, DIVERGING, SEQUENTIAL, Palette

_SKEWED = 30
"""The largest is so many times the median: equal counts would put all that matters into one class."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of numbers, from the smallest.

    Attributes:
        limits: Ascending; a number belongs to the class above the limits that it reaches. One fewer than classes.
        labels: What each class holds, in numbers.
        method: How they were made, in words.
        diverging: Whether they lie about zero.
    """

    limits: tuple[float, ...]
    labels: tuple[str, ...]
    method: str
    diverging: bool = False

    @property
    def palette(self) -> Palette:
        """Colours that fit."""
        return DIVERGING if self.diverging else SEQUENTIAL

    def of(self, value: float) -> int:
        """The class of a number."""
        return bisect_right(self.limits, value)


def classify(values: npt.NDArray[np.float64], *, largest_only: int | None = None) -> Classes:
    """Classes for numbers: about zero if there are some on either side, else by size.

    Args:
        values: Any shape; what is not finite is left out.
        largest_only: Tell so many of the largest apart; all others are in the class of the smallest of these.
    """
    known = values[np.isfinite(values)]
    of = ""
    if largest_only is not None and known.size > largest_only:
        smallest = known.min()
        known = np.sort(known)[-largest_only:]
        known[0] = smallest
        of = f" of the largest {largest_only:,}"
    if not known.size:
        return Classes((), (), "no numbers")
    different = np.unique(known)
    if different[0] < 0 < different[-1]:
        return _about_zero(known)
    if different.size <= CLASSES:
        labels = tuple(number(value) for value in different)
        return Classes(tuple(different[1:].tolist()), labels, "one for each number")
    largest, median = float(different[-1]), float(np.median(known))
    if different[0] >= 0 and largest > _SKEWED * max(median, float(different[different > 0][0])):
        limits = _steps(float(different[different > 0][0]), largest)
        return _labelled(limits, known, "each begins at about the same multiple of the one before")
    limits = _rounded(np.quantile(known, np.arange(1, CLASSES) / CLASSES), known)
    return _labelled(limits, known, f"about as many{of} in each")


def number(value: float) -> str:
    """A number for people: thousands apart, four digits at most behind what is small."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}").replace("-", "−")


def _about_zero(known: npt.NDArray[np.float64]) -> Classes:
    sizes = np.abs(known[known != 0])
    limits = _rounded(np.quantile(sizes, (0.25, 0.6, 0.9)), sizes) or (float(sizes.max()),)
    both = (*(-limit for limit in reversed(limits)), *limits)
    labels = [f"{number(low)} to {number(high)}" for low, high in pairwise(both)]
    return Classes(
        both,
        (f"below {number(both[0])}", *labels, f"{number(both[-1])} and more"),
        "the same steps on either side of zero",
        diverging=True,
    )


def _steps(smallest: float, largest: float) -> tuple[float, ...]:
    """Limits between two numbers, each about a like factor above the one before, with one digit."""
    even = np.geomspace(smallest, largest, CLASSES + 1)[1:-1]
    limits = {float(f"{limit:.1g}") for limit in even}
    return tuple(sorted(limit for limit in limits if smallest < limit < largest))


def _rounded(limits: Iterable[float], known: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Limits with two digits, whole ones for whole numbers, all between the smallest and the largest."""
    whole = bool((known == np.round(known)).all())
    smallest, largest = float(known.min()), float(known.max())
    chosen = set()
    for limit in limits:
        rounded = float(f"{limit:.2g}")
        chosen.add(float(np.ceil(rounded)) if whole else rounded)
    return tuple(sorted(limit for limit in chosen if smallest < limit <= largest))


def _labelled(limits: tuple[float, ...], known: npt.NDArray[np.float64], method: str) -> Classes:
    whole = bool((known == np.round(known)).all())
    labels = []
    for index, (low, high) in enumerate(pairwise((float(known.min()), *limits, float(known.max())))):
        upper = high - 1 if whole and index < len(limits) else high
        labels.append(number(low) if low == upper else f"{number(low)} – {number(upper)}")
    return Classes(limits, tuple(labels), method)
