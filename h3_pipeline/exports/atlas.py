"""The map of an export: what its header says, in the words of `exports.maps`."""

from datetime import datetime
from pathlib import Path

import numpy as np

from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.maps.render import write_map as render
from h3_pipeline.exports.maps.result import read_result
from h3_pipeline.exports.maps.spec import Combine, MapSpec, Measure
from h3_pipeline.exports.picture import draw


def write_map(query: Query, source: Path, target: Path, at: datetime) -> None:
    """Write the map of a result.

    Args:
        query: The export.
        source: Parquet file of its result, cells as unsigned integers.
        target: HTML file to write.
        at: When the tables were asked.
    """
    render(source, map_spec(query, at), target)


def picture(query: Query, source: Path, at: datetime) -> bytes:
    """A small PNG of the map's first measure, at the finest resolution; of flows, at their origins.

    Args:
        query: The export.
        source: Parquet file of its result, cells as unsigned integers.
        at: When the tables were asked.
    """
    spec = map_spec(query, at)
    grids = read_result(source, spec).grids
    cells, values = (grids[-1].keys[:, 0], grids[-1].totals[0]) if grids else (np.empty(0, np.uint64), np.empty(0))
    if spec.flow:
        cells, origins = np.unique(cells, return_inverse=True)
        values = np.bincount(origins, np.nan_to_num(values), minlength=len(cells))
    return draw(cells, values, spec.title, spec.measures[0].label)


def map_spec(query: Query, at: datetime) -> MapSpec:
    """What the map of an export shows."""
    header = query.header
    return MapSpec(
        title=header.title,
        description=header.description,
        measures=tuple(
            Measure(column, measure.label, measure.unit, Combine(measure.combine), measure.weight)
            for column, measure in header.measures.items()
        ),
        cell=header.cell,
        flow=header.flow,
        hour_of_week=header.hour_of_week,
        note=f"As of {at:%Y-%m-%d %H:%M} UTC",
    )
