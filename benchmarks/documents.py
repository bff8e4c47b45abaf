"""What the documents show of the results: blocks for `docs/generate.py`, made from the JSON files."""

from collections.abc import Callable, Mapping

from benchmarks import loading_report
from benchmarks.grid import Grid
from benchmarks.growth_result import GrowthResult
from benchmarks.loading_result import LoadingResult
from benchmarks.queries import QueriesResult
from benchmarks.stages import StagesResult

_NOTHING = "*Not measured yet.*"


def _of_loading(text: Callable[[LoadingResult], str]) -> Callable[[], str]:
    return lambda: _NOTHING if (result := LoadingResult.read()) is None else text(result)


def _of_growth(grid: Callable[[GrowthResult], Grid]) -> Callable[[], str]:
    return lambda: _NOTHING if (result := GrowthResult.read()) is None else grid(result).markdown()


def _of_queries() -> str:
    return _NOTHING if (result := QueriesResult.read()) is None else result.grid().markdown()


def _of_stages() -> str:
    return _NOTHING if (result := StagesResult.read()) is None else result.grid().markdown()


BLOCKS: Mapping[str, Callable[[], str]] = {
    "bench-times": _of_loading(lambda result: loading_report.times(result).markdown()),
    "bench-notes": _of_loading(lambda result: "\n".join(f"- {line}" for line in loading_report.notes(result))),
    "bench-costs": _of_loading(lambda result: loading_report.costs(result).markdown()),
    "bench-start": _of_loading(lambda result: loading_report.start(result).markdown()),
    "bench-growth": _of_growth(GrowthResult.grid),
    "bench-ui-queries": _of_growth(GrowthResult.queries_grid),
    "bench-queries": _of_queries,
    "bench-stages": _of_stages,
}
"""The text of each block, by its name."""
