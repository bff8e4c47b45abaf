"""How timestamps are written: found from a sample, or stated by a feed in strptime's words.

A format is decided once for a file and then required of every row, so nothing here is a guess
about a single value: the format is the one in which most of the sample is written, and the order of
day and month is what some value of the sample proves.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

from h3_pipeline.trips.upload import TimeFormat

DateOrder = Literal["mdy", "dmy"]

_TEXT = re.compile(
    r"(?P<first>\d{4}|\d{1,2})(?P<mark>[-/.])(?P<middle>\d{1,2})(?P=mark)(?P<last>\d{4}|\d{1,2})"
    r"(?P<join>[ T])(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?P<fraction>\.\d+)?)?"
    r"(?P<half> (?i:[AP]M))?(?: *(?P<zone>(?i:UTC|GMT|Z)|[+-]\d{2}:?\d{2}))?",
    re.ASCII,
)
_EPOCH = re.compile(r"(?P<whole>\d{9,13})(?P<fraction>\.\d+)?", re.ASCII)
_EPOCH_MIN, _EPOCH_MAX = 10**8, 2**32  # 1973 to 2106; fewer seconds might as well be a compact date

_STRPTIME = re.compile(
    r"(?P<first>%[Ymd])(?P<mark>[-/.])(?P<middle>%[md])(?P=mark)(?P<last>%[Ymd])"
    r"(?P<join>[ T])(?P<hour>%[HI]):%M(?P<seconds>:%S(?P<fraction>\.%f)?)?(?P<half> %p)?"
    r"(?: ?(?P<zone>%z|%Z|Z|UTC|GMT))?"
)
_SHORTHANDS = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%r": "%I:%M:%S %p"}
_EPOCH_WORDS: dict[str, TimeFormat] = {
    "%s": TimeFormat(kind="epoch_seconds"),
    "epoch_seconds": TimeFormat(kind="epoch_seconds"),
    "epoch_milliseconds": TimeFormat(kind="epoch_milliseconds"),
}

SUPPORTED = (
    "year-month-day, month/day/year or day/month/year with a four-digit year, then H:MM or H:MM:SS,"
    " perhaps with a fraction, AM/PM, Z, UTC or an offset; or epoch seconds or milliseconds"
)
"""The formats there are, for messages."""


class UndecidedTimeFormat(Exception):
    """The sample does not decide a format.

    Attributes:
        code: ``unknown_time_format``, ``ambiguous_dates`` or ``mixed_dates``.
        examples: Positions in the sample: a value in no known format (none if all are empty), an
            ambiguous one, or one that is month-first and one that is day-first.
        month_first: What the format is if months come first; None for an unknown format.
    """

    def __init__(
        self,
        code: Literal["unknown_time_format", "ambiguous_dates", "mixed_dates"],
        examples: tuple[int, ...],
        month_first: TimeFormat | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.examples = examples
        self.month_first = month_first


class _Shape(NamedTuple):
    """What must be alike in two values for one format to read both."""

    kind: Literal["text", "epoch_seconds", "epoch_milliseconds"]
    year_first: bool = True
    date_separator: str = "-"
    time_separator: str = " "
    has_seconds: bool = True
    twelve_hour: bool = False
    zone: Literal["none", "utc", "z", "offset"] = "none"


_ENOUGH = 500
"""Values that tell a format. Reading one takes as long as the engine takes for a whole row."""


@dataclass(slots=True)
class _Value:
    shape: _Shape
    fraction: bool
    month_first: bool = True
    day_first: bool = True


def _read(value: str) -> _Value | None:
    """What the value can be, or None if it is in no known format."""
    if match := _TEXT.fullmatch(value):
        return _read_text(match)
    if match := _EPOCH.fullmatch(value):
        count = int(match["whole"])
        fraction = bool(match["fraction"])
        if _EPOCH_MIN <= count < _EPOCH_MAX:
            return _Value(_Shape("epoch_seconds"), fraction)
        if _EPOCH_MIN * 1000 <= count < _EPOCH_MAX * 1000:
            return _Value(_Shape("epoch_milliseconds"), fraction)
    return None


def is_time(value: str) -> bool:
    """Whether a trimmed value is a time in a known format."""
    return _read(value) is not None


def _read_text(match: re.Match[str]) -> _Value | None:
    first, middle, last = match["first"], match["middle"], match["last"]
    year_first = len(first) == 4
    if year_first == (len(last) == 4):  # two years, or none
        return None
    twelve_hour = match["half"] is not None
    hours = range(1, 13) if twelve_hour else range(24)
    if int(match["hour"]) not in hours or int(match["minute"]) > 59 or int(match["second"] or 0) > 59:
        return None
    if year_first:
        month_first, day_first = _is_month_and_day(middle, last), False
    else:
        month_first, day_first = _is_month_and_day(first, middle), _is_month_and_day(middle, first)
    if not (month_first or day_first):
        return None
    zone = (match["zone"] or "").upper()
    shape = _Shape(
        "text",
        year_first,
        match["mark"],
        match["join"],
        match["second"] is not None,
        twelve_hour,
        "none" if not zone else "z" if zone == "Z" else "utc" if zone in ("UTC", "GMT") else "offset",
    )
    return _Value(shape, match["fraction"] is not None, month_first, day_first)


def _is_month_and_day(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _reads(shape: _Shape, other: _Shape) -> bool:
    """Whether the format of ``shape`` reads values of ``other``."""
    if other == shape:
        return True
    alike = shape._replace(zone="none") == other._replace(zone="none")
    return alike and (shape.zone, other.zone) in {("z", "utc"), ("utc", "z"), ("offset", "z")}


def _to_read(values: Sequence[str]) -> list[tuple[int, str]]:
    """Values that are not empty, with their places: all of them where a day may be a month, else some hundreds."""
    step = max(len(values) // _ENOUGH, 1)
    spread = [(place, value) for place in range(0, len(values), step) if (value := values[place])]
    first = next(filter(None, (_read(value) for _, value in spread)), None)
    if first and (first.shape.kind != "text" or first.shape.year_first) and 2 * step * len(spread) >= len(values):
        return spread
    return [(place, value) for place, value in enumerate(values) if value]


def detect_time_format(values: Sequence[str], *, hint: DateOrder | None = None) -> TimeFormat:
    """Find the format in which most of the values are written.

    Args:
        values: Trimmed values of one column; empty ones are passed over.
        hint: Order of month and day where no value proves one.

    Raises:
        UndecidedTimeFormat: No value is in a known format, or the order of month and day is open.
    """
    read = [(place, _read(value)) for place, value in _to_read(values)]
    known = [(place, value) for place, value in read if value is not None]
    if not known:
        raise UndecidedTimeFormat("unknown_time_format", tuple(place for place, _ in read[:1]))
    counts = Counter(value.shape for _, value in known)
    # of shapes that read equally many, the first in the file
    shape = max(counts, key=lambda one: sum(count for other, count in counts.items() if _reads(one, other)))
    fitting = [(place, value) for place, value in known if _reads(shape, value.shape)]
    time_format = TimeFormat(
        kind=shape.kind,
        order="ymd" if shape.year_first else "mdy",
        date_separator=cast(Literal["-", "/", "."], shape.date_separator),
        time_separator=cast(Literal[" ", "T"], shape.time_separator),
        has_seconds=shape.has_seconds,
        twelve_hour=shape.twelve_hour,
        fraction=any(value.fraction for _, value in fitting),
        zone="utc" if shape.zone == "z" else shape.zone,
    )
    if shape.year_first:
        return time_format
    month_first = next((place for place, value in fitting if not value.day_first), None)
    day_first = next((place for place, value in fitting if not value.month_first), None)
    if month_first is not None and day_first is not None:
        raise UndecidedTimeFormat("mixed_dates", (month_first, day_first), time_format)
    if month_first is None and day_first is None:
        if hint is None:
            raise UndecidedTimeFormat("ambiguous_dates", (fitting[0][0],), time_format)
        return replace(time_format, order=hint)
    return time_format if day_first is None else replace(time_format, order="dmy")


def matches(time_format: TimeFormat, value: str) -> bool:
    """Whether a trimmed value is written in the format."""
    read = _read(value)
    if read is None or read.shape.kind != time_format.kind:
        return False
    if time_format.kind != "text":
        return True
    shape = read.shape
    right_order = {"ymd": shape.year_first, "mdy": not shape.year_first and read.month_first}.get(
        time_format.order, not shape.year_first and read.day_first
    )
    zones = {"none": ("none",), "utc": ("utc", "z"), "offset": ("offset", "z")}[time_format.zone]
    return (
        right_order
        and shape.zone in zones
        and (time_format.fraction or not read.fraction)
        and (shape.date_separator, shape.time_separator, shape.has_seconds, shape.twelve_hour)
        == (
            time_format.date_separator,
            time_format.time_separator,
            time_format.has_seconds,
            time_format.twelve_hour,
        )
    )


def from_strptime(text: str) -> TimeFormat:
    """Read a feed's ``time_format``.

    Args:
        text: Codes of strptime, such as ``%d/%m/%Y %H:%M``; or ``epoch_seconds``, ``epoch_milliseconds``.

    Raises:
        ValueError: The codes do not make a format that can be required of every row.
    """
    text = text.strip()
    if text in _EPOCH_WORDS:
        return _EPOCH_WORDS[text]
    plain = re.sub(r"%-([a-zA-Z])", r"%\1", text)  # digits are one or two anyway
    for short, long in _SHORTHANDS.items():
        plain = plain.replace(short, long)
    if "%y" in plain:
        raise ValueError(f"{text!r} has %y, but years must have four digits (%Y)")
    match = _STRPTIME.fullmatch(plain)
    order = (match["first"] + match["middle"] + match["last"]).replace("%", "").lower() if match else ""
    if match is None or order not in ("ymd", "mdy", "dmy"):
        raise ValueError(
            f"{text!r} is not supported; write a date of %Y, %m, %d with '-', '/' or '.', then ' ' or 'T', then %H:%M"
            " or %H:%M:%S (%I and ' %p' for AM and PM), perhaps .%f, and perhaps %z, 'Z' or ' UTC'; or epoch_seconds"
        )
    if (match["hour"] == "%I") != (match["half"] is not None):
        raise ValueError(f"{text!r}: %I (hours to 12) and ' %p' (AM or PM) go together")
    zone = match["zone"]
    return TimeFormat(
        order=cast(Literal["ymd", "mdy", "dmy"], order),
        date_separator=cast(Literal["-", "/", "."], match["mark"]),
        time_separator=cast(Literal[" ", "T"], match["join"]),
        has_seconds=match["seconds"] is not None,
        twelve_hour=match["half"] is not None,
        fraction=match["fraction"] is not None,
        zone="none" if zone is None else "offset" if zone == "%z" else "utc",
    )


def to_strptime(time_format: TimeFormat) -> str:
    """The format as a feed's ``time_format`` states it; `from_strptime` reads it back."""
    if time_format.kind != "text":
        return time_format.kind
    parts = {"y": "%Y", "m": "%m", "d": "%d"}
    return "".join(
        (
            time_format.date_separator.join(parts[part] for part in time_format.order),
            time_format.time_separator,
            "%I:%M" if time_format.twelve_hour else "%H:%M",
            ":%S" if time_format.has_seconds else "",
            ".%f" if time_format.fraction else "",
            " %p" if time_format.twelve_hour else "",
            {"none": "", "utc": " UTC", "offset": "%z"}[time_format.zone],
        )
    )
