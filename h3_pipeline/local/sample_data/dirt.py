"""Faults as real files have them, each with the code that the pipeline gives such a row.

A spoilt row has one fault only, so that the code to expect is certain.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


class Table:
    """Rows of a CSV file as text, by column.

    Args:
        columns: Column name to its fields, all of one length. No field needs quotes.
    """

    def __init__(self, columns: dict[str, list[str]]) -> None:
        self.columns = columns
        self._lines: dict[int, str] = {}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def replace_line(self, row: int, line: str) -> None:
        """Write `line` in place of the row's fields."""
        self._lines[row] = line

    def line(self, row: int) -> str:
        """The row as a line, without its end."""
        return ",".join(column[row] for column in self.columns.values())

    def lines(self) -> Iterator[str]:
        """All rows as lines, without their ends."""
        lines = map(",".join, zip(*self.columns.values(), strict=True))
        if not self._lines:
            return lines
        return (self._lines.get(row, line) for row, line in enumerate(lines))


Spoil = Callable[[Table, int, int], None]
"""Spoils a row of a table; the last argument counts the rows spoilt so, to vary how."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of being dirty.

    Attributes:
        code: Reason, or warning, that the pipeline is to give.
        refused: Whether such a row is refused; else it is loaded with a warning.
        spoil: Does it.
    """

    code: str
    refused: bool
    spoil: Spoil


def fields(*values: dict[str, str]) -> Spoil:
    """Overwrite fields, by column; several sets of values take turns."""

    def spoil(table: Table, row: int, count: int) -> None:
        for column, value in values[count % len(values)].items():
            table.columns[column][row] = value

    return spoil


def wrong_column_count(table: Table, row: int, count: int) -> None:
    """Cut the line short in every other row, else add a filled field."""
    line = table.line(row)
    table.replace_line(row, line.rpartition(",")[0] if count % 2 else f"{line},surplus")


class Dirt:
    """Spoils a fixed share of the rows, its faults in turn, and counts them.

    Args:
        faults: The faults to use.
        share: Share of the rows to spoil, 0 to 1.
    """

    def __init__(self, faults: Sequence[Fault], share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"dirt must be a share between 0 and 1, not {share}")
        self._faults = faults
        self._share = share
        self._rows = 0
        self._spoilt = 0
        self._counts: Counter[str] = Counter()

    def spoil(self, table: Table, rng: np.random.Generator) -> None:
        """Spoil rows of the next part of the file."""
        self._rows += len(table)
        due = round(self._rows * self._share) - self._spoilt
        for row in np.sort(rng.choice(len(table), due, replace=False)).tolist():
            fault = self._faults[self._spoilt % len(self._faults)]
            fault.spoil(table, row, self._counts[fault.code])
            self._counts[fault.code] += 1
            self._spoilt += 1

    def counts(self, *, refused: bool) -> dict[str, int]:
        """Spoilt rows so far by code, of the faults that refuse a row or of those that do not."""
        return {fault.code: self._counts[fault.code] for fault in self._faults if fault.refused is refused}
