"""What grows with the tables, the files, the keys and the partitions, as JSON keeps it."""

from pathlib import Path

from pydantic import BaseModel, Field

from benchmarks.grid import Grid, number, times_text
from benchmarks.machine import Machine
from benchmarks.spread import ratio, spread

GROWTH = Path(__file__).resolve().parent / "results" / "growth.json"


def middle(values: list[float]) -> float | None:
    """Their median, or None where there are none."""
    found = spread(values)
    return found and found.middle


class FullTables(BaseModel):
    """The same small file into tables that are empty and into tables that are full.

    Attributes:
        trips: Trips in the full tables.
        rows: Rows of the file.
        empty_seconds: Whole runs into empty tables.
        full_seconds: Whole runs into full ones.
        empty_load_seconds: Of those, what the upload took, without imports and Dagster's start.
        full_load_seconds: The same with full ones.
    """

    trips: int
    rows: int
    empty_seconds: list[float] = Field(default_factory=list)
    full_seconds: list[float] = Field(default_factory=list)
    empty_load_seconds: list[float] = Field(default_factory=list)
    full_load_seconds: list[float] = Field(default_factory=list)


class ManyFiles(BaseModel):
    """Many small files in one run, and one file of the same rows.

    Attributes:
        files: Number of files.
        rows: Rows of each.
        many_seconds: Whole runs on the many.
        one_seconds: Whole runs on the one.
        many_peak_bytes: Most memory of the former.
        one_peak_bytes: Most memory of the latter.
    """

    files: int
    rows: int
    many_seconds: list[float] = Field(default_factory=list)
    one_seconds: list[float] = Field(default_factory=list)
    many_peak_bytes: int = 0
    one_peak_bytes: int = 0


class Tick(BaseModel):
    """One tick of the sensor.

    Attributes:
        seconds: How long it took.
        new: Uploads that it asked runs for.
        complete: Whether it came to the listing's end.
        grown_bytes: By how much the process's peak of memory grew.
    """

    seconds: float
    new: int
    complete: bool
    grown_bytes: int


class ListedKeys(BaseModel):
    """Ticks of the sensor on a bucket of many objects.

    Attributes:
        keys: Number of objects.
        nothing_known: The first tick, when all of them are new.
        nothing_new: A tick when none of them is.
    """

    keys: int
    nothing_known: Tick
    nothing_new: Tick


class Page(BaseModel):
    """A page of Dagster's UI.

    Attributes:
        name: Which.
        seconds: Until the network was quiet.
        queries_ms: Milliseconds of each GraphQL query, by its name.
        queries_bytes: Largest answer, by the query's name.
    """

    name: str
    seconds: list[float] = Field(default_factory=list)
    queries_ms: dict[str, list[float]] = Field(default_factory=dict)
    queries_bytes: dict[str, int] = Field(default_factory=dict)


class PartitionedPages(BaseModel):
    """The asset's pages with so many partitions, all materialized.

    Attributes:
        partitions: Their number.
        pages: The pages.
    """

    partitions: int
    pages: list[Page]


class Measurement(BaseModel):
    """Where and how a part was measured.

    Attributes:
        machine: Where and when.
        rounds: How often.
    """

    machine: Machine
    rounds: int

    def __str__(self) -> str:
        return f"{self.machine}; medians of {times_text(self.rounds, 'round')}"


class GrowthResult(BaseModel):
    """All that was measured, each part the last time that it was.

    Attributes:
        measurements: Of each part, by its name.
        full_tables: Loads into full tables.
        many_files: Small files.
        listed_keys: The sensor.
        partitioned_pages: The UI, by number of partitions.
    """

    measurements: dict[str, Measurement] = Field(default_factory=dict)
    full_tables: FullTables | None = None
    many_files: ManyFiles | None = None
    listed_keys: ListedKeys | None = None
    partitioned_pages: list[PartitionedPages] = Field(default_factory=list)

    @classmethod
    def read(cls, path: Path = GROWTH) -> "GrowthResult | None":
        """The result in a file, or None where there is no file."""
        return cls.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, path: Path = GROWTH) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def grid(self) -> Grid:
        """What grows, as a table."""
        rows: list[list[str]] = []
        if (full := self.full_tables) is not None:
            what = f"{full.rows:,} rows into tables of {full.trips:,} trips, against empty ones"
            rows.append(_compared(f"{what}: the whole run", full.full_seconds, full.empty_seconds))
            rows.append(_compared(f"{what}: the upload in it", full.full_load_seconds, full.empty_load_seconds))
        if (many := self.many_files) is not None:
            what = f"{many.files:,} files of {many.rows:,} rows in one run, against one file of the same rows"
            rows.append(_compared(what, many.many_seconds, many.one_seconds))
            many_middle, one_middle = middle(many.many_seconds), middle(many.one_seconds)
            if many_middle is not None and one_middle is not None:
                each = (many_middle - one_middle) / many.files
                rows.append(["what each of those files costs by itself", number(each, 3), "", ""])
        if (listed := self.listed_keys) is not None:
            for name, tick in (("all of them new", listed.nothing_known), ("none of them new", listed.nothing_new)):
                end = "" if tick.complete else ", as far as it came"
                asked = f", asked runs for {tick.new:,}" if tick.new else ""
                what = f"a tick of the sensor, {listed.keys:,} keys, {name}{asked}{end}"
                rows.append([f"{what}; {tick.grown_bytes / 1e6:,.0f} MB of memory", number(tick.seconds, 2), "", ""])
        rows += self._pages()
        return Grid(["what", "seconds", "against", "ratio"], rows, self._measured())

    def _measured(self) -> str:
        """Where the parts were measured; their names only where it was not all at once."""
        parts: dict[str, list[str]] = {}
        for part, measurement in self.measurements.items():
            parts.setdefault(str(measurement), []).append(part)
        if len(parts) == 1:
            return f"{next(iter(parts))}."
        return " ".join(f"{', '.join(names).capitalize()}: {measured}." for measured, names in parts.items())

    def _pages(self) -> list[list[str]]:
        if len(self.partitioned_pages) != 2:
            return []
        few, many = self.partitioned_pages
        what = f"{many.partitions:,} partitions, against {few.partitions:,}"
        return [
            _compared(f"the asset's {page.name} page in the UI, {what}", page.seconds, other.seconds)
            for page, other in zip(many.pages, few.pages, strict=True)
        ]

    def queries_grid(self, shown: int = 8) -> Grid:
        """The slowest GraphQL queries of the pages with most partitions."""
        rows = []
        for pages in self.partitioned_pages[-1:]:
            for page in pages.pages:
                slowest = sorted(page.queries_ms, key=lambda name: -(middle(page.queries_ms[name]) or 0))[:shown]
                rows += [
                    [
                        f"{page.name}: `{name}`",
                        number(middle(page.queries_ms[name]), 0),
                        number(page.queries_bytes.get(name, 0) / 1e3, 0),
                    ]
                    for name in slowest
                ]
        return Grid(["page and GraphQL query", "ms", "kB of answer"], rows)


def _compared(what: str, values: list[float], base: list[float]) -> list[str]:
    return [what, number(middle(values), 2), number(middle(base), 2), number(ratio(middle(values), middle(base)), 2)]
