"""Results of benchmarks that never ran."""

from datetime import UTC, datetime

from benchmarks.loading_result import ONE_ROW, LoadingResult, Run, SizeResult
from benchmarks.machine import Machine

MACHINE = Machine(
    date=datetime(2024, 5, 1, tzinfo=UTC),
    commit="0123456789",
    cpu="A Processor",
    cores=2,
    memory_bytes=8 * 2**30,
    load=0.1,
    system="Linux x86_64",
    versions={"python": "3.11.9"},
)


def runs(*seconds: float, failure: str | None = None) -> list[Run]:
    return [Run(seconds=each, cpu_seconds=2 * each, peak_bytes=10**9, failure=failure) for each in seconds]


def loading_result() -> LoadingResult:
    """The pipeline took 2, pandas 12, the engine 1; polars failed."""
    size = SizeResult(
        rows=1_000_000,
        bytes=150_000_000,
        runs={
            "pipeline": runs(2, 1, 30),
            "pandas": runs(12, 12, 12),
            "polars": runs(1, failure="killed: more than 1.0 GiB of memory"),
            "limit": runs(1, 1, 1),
        },
        how={"pandas": "whole file at once"},
        trips=999_000,
        equal=["pipeline", "pandas"],
        different={"limit": ["trips rows"]},
    )
    start = SizeResult(rows=ONE_ROW, bytes=300, runs={"pipeline": runs(0.5)})
    return LoadingResult(machine=MACHINE, rounds=3, source="generated", sizes=[start, size])
