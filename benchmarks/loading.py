"""Compares ways to do the pipeline's job: the same object in S3, the same tables at the end, whole processes."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.contenders.job import Job
from benchmarks.fingerprint import Fingerprint, differences
from benchmarks.loading_result import ONE_ROW, PIPELINE, TITLES, LoadingResult, Run, SizeResult
from benchmarks.machine import REPOSITORY, this_machine
from benchmarks.processes import Measured, run
from benchmarks.sample import write_sample
from benchmarks.spread import interleaved
from benchmarks.store import Store, running_store
from benchmarks.tables import DATABASE, definitions, rollups
from benchmarks.workplace import BENCH_PYTHON, PIPELINE_PYTHON, environment
from h3_pipeline.settings import Settings
from h3_pipeline.storage import prefixes

_MODULES = {
    PIPELINE: "benchmarks.contenders.pipeline",
    "pandas": "benchmarks.contenders.with_pandas",
    "polars": "benchmarks.contenders.with_polars",
    "limit": "benchmarks.contenders.engine_only",
}

CHUNK_ROWS = 1_000_000
_WHOLE_FILE_FACTOR = 8  # a data frame of text and boxed cells, and its copy on the way into the engine
_MEMORY_SHARE = 0.85  # of the machine's; a process that wants more is stopped before it stops others
_SPILL_SHARE = 0.125

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare.

    Attributes:
        sizes: Rows of the generated files.
        rounds: Runs of each contender on each file.
        contenders: Who takes part.
        timeout: Seconds after which a run is given up.
        own_file: A CSV to take in place of generated ones.
        seed: Seed of the generated files.
    """

    sizes: Sequence[int]
    rounds: int
    contenders: Sequence[str]
    timeout: float
    own_file: Path | None = None
    seed: int = 1


class Comparison:
    """One comparison, in a folder that is removed afterwards.

    Args:
        plan: What to compare.
        folder: Where files and warehouses are.
        say: Told what goes on.
    """

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._definitions = definitions(folder / "definitions")
        self._rollups = list(rollups(Settings.load().h3_rollup_resolutions))

    def measure(self, keep: Callable[[LoadingResult], None]) -> LoadingResult:
        """Do all runs; what there is so far is handed to `keep` after each size."""
        plan = self._plan
        source = "generated" if plan.own_file is None else "own file"
        result = LoadingResult(machine=this_machine(BENCH_PYTHON), rounds=plan.rounds, source=source)
        with running_store(self._folder / "store") as store:
            # the first also warms up: it compiles what Python imports
            for rows in (ONE_ROW, *sorted(plan.sizes)) if plan.own_file is None else (ONE_ROW, None):
                result.sizes.append(self._size(store, rows))
                keep(result)
        return result

    def _size(self, store: Store, rows: int | None) -> SizeResult:
        file = self._folder / "trips.csv"
        if rows is None:
            assert self._plan.own_file is not None
            file = self._plan.own_file
            with file.open("rb") as lines:
                rows = sum(1 for _ in lines) - 1
        else:
            self._say(f"making {rows:,} rows")
            write_sample(file, rows, seed=self._plan.seed)
        size = SizeResult(rows=rows, bytes=file.stat().st_size)
        key = "bench.csv"
        etag = store.upload(file, key)
        if file != self._plan.own_file:
            file.unlink()
        contenders = self._plan.contenders if rows == ONE_ROW or self._plan.own_file is None else self._able(file)
        found: dict[str, Fingerprint] = {}
        for number, order in enumerate(interleaved(contenders, self._plan.rounds), 1):
            for contender in order:
                measured, fingerprint = self._run(contender, store, size, key, etag)
                size.runs.setdefault(contender, []).append(_kept(measured))
                if fingerprint:
                    _compare(size, found, contender, fingerprint)
                if contender == PIPELINE and file == self._plan.own_file and measured.failure is None:
                    # lines are not rows where the file is packed, or has line ends in its fields
                    size.rows = json.loads(measured.output)["uploads"][0]["rows_in"]
                self._say(
                    f"{rows:,} rows, round {number} of {self._plan.rounds}, {TITLES[contender]}: "
                    f"{measured.failure or f'{measured.seconds:.2f} s, {measured.peak_bytes / 1e9:.2f} GB'}"
                )
        store.bucket.delete(prefixes.upload_object(key))
        return size

    def _able(self, file: Path) -> list[str]:
        """The contenders that can read a file: all but the pipeline know one header only."""
        known = self._folder / "known.csv"
        write_sample(known, ONE_ROW)
        with known.open(encoding="utf-8") as ours, file.open("rb") as theirs:
            same = ours.readline().strip() == theirs.readline().decode("utf-8", "replace").strip()
        return [contender for contender in self._plan.contenders if same or contender == PIPELINE]

    def _run(
        self, contender: str, store: Store, size: SizeResult, key: str, etag: str
    ) -> tuple[Measured, Fingerprint | None]:
        home = self._folder / "run"
        home.mkdir()
        try:
            if contender == PIPELINE:
                command = [str(PIPELINE_PYTHON), "-m", _MODULES[contender], key]
            else:
                job = self._job(contender, store, size, key, etag, home)
                (home / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
                command = [str(BENCH_PYTHON), "-m", _MODULES[contender], str(home / "job.json")]
            measured = run(
                command,
                environment=environment(store.environment, {"H3_PIPELINE_HOME": str(home)}),
                folder=REPOSITORY,
                output=home,
                timeout=self._plan.timeout,
                memory_limit=int(psutil.virtual_memory().total * _MEMORY_SHARE),
            )
            return measured, None if measured.failure else self._fingerprint(home / "warehouse")
        finally:
            shutil.rmtree(home)
            store.forget_outputs()

    def _job(self, contender: str, store: Store, size: SizeResult, key: str, etag: str, home: Path) -> Job:
        memory = psutil.virtual_memory()
        chunk_rows = None
        if contender == "pandas" and size.rows > CHUNK_ROWS:
            whole = size.bytes * _WHOLE_FILE_FACTOR <= memory.total * _MEMORY_SHARE
            chunk_rows = None if whole else CHUNK_ROWS
            size.how[contender] = "whole file at once" if whole else f"file in chunks of {CHUNK_ROWS:,} rows"
        return Job(
            endpoint_url=store.access.endpoint_url or "",
            bucket=store.access.name,
            key=prefixes.upload_object(key),
            upload=key,
            upload_etag=etag,
            warehouse=str(home / "warehouse"),
            database=DATABASE,
            definitions=self._definitions,
            rollups=self._rollups,
            chunk_rows=chunk_rows,
            # by default the engine takes half of the machine for one grouping, and the rest of the process comes on top
            settings={"max_bytes_before_external_group_by": int(memory.total * _SPILL_SHARE)},
        )

    def _fingerprint(self, warehouse: Path) -> Fingerprint:
        command = [str(PIPELINE_PYTHON), "-m", "benchmarks.fingerprint", str(warehouse)]
        done = subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=self._plan.timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the tables cannot be looked at: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)


def _kept(measured: Measured) -> Run:
    return Run(
        seconds=round(measured.seconds, 3),
        cpu_seconds=round(measured.cpu_seconds, 3),
        peak_bytes=measured.peak_bytes,
        failure=measured.failure,
    )


def _compare(size: SizeResult, found: dict[str, Fingerprint], contender: str, fingerprint: Fingerprint) -> None:
    """Note whether tables are those that the first contender made; a contender's runs must also equal one another."""
    found.setdefault(contender, fingerprint)
    reference = next(iter(found.values()))
    unequal = sorted({*differences(reference, fingerprint), *differences(found[contender], fingerprint)})
    if unequal:
        size.different[contender] = unequal
        if contender in size.equal:
            size.equal.remove(contender)
    elif contender not in size.equal and contender not in size.different:
        size.equal.append(contender)
    if fingerprint is reference:
        size.trips = fingerprint["trips rows"]
        size.rollup_rows = {name: number for name, number in fingerprint.items() if name.endswith(" groups")}
