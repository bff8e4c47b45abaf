"""Killed at any instant and started again, a run ends with the tables of a run that was never killed."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.schema import LOADED_TABLES
from h3_pipeline_tests.reliability.checksums import half_visible
from h3_pipeline_tests.reliability.programs import (
    Program,
    load,
    load_together,
    processing_program,
    retract,
    trips_csv,
    warehouse_program,
)
from h3_pipeline_tests.reliability.zygote import Ended, Zygote, zygote
from h3_pipeline_tests.uploads import process_all, put, same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20261122
CHAINS, KILLS_PER_CHAIN = 4, 16
PROCESSING_KILLS = 12
EARLIEST = 0.2  # of a kill at a random instant, seconds

MONTH_EVENTS = ("publish", "noted", "cleared", "exchanged", "settled")
RESOLUTIONS = (9, 6)


@dataclass
class Tally:
    """What was done to the pipeline, printed at the end."""

    kills: dict[str, int] = field(default_factory=dict)
    differing: int = 0
    half_visible: int = 0

    def count(self, kind: str) -> None:
        self.kills[kind] = self.kills.get(kind, 0) + 1


@dataclass(frozen=True)
class Scene:
    """A warehouse in which two uploads are loaded, and what is to be done with it."""

    bucket: Bucket
    folder: Path
    before: Path
    operations: dict[str, list[Any]]
    answers: dict[str, dict]

    def home(self, name: str) -> Path:
        """A copy of the warehouse."""
        target = self.folder / name
        target.mkdir()
        subprocess.run(["cp", "-R", str(self.before / "warehouse"), str(target / "warehouse")], check=True)
        return target

    def program(self, home: Path, operation: str) -> Program:
        """An operation, or ``all`` of them in turn."""
        chosen = list(self.operations.values()) if operation == "all" else [self.operations[operation]]
        return warehouse_program(home, self.bucket.access, chosen, home / "answer.json", RESOLUTIONS)

    def verify(self, answer: dict, operation: str, tally: Tally) -> None:
        """The end is that of a run which was never killed, and what the kill left was whole months."""
        tally.differing += answer["checksums"] != self.answers[operation]["checksums"]
        before = self.answers["before"]["census"]
        # a month of an upload that is replaced is cleared, then filled; nobody else's rows ever go
        cleared = {place: rows for place, rows in before.items() if not place.endswith(("/old.csv", "/gone.csv"))}
        states = [before, cleared, self.answers[operation]["census"]]
        broken = half_visible(answer["found"], *states)
        tally.half_visible += len(broken)
        assert broken == []
        assert answer["checksums"] == self.answers[operation]["checksums"]
        assert answer["census"] == self.answers[operation]["census"]
        assert answer["leftovers"] == []


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    tally = Tally()
    yield tally
    kinds = ", ".join(f"{kills} {kind}" for kind, kills in tally.kills.items())
    print(
        f"\nkill matrix: {sum(tally.kills.values())} kills ({kinds}); "
        f"{tally.differing} ends that differ, {tally.half_visible} months half-visible"
    )


@pytest.fixture(scope="module")
def zygotes() -> Iterator[list[Zygote]]:
    """Two, one a core."""
    with zygote() as one, zygote() as two:
        yield [one, two]


@pytest.fixture(scope="module")
def scene(bucket: Bucket, zygotes: list[Zygote], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("kill-matrix")
    manifests = process_all(
        bucket,
        folder / "processing",
        {
            "old.csv": trips_csv({"2024-01": 70, "2024-02": 50}),
            "old-v2.csv": trips_csv({"2024-01": 31, "2024-02": 64, "2024-03": 12}, first=1),
            "gone.csv": trips_csv({"2024-01": 23, "2024-02": 41}, first=2, bad=3),
            "new.csv": trips_csv({"2024-01": 57, "2024-02": 38}, first=3),
            "fresh.csv": trips_csv({"2024-02": 27, "2024-04": 19}, first=4, region="Brno"),
            "gone-v2.csv": trips_csv({"2024-02": 36, "2024-03": 14}, first=5),
        },
    )
    before = folder / "before"
    start = [load(manifests["old.csv"]), load(manifests["gone.csv"])]
    operations = {
        "load": load(manifests["new.csv"]),
        "replace": load(manifests["old-v2.csv"], "old.csv"),
        "retract": retract("gone.csv"),
        # one that is new and one that is not, in one load
        "together": load_together(manifests["fresh.csv"], replace(manifests["gone-v2.csv"], upload="gone.csv")),
    }
    answers = {
        "before": zygotes[0].finish(
            warehouse_program(before, bucket.access, start, folder / "before.json", RESOLUTIONS)
        )
    }
    scene = Scene(bucket, folder, before, operations, answers)
    for name in (*operations, "all"):
        answers[name] = zygotes[0].finish(scene.program(scene.home(f"never-killed-{name}"), name))
        assert answers[name]["leftovers"] == []
        assert answers[name]["checksums"] != answers["before"]["checksums"]
    return scene


def shared_out(zygotes: list[Zygote], work: list[Callable[[Zygote], None]]) -> None:
    """Do pieces of work, on all zygotes at once."""

    def do(zygote: Zygote, pieces: list[Callable[[Zygote], None]]) -> None:
        for piece in pieces:
            piece(zygote)

    with ThreadPoolExecutor(len(zygotes)) as pool:
        shares = [pool.submit(do, zygote, work[n :: len(zygotes)]) for n, zygote in enumerate(zygotes)]
    for share in shares:
        share.result()


def killed_so_often(kills: int, seed: int, latest: float, run: Callable[[float], Ended]) -> None:
    """Run until so many runs were killed, each at a random instant.

    A run that ended before its instant counts for nothing, and shows how quick the machine is now.

    Args:
        kills: How many.
        seed: Of the instants.
        latest: Seconds.
        run: Runs and kills after so many seconds.
    """
    instants = random.Random(seed)
    while kills:
        ended = run(instants.uniform(min(EARLIEST, latest), latest))
        assert not ended.error, f"does not open after a kill: {ended.error}"
        if ended.killed:
            kills -= 1
        else:
            latest = ended.seconds * 0.8


def test_killed_at_every_stage(scene: Scene, zygotes: list[Zygote], tally: Tally) -> None:
    occurrences: dict[str, list[tuple[str, int]]] = {}
    for operation in scene.operations:
        stages = zygotes[0].run(scene.program(scene.home(f"stages-{operation}"), operation)).stages
        for number, stage in enumerate(stages):
            # one month of each table stands for all
            occurrences.setdefault(stage.rpartition(" 2024")[0] or stage, []).append((operation, number))
    choice = random.Random(SEED)
    per_month = {f"{event} {table}" for event in MONTH_EVENTS for table in LOADED_TABLES}
    assert occurrences.keys() >= {"open", "stage", "roll up", "record", "recorded", *per_month}

    def kill_at(stage: str, operation: str, number: int) -> Callable[[Zygote], None]:
        def work(zygote: Zygote) -> None:
            home = scene.home(f"{operation} {stage}")
            ended = zygote.run(scene.program(home, operation), kill_at=number)
            assert ended.killed
            assert ended.stages[-1].startswith(stage)
            tally.count(f"at a stage's beginning, {operation}")
            scene.verify(zygote.finish(scene.program(home, operation)), operation, tally)

        return work

    chosen = {stage: choice.choice(places) for stage, places in occurrences.items()}
    shared_out(zygotes, [kill_at(stage, *place) for stage, place in chosen.items()])


def test_killed_again_and_again_at_random_instants(scene: Scene, zygotes: list[Zygote], tally: Tally) -> None:
    whole = zygotes[0].run(scene.program(scene.home("timing"), "all")).seconds

    def chain(number: int) -> Callable[[Zygote], None]:
        def work(zygote: Zygote) -> None:
            home = scene.home(f"chain-{number}")
            program = scene.program(home, "all")

            def run(seconds: float) -> Ended:
                ended = zygote.run(program, kill_after=seconds)
                if ended.killed:
                    tally.count("at a random instant")
                return ended

            killed_so_often(KILLS_PER_CHAIN, SEED + number, whole * 0.8, run)
            scene.verify(zygote.finish(program), "all", tally)

        return work

    shared_out(zygotes, [chain(number) for number in range(CHAINS)])


def rows(bucket: Bucket, object_key: str) -> bytes:
    """What an object says; where the compressor ends a block is a matter of timing."""
    return zstd.decompress(bucket.read(object_key))


@pytest.mark.parametrize("uploads", [1, 2], ids=["alone", "together"])
def test_killed_while_processing(
    scene: Scene, zygotes: list[Zygote], tally: Tally, tmp_path: Path, uploads: int
) -> None:
    """What a killed run left in the bucket never counts, and running again gives the same objects."""
    zygote, bucket = zygotes[0], scene.bucket
    keys = [f"processed again {uploads} {number}.csv" for number in range(uploads)]
    for number, key in enumerate(keys):
        put(bucket, key, trips_csv({"2024-01": 400, "2024-05": 300}, first=number, bad=20))
    program = processing_program(tmp_path / "home", bucket.access, keys, tmp_path / "answer.json")
    never_killed = zygote.finish(program)
    bodies = {key: rows(bucket, manifest["processed_key"]) for key, manifest in never_killed.items()}
    stages = zygote.run(program).stages
    assert stages == ["open", "describe", "judge", "write", "hand over", "processed"]

    def forget() -> None:
        for key, manifest in never_killed.items():
            for name in (manifest["processed_key"], manifest["rejected_key"], prefixes.manifest_object(key)):
                bucket.delete(name)

    def run_again() -> None:
        again = zygote.finish(program)
        for key, body in bodies.items():
            assert rows(bucket, again[key]["processed_key"]) == body
            assert same(again[key]) == same(never_killed[key])

    def kill(**when: Any) -> Ended:
        forget()
        ended = zygote.run(program, **when)
        if ended.killed:
            tally.count("while processing")
        for key, body in bodies.items():
            manifest = bucket.read_json(prefixes.manifest_object(key))
            if manifest is not None:  # it is the last that is written: it never speaks of what is not there
                processed = bucket.head(manifest["processed_key"])
                assert processed is not None
                assert processed.etag == manifest["processed_etag"]
                assert rows(bucket, manifest["processed_key"]) == body
        run_again()
        return ended

    for number in range(len(stages)):
        assert kill(kill_at=number).killed
    whole = zygote.run(program).seconds
    killed_so_often(PROCESSING_KILLS // uploads, SEED, whole, lambda seconds: kill(kill_after=seconds))
    assert [path.name for path in (tmp_path / "home" / "tasks").iterdir()] == []


def test_a_hundred_kills(tally: Tally) -> None:
    """The tests before did what they say."""
    assert sum(tally.kills.values()) >= 100
    assert (tally.differing, tally.half_visible) == (0, 0)
