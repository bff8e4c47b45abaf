"""Writes a map: one HTML file with everything in it."""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h3
import numpy as np
from jinja2 import Environment, PackageLoader

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.geometry import centres
from h3_pipeline.exports.maps.classes import Classes, classify
from h3_pipeline.exports.maps.extent import bounds, places
from h3_pipeline.exports.maps.payload import Payload, pack
from h3_pipeline.exports.maps.result import Grid, Result, read_result
from h3_pipeline.exports.maps.spec import HOURS, MapSpec

CORE = 0.98
"""Share of a place's first measure that the map shows of it; a few far-off cells would make the rest tiny."""

FLOWS_DRAWN = 300
"""Flows that a page draws when it opens, the largest: more hide one another."""

_PAGE = resources.files("h3_pipeline.exports.maps") / "page"


@dataclass(frozen=True, slots=True)
class MapFile:
    """A map that was written.

    Attributes:
        path: The file.
        bytes: Its size.
        rows: Rows of the result.
        features: Cells, or flows, on the map, at all resolutions.
    """

    path: Path
    bytes: int
    rows: int
    features: int


def write_map(source: Path, spec: MapSpec, target: Path) -> MapFile:
    """Write a result as a map.

    Args:
        source: The result, a Parquet file or an Arrow file.
        spec: What of it to show.
        target: HTML file to write; appears whole or not at all.

    Raises:
        ExportError: The result cannot be shown.
    """
    result = read_result(source, spec)
    page = render(result, spec).encode()
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(page)
    part.replace(target)
    return MapFile(target, len(page), result.rows, sum(len(grid.keys) for grid in result.grids))


def render(result: Result, spec: MapSpec) -> str:
    """The page of a result."""
    payload = Payload()
    described = _described(result, spec, payload)
    library = _library() if result.grids else None
    app, style = (_PAGE / "app.js").read_text("utf-8"), (_PAGE / "style.css").read_text("utf-8")
    scripts = [_hash(app), *([library["hash"]] if library else [])]
    environment = Environment(
        loader=PackageLoader("h3_pipeline.exports.maps", "page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        spec=described,
        policy=_policy(scripts, spec.tiles_url),
        numbers=payload.text(),
        library=library,
        app=app,
        style=style,
    )


def _described(result: Result, spec: MapSpec, payload: Payload) -> dict[str, Any]:
    """All that the page needs besides numbers."""
    grids = [_packed(grid, payload, flows=spec.flow is not None) for grid in result.grids]
    if grids:
        # the finest that still is quick to look over
        quick = [index for index, grid in enumerate(grids) if grid["shown"] <= spec.max_features // 2]
        grids[quick[-1] if quick else 0]["opens"] = True
    return {
        "title": spec.title,
        "description": spec.description,
        "note": spec.note,
        "kind": "flows" if spec.flow else "cells",
        "hours": spec.hour_of_week is not None,
        "measures": [
            {"label": measure.label, "unit": measure.unit, "combine": str(combine)}
            for measure, combine in zip(spec.measures, result.combine, strict=True)
        ],
        "grids": grids,
        "flows_drawn": FLOWS_DRAWN,
        "tiles": {"url": spec.tiles_url, "attribution": spec.tiles_attribution} if spec.tiles_url else None,
    }


def _packed(grid: Grid, payload: Payload, *, flows: bool) -> dict[str, Any]:
    cells, ends = np.unique(grid.keys, return_inverse=True)
    if not flows:
        cells, ends = grid.keys[:, 0], np.arange(len(grid.keys)).reshape(-1, 1)
    points = centres(cells)
    weights = np.bincount(ends.ravel(), np.repeat(np.nan_to_num(np.abs(grid.totals[0])), ends.shape[1])).astype(float)
    described: dict[str, Any] = {
        "resolution": grid.resolution,
        "words": f"{_width(grid.resolution)} across (resolution {grid.resolution})",
        "shown": len(grid.keys),
        "found": grid.found,
        "metres": 1000 * _width_km(grid.resolution),
        "bounds": bounds(points),
        "places": [
            {"name": place.name, "share": place.share, "box": place.box} for place in places(points, weights, CORE)
        ],
        "cells": payload.add(cells),
        "centres": payload.add(points.astype(np.float32)),
        "totals": [payload.add_numbers(values) for values in grid.totals],
        "classes": [_classes(grid, index, flows=flows) for index in range(len(grid.totals))],
    }
    if flows:
        described["origins"] = payload.add_indexes(ends[:, 0])
        described["destinations"] = payload.add_indexes(ends[:, 1])
    if grid.hourly:
        described["hourly"] = {
            "starts": payload.add_indexes(np.searchsorted(grid.hourly.hour, np.arange(HOURS + 1))),
            "features": payload.add_indexes(grid.hourly.feature),
            "values": [payload.add_numbers(values) for values in grid.hourly.values],
        }
    return described


def _classes(grid: Grid, measure: int, *, flows: bool) -> dict[str, Any]:
    # of flows only the largest are drawn at first: these are told apart
    drawn = FLOWS_DRAWN if flows else None
    described = {"all": _legend(classify(grid.totals[measure], largest_only=drawn))}
    if grid.hourly:
        hours = len(np.unique(grid.hourly.hour))
        values = grid.hourly.values[measure]
        described["hour"] = _legend(classify(values, largest_only=drawn and drawn * hours))
    return described


def _legend(classes: Classes) -> dict[str, Any]:
    count = len(classes.labels)
    return {
        "limits": classes.limits,
        "labels": classes.labels,
        "method": classes.method,
        "colours": {
            "light": classes.palette.pick(count),
            "dark": classes.palette.pick(count, dark=True),
        },
    }


def _width(resolution: int) -> str:
    km = _width_km(resolution)
    return f"{km:,.3g} km" if km >= 1 else f"{km * 1000:.3g} m"


def _width_km(resolution: int) -> float:
    """How wide a cell is on average, between two opposite sides."""
    return h3.average_hexagon_edge_length(resolution, unit="km") * 3**0.5


@cache
def _library() -> dict[str, str]:
    """deck.gl, as pydeck's own offline page would embed it, packed."""
    try:
        source = resources.files("pydeck") / "nbextension" / "static" / "index.js"
        script = source.read_text("utf-8")
    except (ImportError, OSError) as error:
        raise ExportError(f"pydeck's bundle of deck.gl cannot be read: {error}; install pydeck again") from error
    # what the map does not use it must not ask for
    script = re.sub(r"\n//# sourceMappingURL=\S*", "", script)
    version = metadata.version("pydeck")
    return {
        "packed": pack(script.encode()),
        "hash": _hash(script),
        "credit": f"deck.gl (MIT licence, Copyright vis.gl contributors), as in pydeck {version} (Apache License 2.0); "
        "the licences of what it bundles are at the end of its text",
    }


def _policy(script_hashes: list[str], tiles_url: str | None) -> str:
    """What the page may do: run these scripts, and ask nobody for anything but tiles."""
    host = ""
    if tiles_url:
        parts = urlsplit(tiles_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s;,'\"]", parts.netloc):
            raise ExportError(
                f"{tiles_url!r} is no address of tiles; one looks like https://HOST/{{z}}/{{x}}/{{y}}.png"
            )
        host = f" {parts.scheme}://{parts.netloc}"
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(script_hashes),
        "style-src": "'unsafe-inline'",
        "img-src": f"data: blob:{host}",
        "connect-src": host.strip() or "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
