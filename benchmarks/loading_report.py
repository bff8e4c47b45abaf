"""The comparison of ways to load, as tables."""

from benchmarks.grid import Grid, number, rows_text, times_text
from benchmarks.loading_result import PIPELINE, TITLES, LoadingResult, SizeResult


def times(result: LoadingResult) -> Grid:
    """Seconds of whole processes, and multiples of the pipeline's time."""
    header = ["seconds (× the pipeline's)", *(rows_text(size.rows) + " rows" for size in result.real_sizes)]
    rows = [
        [TITLES[contender], *(_time(size, contender) for size in result.real_sizes)] for contender in result.contenders
    ]
    return Grid(header, rows, f"{result.machine}; medians of {times_text(result.rounds, 'round')}.")


def costs(result: LoadingResult) -> Grid:
    """By row and in memory."""
    sizes = result.real_sizes
    header = [
        "",
        *(f"µs a row, {rows_text(size.rows)}" for size in sizes),
        *(f"CPU s, {rows_text(size.rows)}" for size in sizes),
        *(f"peak GB, {rows_text(size.rows)}" for size in sizes),
    ]
    rows = [
        [
            TITLES[contender],
            *(number(size.microseconds_a_row(contender), 2) for size in sizes),
            *(number((cpu := size.cpu_seconds(contender)) and cpu.middle) for size in sizes),
            *(number((peak := size.peak_bytes(contender)) and peak.middle / 1e9, 2) for size in sizes),
        ]
        for contender in result.contenders
    ]
    return Grid(header, rows)


def start(result: LoadingResult) -> Grid:
    """What a run costs before the first row."""
    header = ["a file of one row", "seconds", "fastest", "slowest", "CPU s", "peak GB"]
    rows = []
    for contender in result.contenders:
        size = result.start
        seconds = size and size.seconds(contender)
        cpu, peak = size and size.cpu_seconds(contender), size and size.peak_bytes(contender)
        rows.append(
            [
                TITLES[contender],
                number(seconds and seconds.middle, 2),
                number(seconds and seconds.low, 2),
                number(seconds and seconds.high, 2),
                number(cpu and cpu.middle, 2),
                number(peak and peak.middle / 1e9, 2),
            ]
        )
    return Grid(header, rows)


def notes(result: LoadingResult) -> list[str]:
    """What a reader must know beside the numbers: what was equal, what was done differently, what failed."""
    lines = []
    for size in result.real_sizes:
        of = f"{rows_text(size.rows)} rows ({size.bytes / 1e6:,.1f} MB)"
        if size.trips is not None and len(size.equal) > 1:
            same = ", ".join(TITLES[contender] for contender in size.equal)
            lines.append(f"{of}: {size.trips:,} trips loaded; the tables are the same for {same}.")
        for contender, names in size.different.items():
            lines.append(f"{of}: the tables of {TITLES[contender]} differ: {', '.join(names)}.")
        for contender, runs in size.runs.items():
            if len(runs) != result.rounds:
                lines.append(f"{of}: {times_text(len(runs), 'round')} of {TITLES[contender]}.")
        for contender, how in size.how.items():
            lines.append(f"{of}: {TITLES[contender]} took the {how}.")
        for contender, runs in size.runs.items():
            failures = [run.failure for run in runs if run.failure]
            if failures:
                last = failures[-1].splitlines()[-1]
                lines.append(f"{of}: {TITLES[contender]} failed in {len(failures)} of {len(runs)} runs: {last}")
    return lines


def _time(size: SizeResult, contender: str) -> str:
    seconds, multiple = size.seconds(contender), size.times_the_pipeline(contender)
    if seconds is None:
        return size.without_figure(contender)
    beside = "" if contender == PIPELINE or multiple is None else f" ({multiple:.2f} ×)"
    return f"{seconds.middle:,.1f}{beside}"
