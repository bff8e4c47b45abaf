"""Measures what grows with the tables, the files, the keys and the partitions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth_listing import listed_keys
from benchmarks.growth_loads import into_full_tables, many_files
from benchmarks.growth_pages import partitioned_pages
from benchmarks.growth_result import GrowthResult, Measurement
from benchmarks.machine import this_machine
from benchmarks.store import running_store

PARTS = ("tables", "files", "keys", "pages")
"""What can be measured by itself."""

FEW_PARTITIONS = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        parts: Some of `PARTS`.
        trips: Trips in the full tables.
        files: Number of small files.
        rows: Rows of each.
        keys: Objects that the sensor lists.
        partitions: Partitions in the UI.
        rounds: How often.
        timeout: Seconds after which a run is given up.
    """

    parts: tuple[str, ...]
    trips: int
    files: int
    rows: int
    keys: int
    partitions: int
    rounds: int
    timeout: float


def measure(
    plan: Plan,
    folder: Path,
    full_home: Path,
    *,
    say: Callable[[str], None],
    keep: Callable[[GrowthResult], None],
    kept: GrowthResult | None = None,
) -> GrowthResult:
    """Measure.

    Args:
        plan: What.
        folder: For all that is not kept.
        full_home: Home of the full tables.
        say: Told what goes on.
        keep: Handed what there is after each part.
        kept: What was measured before, of which the parts not measured now stay.
    """
    result = kept or GrowthResult()
    measurement = Measurement(machine=this_machine(), rounds=plan.rounds)

    def measured(part: str) -> None:
        result.measurements[part] = measurement
        keep(result)

    with running_store(folder / "store") as store:
        if "tables" in plan.parts:
            result.full_tables = into_full_tables(
                store, folder, full_home, plan.trips, rounds=plan.rounds, timeout=plan.timeout, say=say
            )
            measured("tables")
        if "files" in plan.parts:
            result.many_files = many_files(
                store, folder, plan.files, plan.rows, rounds=plan.rounds, timeout=plan.timeout, say=say
            )
            measured("files")
    if "keys" in plan.parts:
        result.listed_keys = listed_keys(plan.keys, timeout=plan.timeout)
        measured("keys")
    if "pages" in plan.parts:
        result.partitioned_pages = [
            partitioned_pages(folder / f"pages-{number}", number, rounds=plan.rounds, say=say)
            for number in (FEW_PARTITIONS, plan.partitions)
        ]
        measured("pages")
    return result
