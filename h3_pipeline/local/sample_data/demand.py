"""When people travel: a week of local hours, laid over a period in UTC."""

import numpy as np
import numpy.typing as npt

from h3_pipeline.local.sample_data.clock import QUARTER_HOUR, Seconds, WallClock

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
    """The demand for trips by one clock over a period.

    Args:
        clock: The clock of the people.
        start: First instant of the period, UTC, on a quarter of an hour.
        end: First instant after it, likewise.
    """

    def __init__(self, clock: WallClock, start: int, end: int) -> None:
        self._start = start
        local = clock.local(np.arange(start, end, QUARTER_HOUR, dtype=np.int64))
        weekend = (local // _DAY - _SATURDAY) % 7 < 2
        hour = local % _DAY / _HOUR
        demand = np.where(weekend, _at(hour, _WEEKEND), _at(hour, _WEEKDAY))
        self._cumulative = np.concatenate([[0.0], np.cumsum(demand)]) / demand.sum()
        self._slots = np.where(weekend, 24, 0) + local % _DAY // _HOUR

    def instants(self, quantiles: npt.NDArray[np.float64]) -> Seconds:
        """The instants by which those shares (0 to 1) of the period's trips have started."""
        edges = self._start + QUARTER_HOUR * np.arange(len(self._cumulative))
        seconds = np.interp(quantiles, self._cumulative, edges).astype(np.int64)
        return np.minimum(seconds, edges[-1] - 1)

    def slots(self, instants: Seconds) -> npt.NDArray[np.int64]:
        """Local hour of instants within the period: 0 to 23, and 24 more at a weekend."""
        return self._slots[(instants - self._start) // QUARTER_HOUR]


def _at(hour: npt.NDArray[np.float64], demand: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Demand at hours of the day, straight between the full hours."""
    return np.interp(hour, np.arange(25), [*demand, demand[0]])
