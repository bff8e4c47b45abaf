"""What grows with what, in small: the figures of docs/scaling.md. Run it with ``python benchmarks/scaling.py``.

Processor time, not time on the clock, of this process: the engines run in it, the object store does not.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

from dagster import DagsterInstance

from h3_pipeline.ingestion import ingest
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.warehouse.connect import open_warehouse

T = TypeVar("T")

SMALL_UPLOADS = 20
SMALL_ROWS = 100
LARGE_ROWS = 200_000
PARTITIONS = 100_000
HEADER = "started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,distance_km,fare_amount,region\n"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["H3_PIPELINE_HOME"] = folder
        settings = Settings.load()
        (Path(folder) / "dagster").mkdir()
        with bucket_access(settings) as access, DagsterInstance.local_temp(str(Path(folder) / "dagster")) as instance:
            bucket = Bucket(access)
            small = [f"small-{number:03d}.csv" for number in range(SMALL_UPLOADS)]
            for place, key in enumerate(["warm-up.csv", *small]):
                bucket.write(f"uploads/{key}", trips(SMALL_ROWS, seed=place).encode(), "text/csv")
            bucket.write("uploads/large.csv", trips(LARGE_ROWS, seed=-1).encode(), "text/csv")
            ingest(["warm-up.csv"], bucket=bucket, instance=instance)
            before = _size(Path(folder) / "dagster")
            seconds, run_id = measured(lambda: ingest(small, bucket=bucket, instance=instance).run_id)
            events = len(instance.all_logs(str(run_id)))
            grown = _size(Path(folder) / "dagster") - before
            print(f"a small upload ({SMALL_ROWS} rows, {SMALL_UPLOADS} in a run): {seconds / SMALL_UPLOADS:.2f} CPU s")
            print(f"  events of the run: {events}, {events / SMALL_UPLOADS:.1f} an upload")
            print(f"  Dagster's storage (SQLite): {grown / SMALL_UPLOADS / 1024:.0f} KiB an upload")
            seconds, _ = measured(lambda: ingest(["large.csv"], bucket=bucket, instance=instance))
            print(f"an upload of {LARGE_ROWS:,} rows: {seconds:.1f} CPU s, {LARGE_ROWS / seconds:,.0f} rows a CPU s")
            _tables(settings, access)
            _partitions(instance)


def trips(rows: int, *, seed: int) -> str:
    """A month of trips in a town of 20 km."""
    random = Random(seed)  # noqa: S311 - no secret
    lines = []
    for _ in range(rows):
        day, hour, minute = random.randrange(1, 29), random.randrange(24), random.randrange(45)
        lat, lng = 50 + random.gauss(0, 0.03), 14.4 + random.gauss(0, 0.05)
        to = f"{lat + random.gauss(0, 0.02):.5f},{lng + random.gauss(0, 0.03):.5f}"
        clock = f"2024-03-{day:02d}T{hour:02d}"
        lines.append(f"{clock}:{minute:02d}:00Z,{clock}:{minute + 14:02d}:30Z,{lat:.5f},{lng:.5f},{to},3.5,12.5,Prague")
    return HEADER + "\n".join(lines) + "\n"


def measured(work: Callable[[], T]) -> tuple[float, T]:
    """Processor seconds of some work, and what it returns."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tables(settings: Settings, access: BucketAccess) -> None:
    with open_warehouse(settings, access) as warehouse:
        found = warehouse.engine.rows(
            "SELECT table, sum(rows), sum(bytes_on_disk), count() FROM system.parts WHERE active "
            "AND database = {database:String} AND table IN ('trips', 'cell_hourly', 'flow_hourly') GROUP BY table",
            {"database": settings.clickhouse_database},
        )
    all_trips = next(rows for table, rows, *_ in found if table == "trips")
    for table, rows, size, parts in sorted(map(tuple, found)):
        print(f"{table}: {rows / all_trips:.2f} rows and {size / all_trips:.0f} bytes a trip, {parts} parts")


def _partitions(instance: DagsterInstance) -> None:
    keys = [f"city/2024/03/{number:06d}.csv.gz" for number in range(PARTITIONS)]
    added, _ = measured(
        lambda: [instance.add_dynamic_partitions(UPLOADS, keys[n : n + 200]) for n in range(0, len(keys), 200)]
    )
    listed, found = measured(lambda: instance.get_dynamic_partitions(UPLOADS))
    print(f"{PARTITIONS:,} partitions: added in {added:.1f} CPU s, listed in {listed:.2f} CPU s ({len(found):,})")


if __name__ == "__main__":
    main()
