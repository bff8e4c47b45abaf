"""SQL for timestamps: text as a file writes it, to seconds since 1970-01-01T00:00:00Z.

The work is done in stages, each a mapping of new column names to expressions over the columns of
the stage before, because ClickHouse would otherwise repeat long expressions many times over.
"""

import re
from collections.abc import Mapping

from h3_pipeline.sql import literal
from h3_pipeline.trips.upload import TimeFormat

Stage = Mapping[str, str]

MAX_TIMESTAMP = 2**32 - 1
"""Last second that a ClickHouse DateTime holds, 2106-02-07T06:28:15Z."""

_DAY = 86_400
_OFFSET_PATTERN = literal(r"([Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)$")
_WITHOUT_FRACTION = literal(r"\1\2")
_UTC_PATTERN = literal(r"(?i)\s*(?:Z|UTC|GMT)$")


def joda_pattern(time_format: TimeFormat) -> str:
    """The format's date and time, without fraction and zone, in Joda syntax.

    ClickHouse's Joda parser takes one digit or two for a two-letter field, checks the calendar
    and requires the whole text to match, which is what a strict reading needs.
    """
    parts = {"y": "yyyy", "m": "MM", "d": "dd"}
    date = time_format.date_separator.join(parts[part] for part in time_format.order)
    separator = "'T'" if time_format.time_separator == "T" else time_format.time_separator
    hour = "hh" if time_format.twelve_hour else "HH"
    clock = f"{hour}:mm:ss" if time_format.has_seconds else f"{hour}:mm"
    return f"{date}{separator}{clock} a" if time_format.twelve_hour else f"{date}{separator}{clock}"


def instant_stages(name: str, time_format: TimeFormat, timezone: str) -> list[Stage]:
    """Stages that turn ``{name}_text`` into an instant.

    Args:
        name: Canonical column, ``started_at`` or ``ended_at``.
        time_format: How the text is written.
        timezone: IANA zone of a text that carries no zone of its own.

    Returns:
        Stages that add ``{name}_utc`` (seconds since the epoch, Int64, NULL if unreadable),
        ``{name}_offset`` (local time minus UTC, seconds), ``{name}_gap`` and ``{name}_fold``
        (the local time does not exist, or exists twice, at a change of clocks).
    """
    text = f"{name}_text"
    if time_format.kind != "text":
        scale = 1000 if time_format.kind == "epoch_milliseconds" else 1
        instant = f"accurateCastOrNull(floor(toFloat64OrNull({text}) / {scale}), 'Int64')"
        return [{f"{name}_utc": instant}, *_known_instant(name, timezone)]
    return [*_naive_stages(name, time_format), *_zone_stages(name, time_format, timezone)]


def _naive_stages(name: str, time_format: TimeFormat) -> list[Stage]:
    """Stages that add ``{name}_naive``, the written time as if it were UTC, and its suffix."""
    stages: list[Stage] = []
    text = f"{name}_text"
    core = text
    if time_format.zone != "none":
        pattern = _UTC_PATTERN if time_format.zone == "utc" else _OFFSET_PATTERN
        stages.append({f"{name}_suffix": f"extract({text}, {pattern})"})
        if time_format.zone == "utc":  # the pattern has no group, so the suffix includes its spaces
            without_suffix = f"substring({text}, 1, length({text}) - length({name}_suffix))"
        else:
            without_suffix = f"trimRight(substring({text}, 1, length({text}) - length({name}_suffix)))"
        stages.append({f"{name}_bare": f"if({name}_suffix = '', '', {without_suffix})"})
        core = f"{name}_bare"
    if time_format.fraction:
        half = " [AaPp][Mm]" if time_format.twelve_hour else ""
        pattern = literal(rf"(:\d{{1,2}})\.\d+({half})$")
        stages.append({f"{name}_whole": f"replaceRegexpOne({core}, {pattern}, {_WITHOUT_FRACTION})"})
        core = f"{name}_whole"
    parsed = f"parseDateTime64InJodaSyntaxOrNull({core}, {literal(joda_pattern(time_format))}, 'UTC')"
    # the parser would take a sign before the first number, and a year of fewer digits
    starts_right = f"match({core}, {literal(_date_pattern(time_format))})"
    stages.append({f"{name}_naive": f"if({starts_right}, toUnixTimestamp64Second({parsed}), NULL)"})
    return stages


def _date_pattern(time_format: TimeFormat) -> str:
    separator = re.escape(time_format.date_separator)
    return "^" + separator.join(r"\d{4}" if part == "y" else r"\d{1,2}" for part in time_format.order) + r"\D"


def _zone_stages(name: str, time_format: TimeFormat, timezone: str) -> list[Stage]:
    naive = f"{name}_naive"
    if time_format.zone == "utc":
        return [{f"{name}_utc": naive}, *_known_instant(name, timezone)]
    if time_format.zone == "offset":
        return _offset_stages(name, timezone)
    if timezone == "UTC":
        return [{f"{name}_utc": naive, f"{name}_offset": "0", f"{name}_gap": "false", f"{name}_fold": "false"}]
    # The offsets a day before and a day after differ only near a change of clocks. There, the
    # reading by either offset is right if that offset holds at the instant it gives.
    return [
        {
            f"{name}_before": _offset_at(f"{naive} - {_DAY}", timezone),
            f"{name}_after": _offset_at(f"{naive} + {_DAY}", timezone),
        },
        {
            f"{name}_by_before": f"{name}_before = {name}_after"
            f" OR {_offset_at(f'{naive} - {name}_before', timezone)} = {name}_before",
            f"{name}_by_after": f"{name}_before != {name}_after"
            f" AND {_offset_at(f'{naive} - {name}_after', timezone)} = {name}_after",
        },
        {
            f"{name}_gap": f"NOT {name}_by_before AND NOT {name}_by_after",
            f"{name}_fold": f"{name}_by_before AND {name}_by_after",
            # Earlier of the two in a fold; the offset before the change in a gap, which moves the
            # time forward by the gap's width.
            f"{name}_utc": f"{naive} - multiIf({name}_by_before AND {name}_by_after,"
            f" greatest({name}_before, {name}_after), {name}_by_after, {name}_after, {name}_before)",
        },
        {f"{name}_offset": _offset_at(f"{name}_utc", timezone)},
    ]


def _offset_stages(name: str, timezone: str) -> list[Stage]:
    suffix = f"{name}_suffix"
    digits = f"replaceOne(substring({suffix}, 2), ':', '')"
    minutes = f"toInt32OrZero(substring({digits}, 1, 2)) * 60 + toInt32OrZero(substring({digits}, 3, 2))"
    written = f"if(startsWith({suffix}, '-'), -60, 60) * ({minutes})"
    local = f"{name}_written"
    if timezone != "UTC":
        # an offset of zero is how UTC is written, so the feed's zone tells the local hour
        local = f"if({name}_written = 0, {_offset_at(f'{name}_utc', timezone)}, {name}_written)"
    return [
        {f"{name}_written": written},
        {f"{name}_utc": f"{name}_naive - {name}_written"},
        {f"{name}_offset": local, f"{name}_gap": "false", f"{name}_fold": "false"},
    ]


def _known_instant(name: str, timezone: str) -> list[Stage]:
    """Stages for a text that states its instant: only the local hour depends on the zone."""
    offset = "0" if timezone == "UTC" else _offset_at(f"{name}_utc", timezone)
    return [{f"{name}_offset": offset, f"{name}_gap": "false", f"{name}_fold": "false"}]


def _offset_at(instant: str, timezone: str) -> str:
    """Local time minus UTC, in seconds, at an instant given in seconds since the epoch."""
    bounded = f"toUInt32(least(greatest(ifNull({instant}, 0), 0), {MAX_TIMESTAMP}))"
    return f"timeZoneOffset(toDateTime({bounded}, {literal(timezone)}))"
