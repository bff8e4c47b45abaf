"""Pictures drawn without a browser."""

import base64
import io

import h3.api.numpy_int as h3
import numpy as np
import pytest
from PIL import Image, ImageColor

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.maps.classes import classify
from h3_pipeline.exports.maps.colours import DIVERGING, SEQUENTIAL
from h3_pipeline.exports.picture import SIZE, draw, markdown


def _colours(picture: bytes) -> dict[tuple[int, ...], int]:
    """Pixels by colour."""
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("PNG", SIZE)
        counts = image.convert("RGB").getcolors(1 << 20)
    assert counts is not None
    return {colour: count for count, colour in counts if isinstance(colour, tuple)}


def _disk(lat: float, lng: float, resolution: int, rings: int) -> np.ndarray:
    return np.asarray(h3.grid_disk(h3.latlng_to_cell(lat, lng, resolution), rings), dtype=np.uint64)


@pytest.mark.parametrize(("lat", "lng"), [(40.7, -74.0), (-17.0, 180.0), (80.0, 0.0), (64.7, 10.5)])
def test_each_class_has_its_share_of_the_ground(lat: float, lng: float) -> None:
    cells = _disk(lat, lng, 6, 9)
    values = np.arange(len(cells), dtype=float) + 1
    classes = classify(values)
    assert len(classes.labels) == 7
    found = _colours(draw(cells, values, "A title", "Trips"))
    for colour in SEQUENTIAL.light:
        assert found.get(ImageColor.getrgb(colour), 0) > 500, colour


def test_numbers_about_zero_get_two_sides() -> None:
    cells = _disk(40.7, -74.0, 8, 6)
    found = _colours(draw(cells, np.linspace(-50, 50, len(cells)), "Net flow", "Trips"))
    for colour in DIVERGING.light:
        assert found.get(ImageColor.getrgb(colour), 0) > 300, colour


def test_it_is_small_enough_for_an_event_log() -> None:
    rng = np.random.default_rng(7)
    cells = _disk(40.7, -74.0, 8, 18)
    assert len(cells) > 1000
    picture = draw(cells[:1000], rng.permutation(1000) + 1.0, "As uneven as can be", "Trips")
    assert len(markdown(picture, "text")) < 45_000
    smooth = draw(cells[:1000], np.arange(1000) + 1.0, "As a city is", "Trips")
    assert len(markdown(smooth, "text")) < 30_000


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_is_said_to_be_nothing(values: list[float]) -> None:
    cells = _disk(1, 2, 7, 1)[: len(values)]
    empty = draw(cells, values, "Nothing", "Trips")
    assert not _colours(empty).keys() & {ImageColor.getrgb(colour) for colour in SEQUENTIAL.light}


def test_what_is_no_cell_is_refused() -> None:
    with pytest.raises(ExportError, match=r"5 \(5\) is not an H3 cell"):
        draw([5], [1], "A title", "Trips")


def test_markdown_holds_the_picture_whatever_it_is_called() -> None:
    picture = draw([], [], "t", "l")
    text = markdown(picture, "a](http://x)\n![b")
    assert text.count("](") == 1
    name, _, rest = text.partition("](data:image/png;base64,")
    assert "\n" not in name
    assert base64.b64decode(rest.removesuffix(")")) == picture
