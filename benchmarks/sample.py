"""The CSV that is loaded: invented trips in New York, mostly clean, any number of them within a minute or two."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path

from h3_pipeline.local.sample_data import write_nyc_like

ROWS_A_DAY = 100_000
"""The same at every size, so that more rows are more days, and the hourly tables grow as the trips do."""

FIRST_DAY = date(2015, 4, 1)
"""Clocks do not change within the 200 days of 20 million rows: the other contenders end at a time that never was."""
DIRT = 0.002
FAULTS = ("missing_origin", "origin_null_island", "ends_before_start")
"""What the other contenders refuse too; no more, since nobody writes the rules that a pipeline has."""


@dataclass(frozen=True, slots=True)
class Month:
    """Trips of one month of the file.

    Attributes:
        year: Its year.
        month: Its number.
        days: Its first so many days.
        rows: Rows in them.
    """

    year: int
    month: int
    days: int
    rows: int


def months(rows: int) -> list[Month]:
    """The months that so many rows fill, the last of them in part."""
    found, day, left = [], FIRST_DAY, rows
    while left:
        next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        length = (next_month - day).days
        taken = min(left, length * ROWS_A_DAY)
        found.append(Month(day.year, day.month, -(-taken // ROWS_A_DAY), taken))
        day, left = next_month, left - taken
    return found


def write_sample(path: Path, rows: int, *, seed: int = 1, processes: int = 2) -> None:
    """Write the file; the same arguments give the same bytes, whatever the number of processes.

    Args:
        path: Where to.
        rows: Number of rows, header not counted.
        seed: Seed of the chance.
        processes: Months that are made at once.
    """
    parts = [path.with_name(f"{path.name}.{place:03d}") for place in range(len(months(rows)))]
    work = (parts, months(rows), range(seed, seed + len(parts)))
    if processes == 1 or len(parts) == 1:
        list(map(_write_part, *work))
    else:
        # spawned, since a forked process has what threads of its parent were in the middle of
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(_write_part, *work))
    with path.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                header = file.readline()
                if part is parts[0]:
                    whole.write(header)
                shutil.copyfileobj(file, whole, 1 << 20)
            part.unlink()


def _write_part(path: Path, month: Month, seed: int) -> None:
    write_nyc_like(
        path,
        rows=month.rows,
        seed=seed,
        year=month.year,
        month=month.month,
        days=month.days,
        # a file of a row or two must have one that can be loaded
        dirt=DIRT if month.rows >= 1 / DIRT else 0,
        faults=FAULTS,
    )
