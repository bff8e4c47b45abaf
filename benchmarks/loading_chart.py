"""The comparison of ways to load, as a picture."""

from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

from benchmarks.grid import rows_text, times_text
from benchmarks.loading_result import PIPELINE, TITLES, LoadingResult

_COLOURS = {PIPELINE: "#0b6e4f", "pandas": "#c9a227", "polars": "#7a5195", "limit": "#9aa0a6"}
_BAR = 0.8


def draw(result: LoadingResult, path: Path) -> None:
    """Draw time and memory by size.

    Args:
        result: What was measured.
        path: A PNG; replaced.
    """
    sizes, contenders = result.real_sizes, result.contenders
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    width = _BAR / max(len(contenders), 1)
    for place, contender in enumerate(contenders):
        at = [index + (place - (len(contenders) - 1) / 2) * width for index in range(len(sizes))]
        seconds = [(spread.middle if (spread := size.seconds(contender)) else 0) for size in sizes]
        memory = [(spread.middle / 1e9 if (spread := size.peak_bytes(contender)) else 0) for size in sizes]
        for axes, values, digits in ((left, seconds, 0), (right, memory, 1)):
            bars = axes.bar(at, values, width * 0.94, label=TITLES[contender], color=_COLOURS[contender])
            labels = [
                f"{value:,.{digits if value >= 10 else max(digits, 1)}f}" if value else size.without_figure(contender)
                for value, size in zip(values, sizes, strict=True)
            ]
            axes.bar_label(bars, labels, fontsize=8, padding=2)
    for axes, title in ((left, "Seconds of the whole process"), (right, "Peak memory, GB")):
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xticks(range(len(sizes)), [f"{rows_text(size.rows)} rows" for size in sizes])
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.12)
    left.legend(frameon=False, fontsize=9)
    caption = f"{result.machine}; medians of {times_text(result.rounds, 'round')}".replace("**", "")
    figure.text(0.005, -0.03, caption, fontsize=7.5, color="#555555")
    # without the library's version, the same result gives the same bytes on any machine that has the same fonts
    figure.savefig(path, dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
