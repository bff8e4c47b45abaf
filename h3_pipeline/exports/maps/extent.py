"""What part of the world to show."""

from dataclasses import dataclass

import h3.api.numpy_int as h3
import numpy as np
import numpy.typing as npt
from tzfpy import get_tz

Box = tuple[float, float, float, float]
"""Degrees: west, south, east, north. East is more than 180 where the box lies across the antimeridian."""


_NEIGHBOURHOOD = 3
"""H3 resolution whose cells, about 120 km across, tell one place from another."""

_MOST_PLACES = 12


@dataclass(frozen=True, slots=True)
class Where:
    """A part of the world where cells are: a city, or several that lie close together.

    Attributes:
        name: Its time zone and its middle; other names would need a network.
        share: Of the whole's weight, 0 to 1.
        box: What to show of it.
    """

    name: str
    share: float
    box: Box


def places(points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], share: float) -> list[Where]:
    """Where points are, the place with the largest weight first; places far behind it are left out.

    Args:
        points: Degrees, shape (points, 2), at least one: longitude, latitude.
        weights: What each counts for.
        share: Of a place's weight that its box holds, about, along each axis.
    """
    if not weights.sum():
        weights = np.ones(len(points))
    around = np.array([h3.latlng_to_cell(lat, lng, _NEIGHBOURHOOD) for lng, lat in points], dtype=np.uint64)
    occupied, belongs = np.unique(around, return_inverse=True)
    group = np.array(_connected(occupied.tolist()))[belongs]
    sizes = np.bincount(group, weights)
    found = []
    for index in np.argsort(sizes)[::-1][:_MOST_PLACES]:
        mine = group == index
        box = bounds(points[mine], weights[mine], share)
        found.append(Where(_name(box), float(sizes[index] / sizes.sum()), box))
    return found


def _connected(cells: list[int]) -> list[int]:
    """For each cell, which group of neighbouring ones it is of."""
    groups: dict[int, int] = {}
    known, number = set(cells), -1
    for cell in cells:
        if cell in groups:
            continue
        number += 1
        waiting = [cell]
        while waiting:
            each = waiting.pop()
            if each in known and each not in groups:
                groups[each] = number
                waiting += h3.grid_disk(each, 1).tolist()
    return [groups[cell] for cell in cells]


def _name(box: Box) -> str:
    west, south, east, north = box
    lng, lat = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
    where = f"{abs(lat):.1f}°{'N' if lat >= 0 else 'S'} {abs(lng):.1f}°{'E' if lng >= 0 else 'W'}"
    zone = get_tz(lng, lat)
    return f"{zone}, {where}" if zone and not zone.startswith("Etc/") else where


def bounds(points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64] | None = None, share: float = 1.0) -> Box:
    """The box around points.

    Args:
        points: Degrees, shape (points, 2), at least one: longitude, latitude.
        weights: What each counts for, if not all of them are to be inside.
        share: Of the weights to be inside, about, along each axis.
    """
    if weights is None or not weights.sum():
        weights, share = np.ones(len(points)), 1.0
    # begin behind the widest gap between neighbours, round the world
    around = np.sort(points[:, 0])
    gaps = np.diff(np.r_[around, around[0] + 360])
    start = around[(int(gaps.argmax()) + 1) % len(around)]
    west, east = _middle((points[:, 0] - start) % 360 + start, weights, share)
    south, north = _middle(points[:, 1], weights, share)
    return west, south, east, north


def _middle(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], share: float) -> tuple[float, float]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    # a hair less, lest rounding look beyond the last
    low, high = np.searchsorted(reached, ((1 - share) / 2, (1 + share) / 2 - 1e-9))
    return float(values[order[low]]), float(values[order[high]])
