"""Outlines of cells: valid, counter-clockwise, inside the world, and covering what the cell covers."""

import math
from collections.abc import Sequence

import h3.api.numpy_int as h3
import numpy as np
import numpy.typing as npt
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.geometry import boundaries, centres, resolutions

Cells = npt.NDArray[np.uint64]

_EARTH_RADIUS_KM = 6371.007180918475
"""Of the sphere that h3's areas are on."""


def _world(resolution: int) -> Cells:
    return np.array(
        [cell for base in h3.get_res0_cells() for cell in h3.cell_to_children(base, resolution)], dtype=np.uint64
    )


def _scattered(resolution: int, count: int) -> Cells:
    """Cells spread evenly over the sphere, the same in every run."""
    steps = np.arange(count) + 0.5
    latitudes = np.degrees(np.arcsin(1 - 2 * steps / count))
    longitudes = (steps * 360 * (math.sqrt(5) - 1) / 2) % 360 - 180
    return np.array([h3.latlng_to_cell(*point, resolution) for point in zip(latitudes, longitudes, strict=True)])


def _area_km2(outline: BaseGeometry) -> float:
    """Area on the sphere of a polygon whose edges are straight in degrees."""
    total = 0.0
    for polygon in shapely.get_parts(outline):
        # about its own corner, so that small cells keep their digits
        longitudes, latitudes = np.radians(shapely.get_coordinates(polygon)).T
        longitudes, base = longitudes - longitudes[0], latitudes[0]
        heights = latitudes - base
        half = np.diff(heights) / 2
        middles = (heights[:-1] + heights[1:]) / 2
        # the mean of sin(latitude) - sin(base) along each edge
        means = 2 * np.cos(base + middles / 2) * np.sin(middles / 2) * np.sinc(half / np.pi) + np.sin(base) * (
            np.sinc(half / np.pi) - 1
        )
        total -= float((np.diff(longitudes) * means).sum())
    return total * _EARTH_RADIUS_KM**2


def _eastward(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(longitude, latitude) with longitudes from 0 to 360, where the antimeridian is none."""
    return [(lng % 360, lat) for lat, lng in corners]


def _assert_well_formed(outlines: npt.NDArray[np.object_]) -> None:
    assert shapely.is_valid(outlines).all()
    parts = shapely.get_parts(outlines)
    assert set(shapely.get_type_id(parts)) == {shapely.GeometryType.POLYGON}
    assert shapely.is_ccw(shapely.get_exterior_ring(parts)).all()
    assert (shapely.get_num_interior_rings(parts) == 0).all()
    west, south, east, north = shapely.bounds(outlines).T
    assert west.min() >= -180
    assert east.max() <= 180
    assert south.min() >= -90
    assert north.max() <= 90


@pytest.mark.parametrize("resolution", range(16))
def test_cells_all_over_the_globe(resolution: int) -> None:
    cells = _scattered(resolution, 150)
    outlines = boundaries(cells)
    _assert_well_formed(outlines)
    areas = [_area_km2(outline) for outline in outlines]
    # degrees have 15 digits: too few for the last ones of an area of a square metre
    np.testing.assert_allclose(areas, [h3.cell_area(cell) for cell in cells], rtol=4e-3 if resolution < 14 else 1e-2)
    for outline, centre in zip(outlines, centres(cells), strict=True):
        assert shapely.contains_xy(outline, *centre)


@pytest.mark.parametrize("resolution", [3, 7, 10, 15])
def test_an_ordinary_cell_has_exactly_h3s_vertices(resolution: int) -> None:
    for lat, lng in ((40.7, -74.0), (-33.9, 151.2), (1.35, 103.8), (0.0, 0.0), (55.7, 12.6)):
        cell = h3.latlng_to_cell(lat, lng, resolution)
        (outline,) = boundaries([cell])
        expected = [(lng, lat) for lat, lng in h3.cell_to_boundary(cell)]
        assert list(outline.exterior.coords) == [*expected, expected[0]]


@pytest.mark.parametrize("resolution", [0, 1])
def test_all_cells_together_tile_the_world(resolution: int) -> None:
    cells = _world(resolution)
    outlines = boundaries(cells)
    _assert_well_formed(outlines)
    assert shapely.area(outlines).sum() == pytest.approx(360 * 180)
    assert shapely.union_all(outlines).area == pytest.approx(360 * 180)
    areas = np.array([_area_km2(outline) for outline in outlines])
    np.testing.assert_allclose(areas, [h3.cell_area(cell) for cell in cells], rtol=4e-3)


@pytest.mark.parametrize("resolution", range(16))
def test_the_twelve_pentagons(resolution: int) -> None:
    cells = np.array(h3.get_pentagons(resolution), dtype=np.uint64)
    assert len(cells) == 12
    outlines = boundaries(cells)
    _assert_well_formed(outlines)
    areas = [_area_km2(outline) for outline in outlines]
    np.testing.assert_allclose(areas, [h3.cell_area(cell) for cell in cells], rtol=4e-3 if resolution < 14 else 1e-2)


@pytest.mark.parametrize("pole", [90.0, -90.0])
@pytest.mark.parametrize("resolution", range(16))
def test_a_cell_that_holds_a_pole_reaches_it_all_round(resolution: int, pole: float) -> None:
    cell = h3.latlng_to_cell(pole, 0, resolution)
    outlines = boundaries([cell])
    _assert_well_formed(outlines)
    (outline,) = outlines
    # h3 puts a vertex of this one exactly on the pole: from there, its two pieces meet in a point
    on_pole = any(lat == pole for lat, _ in h3.cell_to_boundary(cell))
    assert outline.geom_type == ("MultiPolygon" if on_pole else "Polygon")
    assert (outline.bounds[0], outline.bounds[2]) == (-180, 180)
    assert pole in outline.bounds
    if not on_pole:
        assert all(shapely.intersects_xy(outline, lng, pole) for lng in range(-180, 181, 10))
    if resolution <= 11:  # beyond, so close to the pole, the vertices' 15 digits give less
        assert _area_km2(outline) == pytest.approx(h3.cell_area(cell), rel=2e-3)


@pytest.mark.parametrize("resolution", [0, 2, 5, 8, 11, 15])
def test_a_cell_across_the_antimeridian_is_cut_there(resolution: int) -> None:
    # every cell along a stretch of the line, and those beside it
    lats = np.linspace(-80, 80, 33)
    near = {cell for lat in lats for cell in h3.grid_disk(h3.latlng_to_cell(lat, 180, resolution), 1)}
    cells = np.array(sorted(near), dtype=np.uint64)
    outlines = boundaries(cells)
    _assert_well_formed(outlines)
    cut = 0
    for cell, outline in zip(cells.tolist(), outlines, strict=True):
        lngs = [lng for _, lng in h3.cell_to_boundary(cell)]
        holds_pole = any(h3.latlng_to_cell(pole, 0, resolution) == cell for pole in (90, -90))
        if max(lngs) - min(lngs) > 180 and not holds_pole:
            cut += 1
            assert outline.geom_type == "MultiPolygon"
            east, west = sorted(outline.geoms, key=lambda part: part.bounds[0], reverse=True)
            assert east.bounds[2] == 180
            assert west.bounds[0] == -180
            # the two pieces meet: they end at the same latitudes
            seam_east = sorted(lat for lng, lat in east.exterior.coords if lng == 180)
            seam_west = sorted(lat for lng, lat in west.exterior.coords if lng == -180)
            assert (seam_east[0], seam_east[-1]) == pytest.approx((seam_west[0], seam_west[-1]), abs=1e-9)
        if resolution < 12:  # beyond, h3's own area loses digits at the antimeridian
            assert _area_km2(outline) == pytest.approx(h3.cell_area(cell), rel=5e-3)
        else:  # and edges are as good as straight in degrees
            assert outline.area == pytest.approx(shapely.Polygon(_eastward(h3.cell_to_boundary(cell))).area, rel=1e-6)
    assert cut > 5


def test_nothing_gives_nothing() -> None:
    assert boundaries(np.array([], dtype=np.uint64)).shape == (0,)
    assert centres(np.array([], dtype=np.uint64)).shape == (0, 2)


@pytest.mark.parametrize("wrong", [0, 5, 2**64 - 1])
def test_what_is_no_cell_is_named(wrong: int) -> None:
    good = h3.latlng_to_cell(1, 2, 7)
    for of in (boundaries, centres):
        with pytest.raises(ExportError, match=rf"{wrong} \({wrong:x}\) is not an H3 cell"):
            of(np.array([good, wrong], dtype=np.uint64))


def test_resolutions_are_h3s() -> None:
    cells = np.concatenate([_scattered(resolution, 5) for resolution in range(16)])
    assert resolutions(cells).tolist() == [h3.get_resolution(cell) for cell in cells]
