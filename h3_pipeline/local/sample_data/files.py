"""Writing sample files, in parts, whole or not at all."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from h3_pipeline.errors import PipelineError
from h3_pipeline.local.sample_data.dirt import Dirt, Table

CHUNK_ROWS = 50_000
"""Rows that are in memory at once."""


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What a sample file holds and what the pipeline is to say about it.

    Attributes:
        path: The file.
        rows: Rows, header not counted.
        rejected: Rows to be refused, by reason.
        warnings: Rows to be loaded with a warning, by its code. What a feed notes about every
            row of a file (``timezone_assumed_utc``) is not counted here.
    """

    path: Path
    rows: int
    rejected: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def rows_rejected(self) -> int:
        """Rows to be refused."""
        return sum(self.rejected.values())

    @property
    def rows_loaded(self) -> int:
        """Rows to be loaded."""
        return self.rows - self.rows_rejected


def write_table(
    path: Path,
    make: Callable[[np.random.Generator, int, int], Table],
    *,
    rows: int,
    seed: int,
    dirt: Dirt,
    line_end: str,
    progress: Callable[[int], None] | None,
) -> SampleSummary:
    """Write a CSV file part by part, compressed by gzip if its name ends in ``.gz``.

    Args:
        path: Where to; replaced only when the file is complete.
        make: Makes rows ``first`` to ``last`` (exclusive): ``make(rng, first, last)``.
        rows: Number of rows.
        seed: Seed of the chance, at least 0.
        dirt: Spoils them.
        line_end: What ends a line.
        progress: Called with the number of rows after each part.

    Raises:
        ValueError: `rows` or `seed` is negative.
        PipelineError: The file cannot be written.
    """
    if rows < 0 or seed < 0:
        raise ValueError(f"rows and seed must not be negative, but are {rows} and {seed}")
    with _whole_file(path) as write:
        # A file without rows has its header all the same.
        for first in range(0, max(rows, 1), CHUNK_ROWS):
            last = min(first + CHUNK_ROWS, rows)
            write(_part(make, first, last, seed, dirt, line_end))
            if progress is not None:
                progress(last - first)
    return SampleSummary(path, rows, dirt.counts(refused=True), dirt.counts(refused=False))


def _part(
    make: Callable[[np.random.Generator, int, int], Table], first: int, last: int, seed: int, dirt: Dirt, line_end: str
) -> bytes:
    rng = np.random.default_rng([seed, first])
    table = make(rng, first, last)
    dirt.spoil(table, rng)
    header = ",".join(table.columns) + line_end if first == 0 else ""
    return "".join([header, *(line + line_end for line in table.lines())]).encode()


@contextmanager
def _whole_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            if path.suffix == ".gz":
                # Neither name nor time go into the header: the same rows, the same bytes.
                with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed:
                    yield packed.write
            else:
                yield file.write
        draft.replace(path)
    except OSError as error:
        raise PipelineError(f"Cannot write the sample {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
