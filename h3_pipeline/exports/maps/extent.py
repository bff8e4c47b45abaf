"""What part of the world to show."""

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
"""Degrees: west, south, east, north. East is more than 180 where the box lies across the antimeridian."""


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
