"""The questions answered by pandas, h3-py and PySAL from the clean trips, apart from any SQL."""

from collections.abc import Iterable

import h3
import numpy as np
import pandas as pd

BASE = 10


def trip_ends(trips: pd.DataFrame) -> pd.DataFrame:
    """A row for each departure and each arrival: what, cell at the base resolution, UTC hour, local hour."""
    parts = []
    for what, end, instant in (("departures", "origin", "started_at"), ("arrivals", "destination", "ended_at")):
        times = pd.to_datetime(trips[instant], utc=True)
        part = pd.DataFrame(
            {
                "what": what,
                "cell": _cells(trips, end),
                "hour": times.dt.tz_localize(None).dt.floor("h"),
                "local": times.dt.tz_localize(None).dt.floor("h")
                + pd.to_timedelta(trips["utc_offset_minutes"], unit="min"),
            }
        )
        parts.append(part.dropna())
    return pd.concat(parts, ignore_index=True)


def counts(ends: pd.DataFrame, by: list[str], resolution: int) -> pd.DataFrame:
    """Departures and arrivals by cell of a resolution and by other columns."""
    located = ends.assign(cell=coarser(ends["cell"], resolution))
    table = located.groupby([*by, "cell", "what"]).size().unstack("what", fill_value=0).reset_index()
    return table.rename_axis(columns=None)


def flows(trips: pd.DataFrame, resolution: int) -> pd.DataFrame:
    """A row for each trip with a destination: cells, local time of departure, minutes, km, fare."""
    started, ended = (pd.to_datetime(trips[name], utc=True).dt.tz_localize(None) for name in ("started_at", "ended_at"))
    return pd.DataFrame(
        {
            "origin": coarser(_cells(trips, "origin"), resolution),
            "destination": coarser(_cells(trips, "destination"), resolution),
            "local": started + pd.to_timedelta(trips["utc_offset_minutes"], unit="min"),
            "duration_min": (ended - started).dt.total_seconds() / 60,
            "distance_km": trips["distance_km"],
            "fare": trips["fare_amount"],
        }
    ).dropna(subset=["origin", "destination"])


def coarser(cells: pd.Series, resolution: int) -> pd.Series:
    """The ancestors of cells; missing ones stay missing."""
    known = {cell: h3.cell_to_parent(cell, resolution) for cell in cells.dropna().unique()}
    return cells.map(known)


def centre_in_box(cells: Iterable[str], south: float, north: float, west: float, east: float) -> set[str]:
    """Cells whose centre is in a box, which may span the antimeridian."""
    inside = set()
    for cell in cells:
        lat, lng = h3.cell_to_latlng(cell)
        in_longitude = west <= lng <= east if west <= east else (lng >= west or lng <= east)
        if south <= lat <= north and in_longitude:
            inside.add(cell)
    return inside


def _cells(trips: pd.DataFrame, end: str) -> pd.Series:
    points = zip(trips[f"{end}_lat"], trips[f"{end}_lng"], strict=True)
    return pd.Series(
        [None if np.isnan(lat) else h3.latlng_to_cell(lat, lng, BASE) for lat, lng in points], index=trips.index
    )
