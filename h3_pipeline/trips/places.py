"""SQL for coordinates: texts or WKT points to degrees, and degrees to H3 cells."""

from h3_pipeline.sql import literal
from h3_pipeline.trips.codes import one_of
from h3_pipeline.trips.times import Stage

_POINT_PATTERN = literal(r"^(?i)POINT\s*\(\s*[^\s()]+\s+[^\s()]+\s*\)$")
_EMPTY_POINT_PATTERN = literal(r"^(?i)POINT\s+EMPTY$")
_INSIDE_PARENTHESES_PATTERN = literal(r"\(([^()]*)\)")

FAULTS = ("", "missing", "invalid", "out_of_range", "null_island")
"""What may be wrong with coordinates."""


def split_point_stages(end: str) -> list[Stage]:
    """Stages that split ``{end}_point_text`` into ``{end}_lng_text`` and ``{end}_lat_text``.

    An empty point gives empty texts; anything but ``POINT (lng lat)`` gives ``?``, which no
    number is.

    Args:
        end: ``origin`` or ``destination``.
    """
    text = f"{end}_point_text"
    inner = f"splitByWhitespace(trimBoth(extract({text}, {_INSIDE_PARENTHESES_PATTERN})))"
    return [
        {
            f"{end}_parts": f"multiIf({text} = '' OR match({text}, {_EMPTY_POINT_PATTERN}), ['', ''],"
            f" match({text}, {_POINT_PATTERN}), {inner}, ['?', '?'])"
        },
        {f"{end}_lng_text": f"{end}_parts[1]", f"{end}_lat_text": f"{end}_parts[2]"},
    ]


def degree_stages(end: str) -> list[Stage]:
    """Stages that judge ``{end}_lat_text`` and ``{end}_lng_text``.

    Adds ``{end}_lat_read`` and ``{end}_lng_read`` (Nullable(Float64)), ``{end}_fault``: one of `FAULTS`,
    ``''`` for usable coordinates, and ``{end}_lat_safe`` and ``{end}_lng_safe`` (Float64): the coordinates,
    0 unless they are usable.
    """
    lat, lng = f"{end}_lat_read", f"{end}_lng_read"
    return [
        {lat: f"toFloat64OrNull({end}_lat_text)", lng: f"toFloat64OrNull({end}_lng_text)"},
        {
            f"{end}_fault": one_of(
                FAULTS,
                {
                    "missing": f"{end}_lat_text = '' OR {end}_lng_text = ''",
                    "invalid": f"NOT (isFinite(ifNull({lat}, nan)) AND isFinite(ifNull({lng}, nan)))",
                    "out_of_range": f"abs({lat}) > 90 OR abs({lng}) > 180",
                    "null_island": f"{lat} = 0 AND {lng} = 0",
                }.items(),
            )
        },
        {
            f"{end}_lat_safe": f"if({end}_fault = '', assumeNotNull({lat}), 0.)",
            f"{end}_lng_safe": f"if({end}_fault = '', assumeNotNull({lng}), 0.)",
        },
    ]


def cell(lat: str, lng: str, resolution: int) -> str:
    """H3 cell (UInt64) of a point; the coordinates must be finite and in range.

    ``geoToH3`` takes (lat, lng), which the client proves when it connects.
    """
    return f"geoToH3({lat}, {lng}, {resolution})"
