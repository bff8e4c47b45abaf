"""Where trips start, and the time zones there. Offline."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tzfpy import get_tz

from h3_pipeline.feeds.dialect import Record

_POINT = re.compile(r"\s*POINT\s*\(\s*(?P<lng>[^\s()]+)\s+(?P<lat>[^\s()]+)\s*\)\s*", re.IGNORECASE)
_AT_SEA = "Etc/"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trip starts: the record's line, and degrees."""

    line: int
    lat: float
    lng: float


def check_zone(name: str) -> str:
    """Check the name of an IANA zone.

    Raises:
        ValueError: There is no such zone; the message offers one with a name like it.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = {zone.casefold(): zone for zone in available_timezones()}
        close = get_close_matches(name.casefold(), known, n=1)
        offer = f"; did you mean {known[close[0]]!r}?" if close else ""
        raise ValueError(f"{name!r} is no IANA time zone{offer}") from None
    return name


def usable_origins(records: Iterable[Record], columns: Mapping[str, int]) -> Iterable[Origin]:
    """The origins in a sample that lie on the globe and not at (0, 0)."""
    for record in records:
        if "origin_point" in columns:
            match = _POINT.fullmatch(record.field(columns["origin_point"]))
            lat, lng = (match["lat"], match["lng"]) if match else ("", "")
        else:
            lat, lng = record.field(columns["origin_lat"]), record.field(columns["origin_lng"])
        try:
            origin = Origin(record.line, float(lat), float(lng))
        except ValueError:
            continue
        if not (math.isfinite(origin.lat) and math.isfinite(origin.lng)):
            continue
        if abs(origin.lat) <= 90 and abs(origin.lng) <= 180 and (origin.lat, origin.lng) != (0, 0):
            yield origin


def zones_of(origins: Iterable[Origin]) -> Mapping[str, Sequence[int]]:
    """The time zones of origins on land or near it, each with the lines of its origins."""
    zones: dict[str, list[int]] = {}
    for origin in origins:
        zone = get_tz(origin.lng, origin.lat)
        if zone and not zone.startswith(_AT_SEA):
            zones.setdefault(zone, []).append(origin.line)
    return zones
