"""The benchmarks' command line: ``python -m benchmarks``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.loading_result import LOADING, TITLES, LoadingResult, NotComparable
from benchmarks.machine import REPOSITORY
from benchmarks.workplace import BENCH_PYTHON, work_folder
from h3_pipeline.cli.process import Terminated, unwind_on_sigterm

CHART = REPOSITORY / "docs" / "images" / "bench.png"

app = typer.Typer(
    help="Measures what the pipeline costs.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
console = Console(highlight=False, emoji=False)

WorkFolder = Annotated[Path | None, typer.Option(help="Folder on a disk with room; by default the system's")]


def _say(line: str) -> None:
    console.print(line, markup=False, style="dim")


def _numbers(text: str) -> list[int]:
    units = {"k": 1_000, "m": 1_000_000}
    parts = [part.strip().lower().replace("_", "") for part in text.replace(" ", ",").split(",") if part.strip()]
    try:
        found = [int(float(part[:-1]) * units[part[-1]]) if part[-1] in units else int(part) for part in parts]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers like 1M,5M,20M") from None
    if not found or min(found) < 1:
        raise typer.BadParameter("there must be a number, and none below 1")
    return found


def _contenders(text: str) -> list[str]:
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := set(chosen) - TITLES.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(TITLES)}")
    return [name for name in TITLES if name in chosen]


@app.command()
def loading(
    sizes: Annotated[str, typer.Option(help="Rows of the generated files, such as 1M,5M,20M")] = "1M,5M,20M",
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each contender on each file")] = 3,
    contenders: Annotated[str, typer.Option(help="Who takes part")] = ",".join(TITLES),
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A CSV of yours in place of generated ones")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a run is given up")] = 3600,
    folder: WorkFolder = None,
    publish: Annotated[bool, typer.Option(help="Keep the result and the chart for the documents")] = True,
    more: Annotated[bool, typer.Option(help="Add to the kept result, of the same commit and machine")] = False,
) -> None:
    """Compare ways to do the same job, from one CSV in S3 to loaded tables."""
    from benchmarks.loading import Comparison, Plan

    if not BENCH_PYTHON.exists():
        console.print("There is no .venv-bench; run `make bench-venv`", markup=False)
        raise typer.Exit(1)
    publish = publish and file is None
    plan = Plan(_numbers(sizes), rounds, _contenders(contenders), timeout, file)
    kept = LoadingResult.read(LOADING) if more else None
    with work_folder(folder) as work:
        try:
            measured = Comparison(plan, work, _say).measure(lambda so_far: _keep(so_far, kept) if publish else None)
        except NotComparable as error:
            console.print(f"{error}; measure it anew, without --more", markup=False)
            raise typer.Exit(1) from None
    result = measured.added_to(kept)
    _show_loading(result)
    if publish:
        draw_charts()
    # a file of yours may have dirt that only the pipeline knows; generated ones have none
    if file is None and any(size.different for size in result.sizes):
        raise typer.Exit(1)


def _keep(so_far: LoadingResult, kept: LoadingResult | None) -> None:
    so_far.added_to(kept).write(LOADING)


def _show_loading(result: LoadingResult) -> None:
    from benchmarks import loading_report

    for grid in (loading_report.start(result), loading_report.times(result), loading_report.costs(result)):
        console.print(grid.rich())
    for line in loading_report.notes(result):
        console.print(line, markup=False)


@app.command()
def growth(
    trips: Annotated[str, typer.Option(help="Trips in the full tables")] = "50M",
    files: Annotated[str, typer.Option(help="Number of small files")] = "1k",
    rows: Annotated[str, typer.Option(help="Rows of each small file")] = "5k",
    keys: Annotated[str, typer.Option(help="Objects that the sensor lists")] = "100k",
    partitions: Annotated[str, typer.Option(help="Partitions in the UI")] = "10k",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured")] = 3,
    parts: Annotated[str, typer.Option(help="Some of tables, files, keys, pages; the others stay as kept")] = "all",
    timeout: Annotated[float, typer.Option(help="Seconds after which a run is given up")] = 3600,
    folder: WorkFolder = None,
    publish: Annotated[bool, typer.Option(help="Keep the result for the documents")] = True,
) -> None:
    """Measure what grows with the tables, the files, the keys listed and the partitions."""
    from benchmarks.growth import PARTS, Plan, measure
    from benchmarks.growth_result import GrowthResult

    chosen = PARTS if parts == "all" else tuple(part.strip() for part in parts.split(","))
    if unknown := set(chosen) - set(PARTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    plan = Plan(
        chosen,
        trips=_numbers(trips)[0],
        files=_numbers(files)[0],
        rows=_numbers(rows)[0],
        keys=_numbers(keys)[0],
        partitions=_numbers(partitions)[0],
        rounds=rounds,
        timeout=timeout,
    )
    with work_folder(folder) as work, work_folder(folder, reused=f"full-{plan.trips}") as full_home:
        result = measure(
            plan,
            work,
            full_home,
            say=_say,
            keep=lambda so_far: so_far.write() if publish else None,
            kept=GrowthResult.read() if publish else None,
        )
    console.print(result.grid().rich())
    console.print(result.queries_grid().rich())


@app.command()
def queries(
    trips: Annotated[str, typer.Option(help="Trips in the tables")] = "50M",
    rounds: Annotated[int, typer.Option(min=1, help="How often each question is asked")] = 5,
    folder: WorkFolder = None,
    publish: Annotated[bool, typer.Option(help="Keep the result for the documents")] = True,
) -> None:
    """Ask the hourly tables and the trips the same questions."""
    from benchmarks.queries import ask_all

    count = _numbers(trips)[0]
    with work_folder(folder, reused=f"full-{count}") as home:
        result = ask_all(home, count, rounds, _say)
    console.print(result.grid().rich())
    if publish:
        result.write()
    if not all(answer.equal for answer in result.answers):
        raise typer.Exit(1)


@app.command()
def stages(
    rows: Annotated[str, typer.Option(help="Rows of the generated file")] = "5M",
    rounds: Annotated[int, typer.Option(min=1, help="How often it is loaded")] = 3,
    folder: WorkFolder = None,
    publish: Annotated[bool, typer.Option(help="Keep the result for the documents")] = True,
) -> None:
    """Show where the time of a load goes."""
    from benchmarks.stages import measure

    with work_folder(folder) as work:
        result = measure(work, _numbers(rows)[0], rounds, _say)
    console.print(result.grid().rich())
    if publish:
        result.write()


@app.command("chart")
def draw_charts() -> None:
    """Draw the chart again from the kept result."""
    from benchmarks.loading_chart import draw

    result = LoadingResult.read()
    if result is not None:
        draw(result, CHART)
        console.print(f"{LOADING.relative_to(REPOSITORY)}, {CHART.relative_to(REPOSITORY)}: written", markup=False)


if __name__ == "__main__":
    unwind_on_sigterm()
    try:
        app()
    except Terminated:
        sys.exit(143)
