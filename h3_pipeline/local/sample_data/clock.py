"""The clock on the wall: UTC instants to local times, for whole arrays."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.int64]
"""Seconds since 1970-01-01T00:00:00, of UTC or of a local clock."""

QUARTER_HOUR = 900
"""Every zone's offset is a multiple of it, and changes at one."""

_DAY = 86_400


class WallClock:
    """The local clock of a zone over a period, and a day before and after it.

    Args:
        timezone: IANA zone.
        start: First instant of the period, UTC, on a quarter of an hour.
        end: First instant after it.
    """

    def __init__(self, timezone: str, start: int, end: int) -> None:
        zone = ZoneInfo(timezone)
        self._start = start - _DAY
        self._offsets = np.array(
            [_offset(zone, instant) for instant in range(self._start, end + _DAY, QUARTER_HOUR)], dtype=np.int64
        )

    def local(self, instants: Seconds) -> Seconds:
        """What the clock shows at instants, as if it were UTC."""
        return instants + self._offsets[(instants - self._start) // QUARTER_HOUR]

    def shows_twice(self, instants: Seconds) -> npt.NDArray[np.bool_]:
        """Whether the clock shows the same at another instant, because it was put back."""
        twice = np.zeros(len(instants), dtype=np.bool_)
        steps = np.diff(self._offsets)
        for index in np.flatnonzero(steps < 0).tolist():
            change = self._start + QUARTER_HOUR * (index + 1)
            twice |= (change + steps[index] <= instants) & (instants < change - steps[index])
        return twice


def texts(seconds: Seconds) -> list[str]:
    """Times as ``YYYY-MM-DD hh:mm:ss``."""
    return [text.replace("T", " ") for text in np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()]


def _offset(zone: ZoneInfo, instant: int) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
