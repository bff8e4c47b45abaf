"""Many measurements to a few numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of the same.

    Attributes:
        middle: Their median.
        low: The smallest.
        high: The largest.
    """

    middle: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    """Median and ends of some measurements; None where there is none."""
    return Spread(median(values), min(values), max(values)) if values else None


def ratio(value: float | None, base: float | None) -> float | None:
    """How many times `base` a value is; None where one of them is not known."""
    return value / base if value is not None and base else None


def interleaved(contenders: Sequence[str], rounds: int) -> list[list[str]]:
    """The order of each round: everyone once, and another one first each time.

    What a run leaves to the next, such as a warm cache, does then not always go to the same one.
    """
    return [[*contenders[n % len(contenders) :], *contenders[: n % len(contenders)]] for n in range(rounds)]
