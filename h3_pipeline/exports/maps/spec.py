"""What a map shows, and how."""

from dataclasses import dataclass
from enum import StrEnum

HOURS = 168
"""Hours of a week. Hour 0 is Monday, 00:00 to 01:00."""


class Combine(StrEnum):
    """How the rows of one cell become one number: over the hours of the week, or whatever else a query has."""

    AUTO = "auto"
    """The sum of a column of whole numbers, the mean of any other."""
    SUM = "sum"
    MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that a map can show.

    Attributes:
        column: Its column in the result; any numeric type, NULL and NaN where there is no number.
        label: What people call it.
        unit: What it counts in, e.g. ``min``; ``''`` for a plain number.
        combine: How several rows of a cell are combined.
        weight: Column to weigh a mean with, e.g. the trips that each row is the mean of.
    """

    column: str
    label: str
    unit: str = ""
    combine: Combine = Combine.AUTO
    weight: str | None = None


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What a map shows of a result's columns.

    Exactly one of ``cell`` and ``flow`` is given. The cells may be of several resolutions; each says its
    own, and the page lets the reader choose among them.

    Attributes:
        title: Heading of the page.
        measures: What can be shown; the first is shown when the page opens, and decides what is left out
            where there is too much.
        description: What the rows say, a sentence or two.
        cell: Column of H3 cells, as unsigned integers or hexadecimal strings.
        flow: Columns of the origin's and the destination's cell.
        hour_of_week: Column of the local hour of the week, 0 (Monday, 00:00 to 01:00) to 167.
        note: A line for the foot of the page, e.g. when the data was read.
        tiles_url: Template of raster tiles to lay below, ``https://…/{z}/{x}/{y}.png``. With it, and only
            with it, the page makes requests: to that host.
        tiles_attribution: What the makers of the tiles want to be said.
        max_features: Cells, or flows, at most for each resolution: the largest of the first measure. The page
            says so where any are left out.
        max_rows: Combinations of cell, or flow, and hour at most, in the whole page.
    """

    title: str
    measures: tuple[Measure, ...]
    description: str = ""
    cell: str | None = None
    flow: tuple[str, str] | None = None
    hour_of_week: str | None = None
    note: str = ""
    tiles_url: str | None = None
    tiles_attribution: str = ""
    max_features: int = 50_000
    max_rows: int = 2_000_000

    def __post_init__(self) -> None:
        if (self.cell is None) == (self.flow is None):
            raise ValueError("a map has either cell or flow")
        if not self.measures:
            raise ValueError("a map has at least one measure")

    @property
    def cell_columns(self) -> tuple[str, ...]:
        """The columns that hold cells: one, or origin and destination."""
        return self.flow if self.flow is not None else (self.cell or "",)

    def columns(self) -> list[str]:
        """Every column that is read."""
        named = [*self.cell_columns, *([self.hour_of_week] if self.hour_of_week else [])]
        for measure in self.measures:
            named += [measure.column, *([measure.weight] if measure.weight else [])]
        return list(dict.fromkeys(named))
