"""A small picture of cells, drawn without a browser, for whoever looks at a run in Dagster."""

import base64
import io
import math
import unicodedata
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image, ImageDraw, ImageFont

from h3_pipeline.exports.geometry import boundaries, centres
from h3_pipeline.exports.maps.classes import Classes, classify
from h3_pipeline.exports.maps.extent import Box, bounds

SIZE = (640, 400)
"""Width and height in pixels."""

MAX_CELLS = 3000
"""Cells that are drawn at most, the largest ones: more would be smaller than a reader sees."""

_CORE = 0.98
_LEGEND_WIDTH = 150
_MARGIN = 12
_FINER = 2
"""Drawn so many times larger, then made smaller: Pillow's polygons have hard edges."""

_PAGE, _GROUND, _TEXT, _QUIET, _LINE = "#ffffff", "#eef1f3", "#1b1f24", "#555d66", "#c9ced4"
_MAX_LATITUDE = 85.0

Place = tuple[float, float]


def draw(cells: npt.ArrayLike, values: npt.ArrayLike, title: str, label: str) -> bytes:
    """Draw cells, coloured by a number.

    Args:
        cells: H3 cells as unsigned integers, shape (cells,).
        values: Their numbers, shape (cells,); a cell whose number is NaN is left out.
        title: Heading.
        label: What the numbers are, above the legend.

    Returns:
        A PNG file of `SIZE` pixels.

    Raises:
        ExportError: A value is not an H3 cell.
    """
    ids, numbers = np.asarray(cells, dtype=np.uint64), np.asarray(values, dtype=float)
    known = np.flatnonzero(np.isfinite(numbers))
    shown = known[np.argsort(np.abs(numbers[known]), kind="stable")][-MAX_CELLS:]
    image = Image.new("RGB", SIZE, _PAGE)
    pen = ImageDraw.Draw(image)
    top = _MARGIN + 24
    frame = (_MARGIN, top, SIZE[0] - _LEGEND_WIDTH - _MARGIN, SIZE[1] - _MARGIN)
    if len(shown):
        classes = classify(numbers[shown])
        image.paste(_cells(ids[shown], numbers[shown], classes, (frame[2] - frame[0], frame[3] - frame[1])), frame[:2])
        _legend(pen, classes, label, (frame[2] + _MARGIN, top), of=len(known), shown=len(shown))
    else:
        pen.rectangle(frame, fill=_GROUND)
        pen.text(((frame[0] + frame[2]) / 2, (frame[1] + frame[3]) / 2), "nothing to show", _QUIET, _font(14), "mm")
    pen.rectangle(frame, outline=_LINE)
    pen.text((_MARGIN, _MARGIN), _fitting(title, _font(15), SIZE[0] - 2 * _MARGIN), _TEXT, _font(15))
    # few colours: with a palette the file is a fifth as large
    file = io.BytesIO()
    image.quantize(32, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def markdown(picture: bytes, text: str) -> str:
    """A picture as Markdown that holds it.

    Args:
        picture: A PNG file.
        text: What it shows, for those who do not see it.
    """
    plain = "".join(character for character in text if character not in "[]()\\\n\r")
    return f"![{plain}](data:image/png;base64,{base64.b64encode(picture).decode('ascii')})"


def _cells(
    ids: npt.NDArray[np.uint64], numbers: npt.NDArray[np.float64], classes: Classes, size: tuple[int, int]
) -> Image.Image:
    """The map itself."""
    large = (size[0] * _FINER, size[1] * _FINER)
    image = Image.new("RGB", large, _GROUND)
    pen = ImageDraw.Draw(image)
    box = bounds(centres(ids), np.abs(numbers), _CORE)
    outlines = boundaries(ids)
    colours = classes.palette.pick(len(classes.labels))
    parts, owners = shapely.get_parts(outlines, return_index=True)
    lng_lat, rings = shapely.get_coordinates(parts, return_index=True)
    starts = np.searchsorted(rings, np.arange(len(parts) + 1))
    x, y = _Projection(box, _span(outlines), large)(lng_lat, starts)
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    fills = [colours[classes.of(number)] for number in numbers.tolist()]
    for owner, (start, end) in zip(owners.tolist(), pairwise(starts.tolist()), strict=True):
        # a hair of ground between cells
        pen.polygon(points[start:end], fill=fills[owner], outline=_GROUND)
    return image.resize(size, Image.Resampling.BOX)


def _span(outlines: npt.NDArray[np.object_]) -> float:
    """How wide a cell is in degrees, about."""
    west, south, east, north = shapely.bounds(outlines).T
    return float(max(np.median(east - west), np.median(north - south)))


class _Projection:
    """Mercator, so that a box of degrees, and a cell around it, fills an image.

    Args:
        box: Degrees.
        around: Degrees on each side of it.
        size: Of the image, in pixels.
    """

    def __init__(self, box: Box, around: float, size: tuple[int, int]) -> None:
        west, south, east, north = box
        self._middle = (west + east) / 2
        low, high = _northing(np.array([south - around, north + around]))
        width = math.radians(east - west + 2 * around)
        self._scale = min(size[0] / width, size[1] / (high - low))
        self._centre_y = (low + high) / 2
        self._size = size

    def __call__(
        self, lng_lat: npt.NDArray[np.float64], starts: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Pixels of rings, each on the side of the world where its beginning is nearest to the box.

        Args:
            lng_lat: Their vertices, shape (vertices, 2).
            starts: Where each ring begins, and where the last one ends.
        """
        begins = lng_lat[starts[:-1], 0]
        turns = np.repeat(360 * np.round((self._middle - begins) / 360), np.diff(starts))
        x = self._size[0] / 2 + np.radians(lng_lat[:, 0] + turns - self._middle) * self._scale
        y = self._size[1] / 2 - (_northing(lng_lat[:, 1]) - self._centre_y) * self._scale
        return x, y


def _northing(lat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.arctanh(np.sin(np.radians(np.clip(lat, -_MAX_LATITUDE, _MAX_LATITUDE))))


def _legend(pen: ImageDraw.ImageDraw, classes: Classes, label: str, at: Place, *, of: int, shown: int) -> None:
    x, y = at
    for line in _wrapped(label, _font(13), _LEGEND_WIDTH - _MARGIN):
        pen.text((x, y), line, _TEXT, _font(13))
        y += 17
    y += 5
    for words, colour in zip(classes.labels, classes.palette.pick(len(classes.labels)), strict=True):
        pen.rectangle((x, y, x + 22, y + 15), fill=colour, outline=_LINE)
        pen.text((x + 30, y + 8), _fitting(words, _font(12), _LEGEND_WIDTH - _MARGIN - 30), _TEXT, _font(12), "lm")
        y += 20
    number = f"{shown:,} cells" if shown == of else f"the largest {shown:,} of {of:,} cells"
    for line in _wrapped(number, _font(12), _LEGEND_WIDTH - _MARGIN):
        pen.text((x, y + 4), line, _QUIET, _font(12))
        y += 15


def _wrapped(words: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines: list[str] = []
    for word in _plain(words).split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(_fitting(word, font, width))
    return lines


def _fitting(words: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    plain = _plain(words)
    while len(plain) > 4 and font.getlength(plain) > width:
        plain = f"{plain.removesuffix('...')[:-1]}..."
    return plain


def _plain(words: str) -> str:
    """The words in letters that Pillow's own font has."""
    written = words.replace("–", "-").replace("−", "-").replace("→", "to")
    return unicodedata.normalize("NFKD", written).encode("ascii", "ignore").decode()


_fonts: dict[int, ImageFont.FreeTypeFont] = {}


def _font(size: int) -> ImageFont.FreeTypeFont:
    if size not in _fonts:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        _fonts[size] = font
    return _fonts[size]
