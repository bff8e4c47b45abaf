"""The map of an export: what its header says, in the words of `exports.maps`."""

from datetime import datetime
from pathlib import Path

from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.maps.render import write_map as render
from h3_pipeline.exports.maps.spec import Combine, MapSpec, Measure


def write_map(query: Query, source: Path, target: Path, at: datetime) -> None:
    """Write the map of a result.

    Args:
        query: The export.
        source: Parquet file of its result, cells as unsigned integers.
        target: HTML file to write.
        at: When the tables were asked.
    """
    render(source, map_spec(query, at), target)


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
