"""Results to make maps of."""

from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

HOURS = 168


def city_trips(count: int, *, seed: int = 5) -> pd.DataFrame:
    """Trips between two centres and their surroundings: lat, lng, to_lat, to_lng, hour_of_week, minutes."""
    rng = np.random.default_rng(seed)
    middles = np.array([[40.75, -73.98], [40.68, -73.95]])

    def places() -> np.ndarray:
        return middles[rng.integers(0, 2, count)] + rng.normal(scale=0.03, size=(count, 2))

    start, end = places(), places()
    by_day = np.r_[np.full(7, 1), np.full(13, 5), np.full(4, 2)]
    odds = np.tile(by_day, 7) / by_day.sum() / 7
    return pd.DataFrame(
        {
            "lat": start[:, 0],
            "lng": start[:, 1],
            "to_lat": end[:, 0],
            "to_lng": end[:, 1],
            "hour_of_week": rng.choice(HOURS, count, p=odds).astype(np.uint8),
            "minutes": rng.gamma(3.0, 4.0, count),
        }
    )


def cells(lat: pd.Series, lng: pd.Series, resolution: int) -> np.ndarray:
    """The cell of each point."""
    return np.array([h3.latlng_to_cell(*point, resolution) for point in zip(lat, lng, strict=True)], dtype=np.uint64)


def by_cell_and_hour(trips: pd.DataFrame, resolutions: tuple[int, ...]) -> pd.DataFrame:
    """departures and minutes (their mean) by cell and hour of the week, at each resolution."""
    parts = []
    for resolution in resolutions:
        placed = trips.assign(cell=cells(trips["lat"], trips["lng"], resolution))
        grouped = placed.groupby(["cell", "hour_of_week"])["minutes"].agg(["size", "mean"]).reset_index()
        parts.append(grouped.rename(columns={"size": "departures", "mean": "minutes"}))
    return pd.concat(parts, ignore_index=True)


def flows(trips: pd.DataFrame, resolution: int) -> pd.DataFrame:
    """trips by origin and destination, both as hexadecimal strings."""
    placed = pd.DataFrame(
        {
            "origin": [f"{cell:x}" for cell in cells(trips["lat"], trips["lng"], resolution)],
            "destination": [f"{cell:x}" for cell in cells(trips["to_lat"], trips["to_lng"], resolution)],
        }
    )
    return placed.groupby(["origin", "destination"]).size().rename("trips").reset_index()


def write(frame: pd.DataFrame, path: Path) -> Path:
    """A result as a Parquet file of several row groups."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=1000)
    return path
