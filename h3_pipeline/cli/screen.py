"""What appears on the terminal, and in its place in a pipe.

Results go to stdout, everything else to stderr. On a terminal there are colours, boxes, bars and
spinners; in a pipe, plain text, a line for each thing.
"""

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, markup=False, emoji=False)
err = Console(highlight=False, markup=False, emoji=False, stderr=True)

_WITHOUT_END = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


Value = str | int | float | datetime | Text | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its title.
        number: Whether its cells are numbers, which are set to the right.
        folds: Whether its cells are folded where the terminal is too narrow.
    """

    title: str
    number: bool = False
    folds: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table to be shown.

    Attributes:
        columns: Its columns.
        rows: Cells.
        title: Line above it, or ``''``.
        totals: Cells of a last row, or none.
    """

    columns: Sequence[Column]
    rows: list[Sequence[Value]] = field(default_factory=list)
    title: str = ""
    totals: Sequence[Value] = ()


def say(line: str = "", style: str = "") -> None:
    """A line on stdout, never wrapped."""
    out.print(Text(line, style=style), soft_wrap=True)


def note(line: str) -> None:
    """A line on stderr about what is going on."""
    err.print(Text(one_line(line), style="yellow"), soft_wrap=True)


def complain(message: str) -> None:
    """The one line of an error."""
    err.print(Text.assemble(("error:", "bold red"), " ", one_line(message)), soft_wrap=True)


def show(grid: Grid) -> None:
    """Show a table on stdout."""
    if out.is_terminal:
        out.print(_table(grid, box.SIMPLE))
        return
    plain = Console(
        file=io.StringIO(), width=_WITHOUT_END, highlight=False, markup=False, emoji=False, color_system=None
    )
    plain.print(_table(grid, None))
    lines = plain.file.getvalue().splitlines()  # type: ignore[attr-defined] - a StringIO
    sys.stdout.write("".join(line.rstrip() + "\n" for line in lines))


def fits(grid: Grid) -> bool:
    """Whether a table can be shown without folding cells."""
    if not out.is_terminal:
        return True
    unbounded = out.options.update(max_width=_WITHOUT_END)
    return out.measure(_table(grid, box.SIMPLE), options=unbounded).maximum <= out.width


@contextmanager
def stage(description: str) -> Iterator[None]:
    """Something that takes a while; on a terminal, a spinner and a clock tell that it goes on."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as progress:  # fmt: skip
        progress.add_task(_clean(description), total=None)
        yield


@contextmanager
def transfer(description: str, size: int) -> Iterator[Callable[[int], None]]:
    """A transfer of so many bytes; yields what is to be told the bytes that have gone."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(_clean(description), total=size)
        yield lambda sent: progress.advance(task, sent)


@contextmanager
def share(description: str) -> Iterator[Callable[[int, int], None]]:
    """Work whose size is known only once it has begun; yields what is to be told the bytes done, and all bytes."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(_clean(description), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=max(done, total) or None)


def bytes_text(size: int) -> str:
    """A size for people, e.g. ``1.2 MB``."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def counted(number: int, noun: str) -> str:
    """A number with its noun, e.g. ``1 file`` or ``2 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(text: str) -> str:
    """A text on one line, without anything that steers a terminal."""
    return _clean(" ".join(text.split()))


def _clean(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _table(grid: Grid, frame: box.Box | None) -> Table:
    table = Table(
        box=frame,
        title=grid.title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold" if frame else "",
        show_footer=bool(grid.totals),
        footer_style="bold" if frame else "",
        pad_edge=bool(frame),
        padding=(0, 1) if frame else (0, 2, 0, 0),
    )
    totals = [*map(_cell, grid.totals), *([Text()] * (len(grid.columns) - len(grid.totals)))]
    for column, total in zip(grid.columns, totals, strict=True):
        table.add_column(
            Text(_clean(column.title)),
            footer=total,
            justify="right" if column.number else "left",
            no_wrap=not column.folds,
            overflow="fold",
        )
    for row in grid.rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: Value) -> Text:
    match value:
        case None:
            return Text("")
        case Text():
            return value
        case bool():
            return Text(str(value).lower())
        case int():
            return Text(f"{value:,}")
        case float():
            return Text(f"{value:,.1f}")
        case datetime():
            return Text(f"{value:%Y-%m-%d %H:%M}")
        case _:
            return Text(_clean(str(value)))
