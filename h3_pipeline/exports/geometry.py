"""Outlines of H3 cells as RFC 7946 wants them.

Longitude first, exteriors counter-clockwise, nothing outside ±180° and ±90°: a cell across the
antimeridian is cut there and becomes a MultiPolygon, and one that holds a pole reaches up to it.

An H3 edge is an arc of a great circle, an edge of a polygon is a straight line in degrees. The two differ
visibly only where an edge spans many degrees of longitude: near the poles and at resolutions 0 to 2. Such
edges get more vertices, so that the polygon covers what the cell covers. Two cells that share an edge
get the same ones.
"""

import math
from collections.abc import Sequence
from itertools import chain, pairwise

import h3.api.numpy_int as h3
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from h3_pipeline.errors import ExportError

MAX_EDGE_DEGREES = 2.0
"""Longitude that an edge may span before it gets vertices in between. The great circle is then
less than 0.005° away from the edge."""

_WORLD = (-180.0, -90.0, 180.0, 90.0)

Cells = npt.NDArray[np.uint64]


def boundaries(cells: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """Outlines of cells.

    Args:
        cells: H3 cells as unsigned integers, one dimension; any mix of resolutions.

    Returns:
        One valid shapely ``Polygon`` or ``MultiPolygon`` a cell, in degrees, (longitude, latitude).

    Raises:
        ExportError: A value is not an H3 cell.
    """
    ids = np.asarray(cells, dtype=np.uint64)
    if ids.ndim != 1:
        raise ValueError(f"one dimension expected, not {ids.ndim}")
    corners = [_corners(cell) for cell in ids.tolist()]
    if not corners:
        return np.empty(0, dtype=object)
    sizes = np.fromiter(map(len, corners), dtype=np.intp, count=len(corners))
    lat_lng = np.fromiter(chain.from_iterable(chain.from_iterable(corners)), dtype=float, count=2 * int(sizes.sum()))
    lng_lat = lat_lng.reshape(-1, 2)[:, ::-1]
    owner = np.repeat(np.arange(len(ids)), sizes)
    outlines = np.asarray(shapely.polygons(shapely.linearrings(lng_lat, indices=owner)))

    widths = _widest_edges(lng_lat[:, 0], sizes)
    for index in np.flatnonzero(widths > MAX_EDGE_DEGREES):
        outlines[index] = _far_reaching(corners[index])
    return outlines


def centres(cells: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Centres of cells.

    Args:
        cells: H3 cells as unsigned integers, one dimension.

    Returns:
        Degrees, shape (cells, 2): longitude, latitude.

    Raises:
        ExportError: A value is not an H3 cell.
    """
    ids = np.asarray(cells, dtype=np.uint64).tolist()
    try:
        points = [h3.cell_to_latlng(cell) for cell in ids]
    except ValueError as error:
        raise _not_a_cell(ids) from error
    return np.array(points, dtype=float).reshape(-1, 2)[:, ::-1]


def resolutions(cells: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Resolutions of cells, 0 to 15, as their bits say."""
    return ((np.asarray(cells, dtype=np.uint64) >> np.uint64(52)) & np.uint64(15)).astype(np.uint8)


def _corners(cell: int) -> Sequence[tuple[float, float]]:
    """Vertices as (latitude, longitude), counter-clockwise, the first not repeated."""
    try:
        return h3.cell_to_boundary(cell)
    except ValueError as error:
        raise _not_a_cell([cell]) from error


def _not_a_cell(ids: Sequence[int]) -> ExportError:
    wrong = next(cell for cell in ids if not h3.is_valid_cell(cell))
    return ExportError(f"{wrong} ({wrong:x}) is not an H3 cell; the query's cell column must hold cells only")


def _widest_edges(lng: npt.NDArray[np.float64], sizes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The most degrees of longitude between neighbouring vertices, for each ring of ``sizes`` vertices."""
    ends = np.cumsum(sizes)
    starts = ends - sizes
    following = np.arange(1, len(lng) + 1)
    following[ends - 1] = starts
    return np.maximum.reduceat(np.abs(lng[following] - lng), starts)


def _far_reaching(corners: Sequence[tuple[float, float]]) -> BaseGeometry:
    """Outline of a cell that crosses the antimeridian, holds a pole, or is just wide."""
    ring = _densified(corners)
    # longitudes that go on beyond 180°, so that the ring is in one piece
    ring[:, 0] = np.unwrap(ring[:, 0], period=360)
    turn = ring[-1, 0] - ring[0, 0]
    if abs(turn) > 180:
        return _polar(ring, turn)
    ring[-1] = ring[0]
    whole = shapely.Polygon(ring)
    # the copies of it that reach into the world
    turns = np.arange(np.floor((ring[:, 0].min() + 180) / 360), np.floor((ring[:, 0].max() + 180) / 360) + 1)
    return _inside_world([shapely.transform(whole, lambda points, by=by: points - [360 * by, 0]) for by in turns])


def _polar(ring: npt.NDArray[np.float64], turn: float) -> BaseGeometry:
    """Outline of a cell that holds a pole: its ring, ``turn`` = ±360° long, and the land on to the pole."""
    pole = np.copysign(90.0, ring[0, 1])
    once = ring[:-1] - [360 * np.floor((ring[0, 0] + 180) / 360), 0]
    # three times round reaches over the world's two ends, wherever the ring begins
    lap = np.array([np.copysign(360, turn), 0])
    around = np.vstack([once - lap, once, once + lap])
    return _inside_world([shapely.Polygon(np.vstack([around, [around[-1, 0], pole], [around[0, 0], pole]]))])


def _inside_world(polygons: Sequence[BaseGeometry]) -> BaseGeometry:
    pieces = shapely.get_parts(shapely.intersection(polygons, shapely.box(*_WORLD)))
    kept = [piece for piece in pieces if piece.geom_type == "Polygon"]  # a mere touch is a line
    return shapely.orient_polygons(kept[0] if len(kept) == 1 else shapely.multipolygons(kept))


def _densified(corners: Sequence[tuple[float, float]]) -> npt.NDArray[np.float64]:
    """The closed ring as (longitude, latitude), its wide edges with vertices along the great circle."""
    lat, lng = np.radians(corners).T
    vectors = np.column_stack([np.cos(lat) * np.cos(lng), np.cos(lat) * np.sin(lng), np.sin(lat)])
    points: list[tuple[float, float]] = []
    for start, end in pairwise([*range(len(corners)), 0]):
        points.append((corners[start][1], corners[start][0]))
        between = _between(vectors[start], vectors[end])
        points.extend(map(_lng_lat, between))
    points.append(points[0])
    return np.array(points)


def _lng_lat(vector: npt.NDArray[np.float64]) -> tuple[float, float]:
    x, y, z = vector.tolist()
    return math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))


def _between(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """Unit vectors that part the arc between two others until no part is wide, its ends left out."""
    along, across = start[0] * end[0] + start[1] * end[1], start[0] * end[1] - start[1] * end[0]
    span = abs(math.degrees(math.atan2(across, along)))
    middle = start + end
    middle /= np.linalg.norm(middle)
    if span <= MAX_EDGE_DEGREES or np.array_equal(middle, start) or np.array_equal(middle, end):
        return []
    return [*_between(start, middle), middle, *_between(middle, end)]
