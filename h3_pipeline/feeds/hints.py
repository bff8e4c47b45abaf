"""What messages show of a file, and the feed to paste that would read it."""

import json
import re
from collections.abc import Iterable, Mapping
from glob import escape
from pathlib import PurePosixPath
from typing import Any

from h3_pipeline.feeds.headers import Header, normalise
from h3_pipeline.feeds.timeformat import is_time

_SHOWN_NAMES = 24
_SHOWN_CHARACTERS = 40
_PLACEHOLDER = "NAME OF THE COLUMN"

_GUESSES = {
    "started_at": re.compile(r"time|date|start|depart|begin|when"),
    "origin_lat": re.compile(r"\blat(itude)?\b|lat$"),
    "origin_lng": re.compile(r"\b(lng|lon|long|longitude)\b|(lng|lon)$"),
}
_OF_THE_END = re.compile(r"\b(end|stop|dest|destination|dropoff|drop|to|arrival)|^(end|dest|drop)")


def shown(value: str) -> str:
    """A name or value from a file: quoted, on one line, shortened."""
    return repr(value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 1] + "…")


def counted(count: int, noun: str) -> str:
    """A count of things: ``1 record``, ``2,000 records``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def shown_names(names: Iterable[str]) -> str:
    """Names of columns, comma-separated, as many as can be taken in."""
    listed = list(names)
    text = ", ".join(shown(name) for name in listed[:_SHOWN_NAMES])
    return text + (f" and {len(listed) - _SHOWN_NAMES:,} more" if len(listed) > _SHOWN_NAMES else "")


def feed_line(key: str, **says: Any) -> str:
    """A whole feeds file in one line of YAML, with one feed for this key."""
    name = re.sub(r"\W+", "-", PurePosixPath(key).name.split(".")[0]).strip("-")[:40] or "my-feed"
    return f"feeds: [{_flow({'name': name, 'match': escape(key), **says})}]"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    # a JSON scalar is a YAML scalar, and has no line end in it
    return json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())


def looks_like_data(header: Header) -> bool:
    """Whether what stands in the place of the header is a record."""
    return any(is_time(name) or _is_number(name) for name in header.names)


def columns_by_name(header: Header, known: Mapping[str, int]) -> dict[str, str]:
    """Columns for a feed to paste: those known by position, and a likely name for each one lacking."""
    columns = {column: header.names[place] for column, place in known.items()}
    starts = [name for name in header.names if not _OF_THE_END.search(normalise(name))]
    for column, pattern in _GUESSES.items():
        if column not in columns and not (column != "started_at" and "origin_point" in columns):
            columns[column] = next((name for name in starts if pattern.search(normalise(name))), _PLACEHOLDER)
    return columns


def columns_by_position(record: Header) -> dict[str, int]:
    """Columns for a feed to paste, for a file whose first line is a record."""
    times = [place for place, text in enumerate(record.names, 1) if is_time(text)]
    decimals = {place: float(text) for place, text in enumerate(record.names, 1) if "." in text and _is_number(text)}
    degrees = [place for place, number in decimals.items() if abs(number) <= 180]
    lat, lng = (*degrees, 1, 1)[:2]
    if abs(decimals.get(lat, 0)) > 90:
        lat, lng = lng, lat
    return {"started_at": (*times, 1)[0], "origin_lat": lat, "origin_lng": lng}


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None
