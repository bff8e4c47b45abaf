"""Loads into full tables, and loads of many small files: whole runs of the pipeline, in processes of their own."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from benchmarks.full_tables import fill
from benchmarks.growth_result import FullTables, ManyFiles
from benchmarks.machine import REPOSITORY
from benchmarks.processes import Measured, run
from benchmarks.sample import write_sample
from benchmarks.store import Store
from benchmarks.workplace import PIPELINE_PYTHON, environment
from h3_pipeline.storage import prefixes

FILE_ROWS = 10_000

Say = Callable[[str], None]


def into_full_tables(
    store: Store, folder: Path, full_home: Path, trips: int, *, rounds: int, timeout: float, say: Say
) -> FullTables:
    """Load one small file into empty tables and into full ones, in turns.

    Args:
        store: The object store.
        folder: For files and the empty warehouse.
        full_home: Home of the full warehouse; filled unless it is.
        trips: Trips in the full tables.
        rounds: How often.
        timeout: Seconds after which a run is given up.
        say: Told what goes on.
    """
    fill(full_home, trips, say)
    result = FullTables(trips=trips, rows=FILE_ROWS)
    file = folder / "small.csv"
    write_sample(file, FILE_ROWS)
    empty_home = folder / "empty"
    # a key that was loaded before would be replaced, which is another thing
    prefix = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    # the first run of a home makes Dagster's databases, of which the tables' size is not the cause
    for number in range(rounds + 1):
        key = f"{prefix}/{number}.csv"
        store.upload(file, key)
        for home, seconds, load_seconds in (
            (empty_home, result.empty_seconds, result.empty_load_seconds),
            (full_home, result.full_seconds, result.full_load_seconds),
        ):
            measured = ingest(store, home, folder, [key], timeout)
            if number:
                seconds.append(round(measured.seconds, 3))
                load_seconds.append(json.loads(measured.output)["uploads"][0]["seconds"])
            say(f"{FILE_ROWS:,} rows into the tables of {home.name}: {measured.seconds:.2f} s")
    return result


def many_files(
    store: Store, folder: Path, files: int, rows: int, *, rounds: int, timeout: float, say: Say
) -> ManyFiles:
    """Load many small files in one run, and one file of the same rows, in turns.

    Args:
        store: The object store.
        folder: For files and warehouses.
        files: Number of files.
        rows: Rows of each.
        rounds: How often.
        timeout: Seconds after which a run is given up.
        say: Told what goes on.
    """
    result = ManyFiles(files=files, rows=rows)
    whole = folder / "whole.csv"
    write_sample(whole, files * rows)
    store.upload(whole, "whole.csv")
    keys = _upload_pieces(store, whole, files, rows)
    for number in range(rounds):
        for name, seconds, chosen in (("many", result.many_seconds, keys), ("one", result.one_seconds, ["whole.csv"])):
            measured = ingest(store, folder / f"{name}-{number}", folder, chosen, timeout)
            seconds.append(round(measured.seconds, 3))
            peak = f"{name}_peak_bytes"
            setattr(result, peak, max(getattr(result, peak), measured.peak_bytes))
            say(f"{len(chosen):,} files, {files * rows:,} rows: {measured.seconds:.2f} s")
    return result


def _upload_pieces(store: Store, whole: Path, files: int, rows: int) -> list[str]:
    keys = [f"pieces/{number:06d}.csv" for number in range(files)]
    with whole.open("rb") as file:
        header = file.readline()
        for key in keys:
            store.bucket.write(prefixes.upload_object(key), header + b"".join(islice(file, rows)), "text/csv")
    return keys


def ingest(store: Store, home: Path, output: Path, keys: Sequence[str], timeout: float) -> Measured:
    """Run the pipeline on uploads that are in the bucket.

    Raises:
        RuntimeError: It failed, or refused one.
    """
    measured = run(
        [str(PIPELINE_PYTHON), "-m", "benchmarks.contenders.pipeline", *keys],
        environment=environment(store.environment, {"H3_PIPELINE_HOME": str(home)}),
        folder=REPOSITORY,
        output=output,
        timeout=timeout,
    )
    if measured.failure:
        raise RuntimeError(f"the pipeline failed: {measured.failure}")
    return measured
