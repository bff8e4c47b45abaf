"""``demo``: sample trips through the pipeline, to its end."""

from collections.abc import Sequence
from pathlib import Path

from h3_pipeline.cli import screen
from h3_pipeline.cli.export import ExportedByHand, run_exports, show_overview
from h3_pipeline.cli.ingest import complain_of_refusals, load, show_report
from h3_pipeline.cli.screen import Column, Grid
from h3_pipeline.cli.upload import plan, send
from h3_pipeline.local import sample_data
from h3_pipeline.local.sample_data import SampleSummary, cities
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog, load_exports
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.schema import CELL_HOURLY

PREFIX = "demo"
"""Where the sample files go, below ``uploads/``."""

PREFERRED_RESOLUTION = 8
CELLS_OF_A_CITY = 3

_CITY_FILES = (
    ("tokyo.csv", cities.TOKYO),
    ("sao-paulo.csv.gz", cities.SAO_PAULO),
    ("lagos.csv", cities.LAGOS),
)
MAP = "busiest_cells"
"""The export whose map is shown first."""

_NEW_YORK_FILE = "new-york-yellow.csv"


def demo(rows: int) -> int:
    """Make samples, load them, show what happened."""
    settings = Settings.load()
    load_catalog(settings)
    catalog = load_exports(settings)
    folder = settings.home / "samples"
    with screen.stage(f"Inventing {rows:,} trips"):
        samples = write_samples(folder, rows)
    screen.say(f"{rows:,} invented trips in {screen.counted(len(samples), 'file')} below {folder}")
    with bucket_access(settings) as access:
        bucket = Bucket(access)
        sendings = plan([sample.path for sample in samples], PREFIX)
        send(bucket, sendings)
        report = load(settings, bucket, [sending.key for sending in sendings])
        show_report(report)
        exports = run_exports(settings, bucket, list(catalog.queries.values()))
    with open_warehouse(settings, None, on_wait=screen.note) as warehouse:
        _show_busiest(warehouse, _resolution(settings.h3_rollup_resolutions))
    screen.say()
    show_overview(exports)
    _show_next(settings)
    _show_map(exports)
    return complain_of_refusals(report)


def write_samples(folder: Path, rows: int) -> list[SampleSummary]:
    """Write the sample files: a city's each, and one like New York's yellow taxis'.

    Args:
        folder: Where to.
        rows: Rows of all files together.

    Raises:
        PipelineError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    share = rows // (len(_CITY_FILES) + 1)
    samples = [
        sample_data.write_ancestral(folder / name, rows=share, seed=seed, cities=[city])
        for seed, (name, city) in enumerate(_CITY_FILES, 1)
    ]
    rest = rows - share * len(_CITY_FILES)
    samples.append(sample_data.write_nyc_like(folder / _NEW_YORK_FILE, rows=rest, seed=0))
    return samples


def _resolution(rollups: Sequence[int]) -> int:
    """The rollup nearest to what is the size of a neighbourhood."""
    return min(rollups, key=lambda rollup: abs(rollup - PREFERRED_RESOLUTION))


def _show_busiest(warehouse: Warehouse, resolution: int) -> None:
    rows = warehouse.engine.rows(
        # not the view: it has no local time
        f"""
        SELECT h3ToString(cell), region, sum(departed) AS departures, sum(arrived) AS arrivals,
               argMax(local_hour, (departed + arrived, -local_hour))
        FROM (
            SELECT cell, region, toHour(hour + toIntervalMinute(utc_offset_minutes)) AS local_hour,
                   sum(departures) AS departed, sum(arrivals) AS arrived
            FROM {warehouse.placement.table(CELL_HOURLY)}
            WHERE resolution = {{resolution:UInt8}} AND startsWith(upload, {{prefix:String}})
            GROUP BY cell, region, local_hour
        )
        GROUP BY cell, region
        ORDER BY region, departures + arrivals DESC, cell
        LIMIT {CELLS_OF_A_CITY} BY region
        """,
        {"resolution": resolution, "prefix": f"{PREFIX}/"},
    )
    grid = Grid(
        [
            Column("cell"),
            Column("city"),
            Column("departures", number=True),
            Column("arrivals", number=True),
            Column("busiest hour, local time"),
        ],
        title=f"The {CELLS_OF_A_CITY} busiest cells of each city, H3 resolution {resolution}",
    )
    for cell, region, departures, arrivals, hour in rows:
        grid.rows.append([cell, region, departures, arrivals, f"{hour:02}:00 to {(hour + 1) % 24:02}:00"])
    screen.say()
    screen.show(grid)
    screen.say("Arrivals are counted where a file says when its trips ended.")


def _show_next(settings: Settings) -> None:
    screen.say()
    screen.say("Next", style="bold")
    for command, purpose in (
        ("dev", f"Dagster's UI on http://127.0.0.1:{settings.port}; loads what you upload"),
        ("ingest my-trips.csv", "your own trips"),
        ("export --list", "questions answered into files and maps"),
        ("status", "what is loaded"),
        ('query "SELECT region, count() FROM trips GROUP BY region"', ""),
    ):
        screen.say(f"  h3-pipeline {command:<22}{purpose}".rstrip())


def _show_map(exports: Sequence[ExportedByHand]) -> None:
    """Where the map is: the last line, for whoever reads no other."""
    maps = {one.query.name: one.map for one in exports if one.map}
    if path := maps.get(MAP) or next(iter(maps.values()), None):
        screen.say()
        screen.say("Open this map in a browser:", style="bold")
        screen.say(f"  {path}")
