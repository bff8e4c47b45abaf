"""Attacks for as long as you like: ``make soak MINUTES=30 SEED=1``.

Each round is one of four, in turn:

* kills: random uploads are loaded, replaced and retracted by children that are killed at random instants;
* server: the same over HTTP, on a server whose connections and statements fail at random;
* store: uploads are processed while the object store resets, refuses, delays and cuts off;
* files: random and damaged bytes are processed.

What is left is compared with what the same work gives when it is left alone, and every row of every file is accounted
for. The last line is the summary; the exit code is 0 if nothing was lost, doubled or half-visible.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from backports import zstd

from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.clickhouse.retries import Patience
from h3_pipeline.errors import PipelineError, UploadRefused
from h3_pipeline.local.object_store import ObjectStoreConnection, local_object_store
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline_tests.reliability.checksums import Census, census, checksums, half_visible
from h3_pipeline_tests.reliability.programs import load, retract, trips_csv, warehouse_program
from h3_pipeline_tests.reliability.zygote import Zygote, zygote
from h3_pipeline_tests.servers.clickhouse_http import (
    ClickHouseServer,
    clickhouse_server,
    error_fault,
    unavailable_fault,
)
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.servers.s3_proxy import S3FaultProxy, internal_error, s3_fault_proxy, slow_down
from h3_pipeline_tests.uploads import Processing, process_all

UPLOADS, VERSIONS, OPERATIONS = 4, 2, 3
KILLS = 6
FILES = 40
FAULTS = 4
PASSWORD = "only for tests"
QUICK = Patience(attempts=6, first_wait=0.02, longest_wait=0.1)

Operation = list[Any]


@dataclass
class Summary:
    """What was done and what went wrong."""

    rounds: int = 0
    kills: int = 0
    faults: int = 0
    files: int = 0
    operations: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    half_visible: int = 0

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.differing or self.half_visible)

    def compare(self, rows: int, expected: int, same: bool) -> None:
        """Count one comparison with work that was left alone."""
        self.lost += max(expected - rows, 0)
        self.doubled += max(rows - expected, 0)
        self.differing += not same

    def __str__(self) -> str:
        return (
            f"soak: {self.rounds} rounds, {self.operations} operations, {self.kills} kills, {self.faults} faults, "
            f"{self.files} files; rows lost {self.lost}, doubled {self.doubled}; ends that differ {self.differing}, "
            f"months half-visible {self.half_visible}"
        )


@dataclass
class Plan:
    """Uploads in two versions each, and what is loaded so far, which decides what may come next."""

    choice: random.Random
    manifests: dict[str, list[Manifest]]
    loaded: set[str] = field(default_factory=set)

    def operations(self) -> list[Operation]:
        """What to do next."""
        chosen: list[Operation] = []
        for upload in self.choice.sample(sorted(self.manifests), OPERATIONS):
            if upload in self.loaded and self.choice.random() < 0.3:
                chosen.append(retract(upload))
                self.loaded.discard(upload)
            else:
                chosen.append(load(self.choice.choice(self.manifests[upload])))
                self.loaded.add(upload)
        return chosen


class Attack(Protocol):
    """One way to attack."""

    def round(self, summary: Summary) -> None:
        """Attack once, and count what came of it."""


class Kills:
    """Two embedded warehouses do the same; one of them is killed on the way."""

    def __init__(self, plan: Plan, children: Zygote, access: BucketAccess, folder: Path) -> None:
        self._plan, self._children, self._access, self._folder = plan, children, access, folder

    def round(self, summary: Summary) -> None:
        """One series of operations."""
        operations = self._plan.operations()
        calm = self._children.finish(self._program("calm", operations))
        program = self._program("killed", operations)
        for _ in range(KILLS):
            ended = self._children.run(program, kill_after=self._plan.choice.uniform(0.2, 4.0))
            if ended.error:
                raise RuntimeError(f"the warehouse does not work after a kill: {ended.error}")
            summary.kills += ended.killed
        killed = self._children.finish(program)
        summary.operations += len(operations)
        summary.compare(
            killed["checksums"]["trips"][0], calm["checksums"]["trips"][0], killed["checksums"] == calm["checksums"]
        )
        broken = half_visible_between(killed["found"], calm["found"], calm["census"], operations)
        summary.half_visible += len(broken)

    def _program(self, name: str, operations: list[Operation]) -> dict[str, Any]:
        home, answer = self._folder / name, self._folder / f"{name}.json"
        return warehouse_program(home, self._access, operations, answer)


class Server:
    """Two databases of one server take the same operations; those of one of them meet faults."""

    STATEMENTS = (
        r"^CREATE TABLE \S+`staging_",
        r"^INSERT INTO \S+`staging_",
        r"ATTACH PARTITION ID",
        r"DELETE IN PARTITION",
        r"^INSERT INTO \S+`(publications|load_history)`",
        r"^DROP TABLE",
        r"publish_lease",
        r"^SELECT",
    )

    def __init__(self, plan: Plan, server: ClickHouseServer, access: BucketAccess) -> None:
        self._plan, self._server, self._access = plan, server, access

    def round(self, summary: Summary) -> None:
        """One series of operations."""
        operations = self._plan.operations()
        with self._warehouse("calm") as calm:
            found = census(calm.engine)
            for operation in operations:
                perform(calm, operation)
            expected, after = checksums(calm.engine), census(calm.engine)
        for operation in operations:
            self._server.inject(*(self._fault() for _ in range(FAULTS)))
            summary.faults += FAULTS
            try:
                with self._warehouse("faulty") as faulty:
                    perform(faulty, operation)
            except PipelineError:
                self._server.clear_faults()
                with self._warehouse("faulty") as faulty:
                    summary.half_visible += len(half_visible_between(census(faulty.engine), found, after, operations))
                    perform(faulty, operation)
            finally:
                summary.faults -= len(self._server.faults())
                self._server.clear_faults()
        summary.operations += len(operations)
        with self._warehouse("faulty") as faulty:
            ended = checksums(faulty.engine)
        summary.compare(ended["trips"][0], expected["trips"][0], ended == expected)

    def _fault(self) -> Fault:
        choice = self._plan.choice
        pattern, skip = choice.choice(self.STATEMENTS), choice.randint(0, 5)
        return choice.choice(
            [
                Fault.reset(pattern, skip=skip),
                Fault.reset(pattern, after=True, skip=skip),
                replace(error_fault(pattern, 241, "MEMORY_LIMIT_EXCEEDED"), skip=skip),
                replace(unavailable_fault(pattern, after=True), skip=skip),
                Fault.delay(pattern, choice.uniform(0.1, 4.0), skip=skip),
            ]
        )

    @contextmanager
    def _warehouse(self, database: str) -> Iterator[Warehouse]:
        settings = Settings.load(
            clickhouse_host=self._server.host,
            clickhouse_http_port=self._server.port,
            clickhouse_password=PASSWORD,
            clickhouse_database=database,
        )
        opener = partial(open_http, patience=QUICK, work_patience=QUICK, answer_timeout_seconds=2)
        with patch("h3_pipeline.warehouse.connect.open_http", opener), open_warehouse(settings, self._access) as opened:
            yield opened


class Store:
    """An upload is processed through a store that fails, and again through one that does not."""

    REQUESTS = ("^GET .*/uploads/", "^HEAD .*/uploads/", "^(PUT|POST) .*/processed/", "^(PUT|POST) .*/rejected/")

    def __init__(self, choice: random.Random, proxy: S3FaultProxy, bucket: Bucket, folder: Path) -> None:
        self._choice, self._proxy, self._bucket, self._folder = choice, proxy, bucket, folder
        self._faulty = replace(bucket.access, endpoint_url=proxy.url)

    def round(self, summary: Summary) -> None:
        """One upload."""
        content = some_trips(self._choice, rows=3_000)
        calm = self._process(self._bucket, content)
        body = zstd.decompress(self._bucket.read(calm.processed_key))
        for _ in range(FAULTS):
            self._proxy.inject(self._fault())
        try:
            ended = self._process(Bucket(self._faulty), content)
        except PipelineError:
            self._proxy.clear_faults()
            ended = self._process(self._bucket, content)
        summary.faults += FAULTS - len(self._proxy.faults())
        self._proxy.clear_faults()
        written = zstd.decompress(self._bucket.read(ended.processed_key))
        summary.files += 1
        same = written == body and (ended.rejected, ended.rows_in) == (calm.rejected, calm.rows_in)
        summary.compare(ended.rows_loaded, calm.rows_loaded, same)

    def _process(self, bucket: Bucket, content: str) -> Manifest:
        return process_all(bucket, self._folder / "store-task", {"store.csv": content})["store.csv"]

    def _fault(self) -> Fault:
        choice = self._choice
        pattern, skip, times = choice.choice(self.REQUESTS), choice.randint(0, 2), choice.randint(1, 3)
        return choice.choice(
            [
                Fault.reset(pattern, skip=skip, times=times),
                Fault.truncate(pattern, choice.randint(0, 50_000), skip=skip, times=times),
                Fault.delay(pattern, choice.uniform(0, 0.5), skip=skip, times=times),
                internal_error(pattern, skip=skip, times=times),
                slow_down(pattern, skip=skip, times=times),
            ]
        )


class Files:
    """Damaged files: each is refused, or every row of it is accounted for."""

    def __init__(self, choice: random.Random, bucket: Bucket, folder: Path) -> None:
        self._choice, self._bucket, self._folder = choice, bucket, folder

    def round(self, summary: Summary) -> None:
        """Some dozens of files."""
        with open_task_engine(self._folder / "files", self._bucket.access) as task:
            process = Processing(self._bucket, task)
            for _ in range(FILES):
                summary.files += 1
                try:
                    processed = process(self._content(), "damaged.csv", max_reject_ratio=1)
                except UploadRefused:
                    continue
                manifest = processed.manifest
                accounted = len(processed.trips) + len(processed.refused)
                whole = manifest.rows_loaded + sum(manifest.rejected.values()) == manifest.rows_in
                summary.compare(accounted, manifest.rows_in, whole)

    def _content(self) -> bytes:
        choice = self._choice
        content = some_trips(choice, rows=30).encode()
        packed = choice.random() < 0.3
        if packed:
            content = gzip.compress(content)
        for _ in range(choice.randint(0, 6)):
            at, size = choice.randint(0, len(content)), choice.randint(0, 60)
            piece = choice.choice([choice.randbytes(choice.randint(0, 9)), content[at : at + size], b'"', b"\n", b","])
            content = content[:at] + piece + content[at + choice.choice([0, 0, 1, size]) :]
        return content


def some_trips(choice: random.Random, rows: int = 200) -> str:
    """A CSV of one to three months."""
    months = choice.sample(["2024-01", "2024-02", "2024-03", "2024-11"], choice.randint(1, 3))
    counts = {month: choice.randint(1, rows) for month in months}
    return trips_csv(counts, first=choice.randint(0, 5000), bad=choice.randint(0, 1))


def perform(warehouse: Warehouse, operation: Operation) -> None:
    """Carry out a load or a retraction."""
    kind, what = operation
    if kind == "load":
        warehouse.load(Manifest.from_json(what))
    else:
        warehouse.retract(what)


def half_visible_between(found: Census, before: Census, after: Census, operations: list[Operation]) -> list[str]:
    """Months whose rows of an upload are neither those before, nor those after, nor none of a replaced one."""
    touched = {what if kind == "retract" else what["upload"] for kind, what in operations}
    cleared = {place: rows for place, rows in before.items() if place.split("/", 2)[2] not in touched}
    return half_visible(found, before, cleared, after)


def plan(choice: random.Random, bucket: Bucket, home: Path) -> Plan:
    """Process the uploads that are loaded and replaced."""
    names = [(f"{upload}.csv", version) for upload in range(UPLOADS) for version in range(VERSIONS)]
    made = process_all(bucket, home, {f"{version}-{upload}": some_trips(choice) for upload, version in names})
    manifests: dict[str, list[Manifest]] = {}
    for upload, version in names:
        manifests.setdefault(upload, []).append(replace(made[f"{version}-{upload}"], upload=upload))
    return Plan(choice, manifests)


def access_to(store: ObjectStoreConnection) -> BucketAccess:
    """The soak's bucket."""
    return BucketAccess("trips-soak", store.region, store.endpoint_url, store.access_key, store.secret_key)


def _served(stack: ExitStack, folder: Path, access: BucketAccess) -> ClickHouseServer:
    configuration = folder / "server.xml"
    configuration.write_text(f"<clickhouse>{named_collection_configuration(access)}</clickhouse>")
    options = {"config-file": str(configuration)}
    return stack.enter_context(clickhouse_server(folder / "server", password=PASSWORD, chdb_options=options))


ATTACKS = ("kills", "server", "store", "files")


def soak(minutes: float, seed: int, names: Sequence[str] = ATTACKS) -> Summary:
    """Attack in the named ways for some minutes; at least one round of each."""
    choice = random.Random(seed)
    summary = Summary()
    deadline = time.monotonic() + minutes * 60
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="h3-pipeline-soak-")))
        store = stack.enter_context(local_object_store(folder / "store"))
        bucket = Bucket(access_to(store))
        bucket.create()
        manifests = plan(choice, bucket, folder / "processing").manifests

        def attack_of(name: str) -> Attack:
            if name == "kills":
                return Kills(Plan(choice, manifests), stack.enter_context(zygote()), bucket.access, folder)
            if name == "server":
                return Server(Plan(choice, manifests), _served(stack, folder, bucket.access), bucket.access)
            if name == "store":
                proxy = stack.enter_context(s3_fault_proxy(store.endpoint_url))
                return Store(choice, proxy, bucket, folder)
            return Files(choice, bucket, folder)

        attacks = {name: attack_of(name) for name in names}
        for name, attack in cycle(attacks.items()):
            attack.round(summary)
            summary.rounds += 1
            print(f"{name}: {summary}", flush=True)
            if summary.rounds >= len(attacks) and time.monotonic() >= deadline:
                break
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--attack", action="append", choices=ATTACKS, help="only this one; may be given again")
    options = parser.parse_args(arguments)
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # the faults are meant
    summary = soak(options.minutes, options.seed, options.attack or ATTACKS)
    print(summary)
    return 0 if summary.clean else 1


if __name__ == "__main__":
    sys.exit(main())
