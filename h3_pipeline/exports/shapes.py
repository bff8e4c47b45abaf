"""GeoJSON and GeoParquet: the rows of a result with the outlines of their cells.

Both are written batch by batch from the result's Parquet file, so memory does not follow the rows.
A flow is a line from the centre of its origin to that of its destination.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from h3_pipeline.exports.columns import CELL_ID_SUFFIX
from h3_pipeline.exports.geometry import boundaries, centres

GEOMETRY = "geometry"
_BATCH_ROWS = 20_000

Shapes = npt.NDArray[np.object_]


def write_geojson(table: Path, cells: Sequence[str], target: Path) -> None:
    """Write a FeatureCollection (RFC 7946), one feature a line.

    Args:
        table: Parquet file with the columns of all files.
        cells: The column of cells, or those of origin and destination.
        target: File to write.
    """
    with target.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        separator = "\n"
        for batch, shapes in _batches(table, cells):
            outlines = shapely.to_geojson(shapes)
            for row, outline in zip(batch.to_pylist(), outlines, strict=True):
                identity = [f'"id": {json.dumps(row[cells[0]])}, '] if len(cells) == 1 and row[cells[0]] else [""]
                properties = json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False)
                file.write(
                    f'{separator}{{"type": "Feature", {identity[0]}"geometry": {outline or "null"}, '
                    f'"properties": {properties}}}'
                )
                separator = ",\n"
        file.write("\n]}\n")


def write_geoparquet(table: Path, cells: Sequence[str], target: Path) -> None:
    """Write GeoParquet 1.1: the columns of all files, and ``geometry`` as WKB in OGC:CRS84.

    Args:
        table: Parquet file with the columns of all files.
        cells: The column of cells, or those of origin and destination.
        target: File to write.
    """
    schema = pq.read_schema(table).remove_metadata().append(pa.field(GEOMETRY, pa.binary()))
    kinds: set[str] = set()
    bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for batch, shapes in _batches(table, cells):
            known = shapes[~shapely.is_missing(shapes)]
            kinds |= {str(kind) for kind in set(_kinds(known))}
            if len(known):
                west, south, east, north = shapely.total_bounds(known)
                bounds = np.array(
                    [min(bounds[0], west), min(bounds[1], south), max(bounds[2], east), max(bounds[3], north)]
                )
            binary = pa.array(shapely.to_wkb(shapes), pa.binary())
            writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, binary], schema=schema))
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(kinds),
            "orientation": "counterclockwise",
            "edges": "planar",
        }
        if math.isfinite(bounds[0]):
            column["bbox"] = [float(bound) for bound in bounds]
        metadata = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        writer.add_key_value_metadata({"geo": json.dumps(metadata)})


def _batches(table: Path, cells: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, Shapes]]:
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            ids = [batch.column(cell + CELL_ID_SUFFIX) for cell in cells]
            yield batch, _shapes(ids)


def _shapes(ids: Sequence[pa.Array]) -> Shapes:
    """Shapes of rows; None where a cell is NULL."""
    known = np.logical_and.reduce([np.asarray(column.is_valid()) for column in ids])
    values = [np.asarray(column.fill_null(0), dtype=np.uint64)[known] for column in ids]
    shapes = np.full(len(known), None, dtype=object)
    shapes[known] = boundaries(values[0]) if len(values) == 1 else _lines(*values)
    return shapes


def _lines(origins: npt.NDArray[np.uint64], destinations: npt.NDArray[np.uint64]) -> Shapes:
    """A line for each flow; one across the antimeridian is cut there."""
    starts, ends = centres(origins), centres(destinations)
    lines = np.asarray(shapely.linestrings(np.stack([starts, ends], axis=1)))
    for index in np.flatnonzero(np.abs(ends[:, 0] - starts[:, 0]) > 180):
        lines[index] = _across(starts[index], ends[index])
    return lines


def _across(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> shapely.MultiLineString:
    edge = math.copysign(180.0, start[0])
    beyond = end[0] + 2 * edge
    latitude = start[1] + (end[1] - start[1]) * ((edge - start[0]) / (beyond - start[0]) if beyond != start[0] else 0)
    return shapely.MultiLineString([[tuple(start), (edge, latitude)], [(-edge, latitude), tuple(end)]])


def _kinds(shapes: Shapes) -> Iterable[str]:
    return (shape.geom_type for shape in shapes)


def _plain(value: Any) -> Any:
    """A value as JSON has it: no NaN, times in UTC with a Z."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
