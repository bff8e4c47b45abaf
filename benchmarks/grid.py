"""A table of texts, for the terminal and for the documents."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        header: Titles; the first column is text, all others are numbers.
        rows: Cells.
        caption: A line about the whole.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def markdown(self) -> str:
        """As Markdown."""
        aligned = ["---", *["--:"] * (len(self.header) - 1)]
        lines = [f"| {' | '.join(line)} |" for line in (self.header, aligned, *self.rows)]
        return "\n".join([*([self.caption, ""] if self.caption else []), *lines])

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(caption=self.caption or None, caption_justify="left")
        for place, title in enumerate(self.header):
            table.add_column(title, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def number(value: float | None, digits: int = 1) -> str:
    """A number with thousands apart; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def rows_text(rows: int) -> str:
    """A round number of rows as people say it, any other as it is."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if rows >= unit and rows % (unit // 10) == 0:
            return f"{rows / unit:g} {name}"
    return f"{rows:,}"


def times_text(count: int, thing: str) -> str:
    """``1 round``, ``3 rounds``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
