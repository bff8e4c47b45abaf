"""A query's result, read in pieces and reduced to one number a cell, or flow, and hour.

Memory follows the number of different cells, or flows, never the number of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.geometry import Cells, resolutions
from h3_pipeline.exports.maps.spec import HOURS, Combine, MapSpec, Measure

MAX_DIFFERENT = 5_000_000
"""Cells, or flows, that a result may have; the largest few of them are shown."""

_BATCH_ROWS = 1 << 17
_PENDING_ROWS = 1 << 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hourly:
    """Numbers by hour of the week: for row ``i``, of feature ``feature[i]`` in the hour ``hour[i]``, ordered by hour.

    Attributes:
        hour: 0 to 167, ascending.
        feature: Index into the grid's features.
        values: Shape (measures, rows); NaN where there is no number.
    """

    hour: npt.NDArray[np.uint8]
    feature: npt.NDArray[np.intp]
    values: Floats


@dataclass(frozen=True, slots=True)
class Grid:
    """The features of one resolution: cells, or flows between cells.

    Attributes:
        resolution: Of the cells; of flows, the origin's.
        keys: Cells: shape (features, 1), or (features, 2) of origin and destination. Ascending in the first measure,
            so that what is drawn last, above others, is the largest.
        totals: Over all hours; shape (measures, features); NaN where there is no number.
        hourly: By hour of the week, if the result has it.
        found: Features that the result has, shown or not.
    """

    resolution: int
    keys: Cells
    totals: Floats
    hourly: Hourly | None
    found: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a map shows.

    Attributes:
        rows: Rows of the result.
        grids: One for each resolution, the coarsest first; none for a result without rows.
        combine: For each measure, how the rows of a cell were combined: ``SUM`` or ``MEAN``.
    """

    rows: int
    grids: tuple[Grid, ...]
    combine: tuple[Combine, ...]


def read_result(source: Path, spec: MapSpec) -> Result:
    """Reduce a result to what a map shows.

    Args:
        source: Parquet file or Arrow file.
        spec: Which columns it has.

    Raises:
        ExportError: The file is not readable, lacks a column, or holds what is no cell, hour or number.
    """
    reader = _Reader(source, spec)
    sums = _Sums(keys=len(spec.cell_columns), numbers=2 * len(spec.measures) + 1)
    rows = 0
    for batch in reader.batches():
        rows += len(batch.cells)
        sums.add(batch.cells, batch.numbers)
    keys, numbers = sums.finish()
    totals = _values(numbers, reader.combine)

    resolution = resolutions(keys[:, 0])
    found = np.unique(resolution)
    grids = []
    for each in found:
        candidates = np.flatnonzero(resolution == each)
        shown = candidates[_largest(totals[0, candidates], numbers[-1, candidates], spec, share=len(found))]
        grids.append(Grid(int(each), keys[shown], totals[:, shown], None, len(candidates)))
    if spec.hour_of_week and grids:
        grids = [replace(grid, hourly=hourly) for grid, hourly in zip(grids, _by_hour(reader, grids), strict=True)]
    return Result(rows, tuple(grids), reader.combine)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of a result.

    Attributes:
        cells: Shape (rows, 1), or (rows, 2) of origin and destination.
        hours: Hour of the week of each row, if the result has it.
        numbers: What is to be summed, shape (2 * measures + 1, rows): each measure times its weight, each
            weight, and 1. Both are 0 where the measure has no number.
    """

    cells: Cells
    hours: npt.NDArray[np.uint64] | None
    numbers: Floats


class _Reader:
    """The columns that a map needs, batch by batch, as often as asked."""

    def __init__(self, source: Path, spec: MapSpec) -> None:
        self._source, self._spec = source, spec
        with source.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        try:
            self._dataset = ds.dataset(source, format="parquet" if parquet else "ipc")
            schema = self._dataset.schema
        except (pa.ArrowException, OSError) as error:
            raise ExportError(f"{source} is neither a Parquet file nor an Arrow file: {_line(error)}") from error
        if missing := [name for name in spec.columns() if name not in schema.names]:
            raise ExportError(
                f"the map {spec.title!r} shows the column {missing[0]}, which the result does not have; "
                f"it has {', '.join(schema.names)}"
            )
        self.combine = tuple(_combine(measure, schema.field(measure.column).type) for measure in spec.measures)

    def batches(self) -> Iterator[_Batch]:
        scanner = self._dataset.scanner(
            columns=self._spec.columns(), batch_size=_BATCH_ROWS, batch_readahead=1, fragment_readahead=1
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield self._batch(batch)

    def _batch(self, batch: pa.RecordBatch) -> _Batch:
        spec = self._spec
        # what has no cell has no place on a map
        placed = [batch.column(name).is_valid().to_numpy(zero_copy_only=False) for name in spec.cell_columns]
        batch = batch.filter(pa.array(np.logical_and.reduce(placed)))
        cells = np.column_stack([_cells(batch.column(name), name) for name in spec.cell_columns])
        hours = _hours(batch.column(spec.hour_of_week), spec.hour_of_week) if spec.hour_of_week else None
        numbers = np.ones((2 * len(spec.measures) + 1, batch.num_rows))
        for index, measure in enumerate(spec.measures):
            value = _numbers(batch.column(measure.column), measure.column)
            weight = np.ones_like(value)
            if measure.weight and self.combine[index] is Combine.MEAN:
                weight = _numbers(batch.column(measure.weight), measure.weight)
            known = np.isfinite(value) & np.isfinite(weight)
            numbers[2 * index] = np.where(known, value * weight, 0)
            numbers[2 * index + 1] = np.where(known, weight, 0)
        return _Batch(cells, hours, numbers)


class _Sums:
    """Sums of numbers by key; what was added is summed as soon as there is much of it.

    Args:
        keys: How many integers a key has.
        numbers: How many numbers are summed for each key.
    """

    def __init__(self, *, keys: int, numbers: int) -> None:
        self._keys = [np.empty((0, keys), dtype=np.uint64)]
        self._numbers = [np.empty((numbers, 0))]
        self._pending = 0

    def add(self, keys: npt.NDArray[np.uint64], numbers: Floats) -> None:
        self._keys.append(keys)
        self._numbers.append(numbers)
        self._pending += len(keys)
        if self._pending > _PENDING_ROWS:
            self.finish()

    def finish(self) -> tuple[npt.NDArray[np.uint64], Floats]:
        """Different keys, ascending, shape (different, keys), and their sums, shape (numbers, different)."""
        keys, numbers = np.concatenate(self._keys), np.concatenate(self._numbers, axis=1)
        if len(keys):
            order = np.lexsort(keys.T[::-1])
            keys, numbers = keys[order], numbers[:, order]
            starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
            keys, numbers = keys[starts], np.add.reduceat(numbers, starts, axis=1)
        if len(keys) > MAX_DIFFERENT:
            raise ExportError(
                f"the result has more than {MAX_DIFFERENT:,} cells, flows or hours of them: too many for a map; "
                "let the query choose a coarser resolution, or fewer of them"
            )
        self._keys, self._numbers, self._pending = [keys], [numbers], 0
        return keys, numbers


class _Lookup:
    """Finds the places of keys in a table of different ones.

    Args:
        table: Shape (features, 1 or 2).
    """

    def __init__(self, table: Cells) -> None:
        self._cells = np.unique(table)
        packed = self._pack(table)[0]
        self._order = np.argsort(packed)
        self._packed = packed[self._order]

    def find(self, keys: Cells) -> npt.NDArray[np.intp]:
        """Index into the table of each key, -1 where it is not there."""
        packed, known = self._pack(keys)
        places = np.searchsorted(self._packed, packed).clip(max=len(self._packed) - 1)
        return np.where(known & (self._packed[places] == packed), self._order[places], -1)

    def _pack(self, keys: Cells) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Each key as one integer, and whether all its cells are of the table."""
        places = np.searchsorted(self._cells, keys).clip(max=len(self._cells) - 1)
        known = (self._cells[places] == keys).all(axis=1)
        packed = places[:, 0]
        for column in places.T[1:]:
            packed = packed * len(self._cells) + column
        return packed, known


def _by_hour(reader: _Reader, grids: Sequence[Grid]) -> Iterator[Hourly]:
    """The hours of the features that are shown."""
    lookup = _Lookup(np.concatenate([grid.keys for grid in grids]))
    sums = _Sums(keys=2, numbers=2 * len(reader.combine) + 1)
    for batch in reader.batches():
        if batch.hours is None:
            continue
        feature = lookup.find(batch.cells)
        kept = feature >= 0
        sums.add(np.column_stack([batch.hours[kept], feature[kept].astype(np.uint64)]), batch.numbers[:, kept])
    keys, numbers = sums.finish()
    values = _values(numbers, reader.combine)
    first = 0
    for grid in grids:
        feature = keys[:, 1].astype(np.intp) - first
        mine = (feature >= 0) & (feature < len(grid.keys))
        yield Hourly(keys[mine, 0].astype(np.uint8), feature[mine], values[:, mine])
        first += len(grid.keys)


def _largest(totals: Floats, rows: Floats, spec: MapSpec, *, share: int) -> npt.NDArray[np.intp]:
    """Which features to show, ascending: the largest, as many as ``spec`` allows one of ``share`` grids."""
    order = np.argsort(np.where(np.isnan(totals), -1, np.abs(totals)), kind="stable")[::-1]
    order = order[: spec.max_features]
    if spec.hour_of_week:
        hours = np.cumsum(np.minimum(rows[order], HOURS))
        order = order[: max(1, int(np.searchsorted(hours, spec.max_rows / share, side="right")))]
    return order[::-1]


def _values(numbers: Floats, combine: Sequence[Combine]) -> Floats:
    """Sums or means, shape (measures, keys); NaN where no row had a number."""
    top, weight = numbers[:-1:2], numbers[1:-1:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = top / weight
    is_sum = np.array([each is Combine.SUM for each in combine])[:, None]
    return np.where(weight > 0, np.where(is_sum, top, mean), np.nan)


def _combine(measure: Measure, kind: pa.DataType) -> Combine:
    if measure.combine is not Combine.AUTO:
        return measure.combine
    return Combine.SUM if pa.types.is_integer(kind) else Combine.MEAN


def _cells(column: pa.Array, name: str) -> npt.NDArray[np.uint64]:
    if pa.types.is_integer(column.type):
        return column.cast(pa.uint64(), safe=False).to_numpy(zero_copy_only=False)
    texts = column.dictionary_encode() if not pa.types.is_dictionary(column.type) else column
    try:
        # bytes and str both
        words = np.array([int(text, 16) for text in texts.dictionary.to_pylist()], dtype=np.uint64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ExportError(
            f"the column {name} does not hold H3 cells, neither as integers nor as hexadecimal strings: {_line(error)}"
        ) from error
    return words[texts.indices.to_numpy(zero_copy_only=False)]


def _hours(column: pa.Array, name: str) -> npt.NDArray[np.uint64]:
    hours = _numbers(column, name)
    wrong = ~((hours >= 0) & (hours < HOURS) & (hours == np.floor(hours)))
    if wrong.any():
        raise ExportError(
            f"the column {name} holds {hours[wrong][0]:g}, which is no hour of the week: "
            f"0 (Monday, 00:00) to {HOURS - 1}"
        )
    return hours.astype(np.uint64)


def _numbers(column: pa.Array, name: str) -> Floats:
    """The column as 64-bit floats, NaN for NULL."""
    try:
        return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise ExportError(f"the column {name} is no number but {column.type}; a map shows numbers only") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
