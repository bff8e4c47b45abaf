"""When people travel: a week of local hours, laid over a period in UTC."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from h3_pipeline.local.sample_data.clock import QUARTER_HOUR, Seconds, WallClock
from h3_pipeline.local.sample_data.draws import choose, cumulative

HOURS_OF_WEEKDAY_AND_WEEKEND = 48
"""Number of slots: hours 0 to 23 of a weekday, then those of a Saturday or Sunday."""

# Demand at each full local hour. Weekdays peak at 8 and 18; weekends are flat and late.
_WEEKDAY = (
    *(0.25, 0.15, 0.10, 0.08, 0.12, 0.35, 0.80, 1.50, 1.90, 1.30, 0.90, 0.90),
    *(1.00, 1.00, 1.00, 1.10, 1.40, 1.90, 2.00, 1.50, 1.10, 0.90, 0.70, 0.45),
)
_WEEKEND = (
    *(0.90, 0.75, 0.55, 0.35, 0.20, 0.15, 0.20, 0.30, 0.50, 0.70, 0.95, 1.15),
    *(1.25, 1.30, 1.35, 1.40, 1.40, 1.40, 1.40, 1.35, 1.30, 1.30, 1.30, 1.15),
)
_HOUR, _DAY = 3_600, 86_400
_SATURDAY = 2  # 1970-01-01 was a Thursday


class Demand:
    """The demand for trips in some places over a period.

    Args:
        clocks: The clock of each place.
        weights: The share of the trips that each place has, in any unit.
        start: First instant of the period, UTC, on a quarter of an hour.
        end: First instant after it, likewise.
    """

    def __init__(self, clocks: Sequence[WallClock], weights: Sequence[float], start: int, end: int) -> None:
        self._start = start
        self._edges = np.arange(start, end + 1, QUARTER_HOUR, dtype=np.int64)
        local = np.array([clock.local(self._edges[:-1]) for clock in clocks])
        weekend = (local // _DAY - _SATURDAY) % 7 < 2
        hour = local % _DAY / _HOUR
        demand = np.where(weekend, _at(hour, _WEEKEND), _at(hour, _WEEKDAY))
        demand *= (np.array(weights) / demand.sum(axis=1))[:, None]
        self._slots = np.where(weekend, 24, 0) + local % _DAY // _HOUR
        self._cumulative = np.concatenate([[0.0], np.cumsum(demand.sum(axis=0))]) / demand.sum()
        self._places = cumulative(demand.T)

    def instants(self, quantiles: npt.NDArray[np.float64]) -> Seconds:
        """The instants by which those shares (0 to 1) of the period's trips have started."""
        seconds = np.interp(quantiles, self._cumulative, self._edges).astype(np.int64)
        return np.minimum(seconds, self._edges[-1] - 1)

    def places(self, rng: np.random.Generator, instants: Seconds) -> npt.NDArray[np.int64]:
        """Draw the place, by index, of trips that start at instants within the period."""
        return choose(rng, self._places[self._bins(instants)])

    def slots(self, places: npt.NDArray[np.int64], instants: Seconds) -> npt.NDArray[np.int64]:
        """Local hours in places at instants within the period: 0 to 23, and 24 more at a weekend."""
        return self._slots[places, self._bins(instants)]

    def _bins(self, instants: Seconds) -> npt.NDArray[np.int64]:
        return (instants - self._start) // QUARTER_HOUR


def _at(hour: npt.NDArray[np.float64], demand: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Demand at hours of the day, straight between the full hours."""
    return np.interp(hour, np.arange(25), [*demand, demand[0]])
