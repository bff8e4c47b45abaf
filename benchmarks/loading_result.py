"""What the comparison of ways to load measured, as JSON keeps it."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field

from benchmarks.machine import Machine
from benchmarks.spread import Spread, ratio, spread

LOADING = Path(__file__).resolve().parent / "results" / "loading.json"

PIPELINE = "pipeline"
TITLES = {
    PIPELINE: "this pipeline",
    "pandas": "pandas + h3-py",
    "polars": "polars + polars-h3",
    "limit": "limit: the engine alone",
}
"""The contenders, in the order in which they are shown."""

ONE_ROW = 1
"""Size of the file that shows what a run costs before it looks at a row."""


class NotComparable(ValueError):
    """Two results that do not belong side by side."""


class Run(BaseModel):
    """One run of one contender.

    Attributes:
        seconds: From the process's start to its end.
        cpu_seconds: Its processor time, without that of the object store.
        peak_bytes: Most resident memory of it and its children.
        failure: Why it did not end well, or None.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    failure: str | None = None


class SizeResult(BaseModel):
    """All runs on one file.

    Attributes:
        rows: Rows of the file.
        bytes: Bytes of the file.
        runs: Runs by contender.
        how: What a contender did differently at this size.
        trips: Rows loaded, as all that are equal found them.
        rollup_rows: Groups in the views, likewise, by table and resolution.
        equal: Contenders whose tables hold the same.
        different: What was different, by contender.
    """

    rows: int
    bytes: int
    runs: dict[str, list[Run]] = Field(default_factory=dict)
    how: dict[str, str] = Field(default_factory=dict)
    trips: int | None = None
    rollup_rows: dict[str, int] = Field(default_factory=dict)
    equal: list[str] = Field(default_factory=list)
    different: dict[str, list[str]] = Field(default_factory=dict)

    def add(self, more: "SizeResult") -> None:
        """Take the runs of another comparison on the same file."""
        for contender, runs in more.runs.items():
            self.runs.setdefault(contender, []).extend(runs)
        self.how |= more.how
        for contender, names in more.different.items():
            self.different[contender] = sorted({*self.different.get(contender, []), *names})
        if self.rollup_rows and more.rollup_rows and (self.trips, self.rollup_rows) != (more.trips, more.rollup_rows):
            raise NotComparable(f"The tables of {self.rows:,} rows are not those of the kept result")
        self.trips = self.trips if more.trips is None else more.trips
        self.rollup_rows = self.rollup_rows or more.rollup_rows
        self.equal = [name for name in TITLES if name in {*self.equal, *more.equal} and name not in self.different]

    def good(self, contender: str) -> list[Run]:
        """Its runs that ended well."""
        return [run for run in self.runs.get(contender, []) if run.failure is None]

    def without_figure(self, contender: str) -> str:
        """What stands in place of a figure that there is none of: ``failed``, or a dash for one that did not run."""
        return "failed" if contender in self.runs else "–"

    def seconds(self, contender: str) -> Spread | None:
        """How long it took."""
        return spread([run.seconds for run in self.good(contender)])

    def cpu_seconds(self, contender: str) -> Spread | None:
        """Its processor time."""
        return spread([run.cpu_seconds for run in self.good(contender)])

    def peak_bytes(self, contender: str) -> Spread | None:
        """Its memory."""
        return spread([run.peak_bytes for run in self.good(contender)])

    def times_the_pipeline(self, contender: str) -> float | None:
        """Its time as a multiple of the pipeline's."""
        own, pipeline = self.seconds(contender), self.seconds(PIPELINE)
        return ratio(own and own.middle, pipeline and pipeline.middle)

    def microseconds_a_row(self, contender: str) -> float | None:
        """Its whole time, the fixed part too, by row."""
        own = self.seconds(contender)
        return own.middle / self.rows * 1e6 if own else None


class LoadingResult(BaseModel):
    """The whole comparison.

    Attributes:
        machine: Where and when.
        rounds: Rounds of each size; the most, where runs were added.
        source: ``generated``, or ``own file``.
        sizes: By size, smallest first.
    """

    machine: Machine
    rounds: int
    source: str
    sizes: list[SizeResult] = Field(default_factory=list)

    def added_to(self, kept: "LoadingResult | None") -> "LoadingResult":
        """This comparison's runs and those of one that was kept before, as one result.

        Raises:
            NotComparable: The kept one is of another commit, machine or kind of file.
        """
        if kept is None:
            return self
        if not self.machine.same_as(kept.machine) or self.source != kept.source:
            raise NotComparable("The kept result is of another machine or commit")
        whole = kept.model_copy(deep=True)
        for size in self.sizes:
            known = next((before for before in whole.sizes if before.rows == size.rows), None)
            if known:
                known.add(size)
            else:
                whole.sizes.append(size.model_copy(deep=True))
        whole.sizes.sort(key=lambda size: size.rows)
        whole.rounds = max(self.rounds, kept.rounds)
        return whole

    @property
    def contenders(self) -> list[str]:
        """Those that ran, in the order in which they are shown."""
        return [name for name in TITLES if any(name in size.runs for size in self.sizes)]

    @property
    def start(self) -> SizeResult | None:
        """The runs on a file of one row."""
        return next((size for size in self.sizes if size.rows == ONE_ROW), None)

    @property
    def real_sizes(self) -> Sequence[SizeResult]:
        """All others."""
        return [size for size in self.sizes if size.rows != ONE_ROW]

    @classmethod
    def read(cls, path: Path = LOADING) -> "LoadingResult | None":
        """The result in a file, or None where there is no file."""
        return cls.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, path: Path = LOADING) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
