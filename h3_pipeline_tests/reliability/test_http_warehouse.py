"""Loading over HTTP, with a connection that fails at the worst moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest

from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.clickhouse.retries import Patience
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline_tests.reliability.checksums import Checksums, checksums, leftovers
from h3_pipeline_tests.reliability.conftest import Served
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, error_fault, unavailable_fault
from h3_pipeline_tests.servers.clickhouse_state import ReceivedStatement
from h3_pipeline_tests.servers.conftest import eventually
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.uploads import process_all

pytestmark = pytest.mark.slow

QUICK = Patience(attempts=6, first_wait=0.02, longest_wait=0.1)


@contextmanager
def impatient(monkeypatch: pytest.MonkeyPatch, **options: object) -> Iterator[None]:
    """Short waits between tries."""
    opener = partial(open_http, patience=QUICK, work_patience=QUICK, **options)  # type: ignore[arg-type]
    with monkeypatch.context() as patched:
        patched.setattr("h3_pipeline.warehouse.connect.open_http", opener)
        yield


def months(served: Served) -> list[str]:
    """More than an insert may touch."""
    return [f"{2000 + month // 12}-{1 + month % 12:02d}" for month in range(served.most_months + 2)]


@pytest.fixture(scope="module")
def manifests(served: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    made = process_all(
        served.bucket,
        tmp_path_factory.mktemp("processing"),
        {
            "old.csv": trips_csv({"2024-01": 40, "2024-02": 30}),
            "old-v2.csv": trips_csv({"2024-01": 15, "2024-03": 21}, first=1),
            "other.csv": trips_csv({"2024-01": 23, "2024-02": 11}, first=2),
            "solo.csv": trips_csv({"2025-07": 17}, first=3),
            "wide.csv": trips_csv(dict.fromkeys(months(served), 1)),
        },
    )
    return {**made, "old-v2.csv": replace(made["old-v2.csv"], upload="old.csv")}


def empty() -> Checksums:
    return {"trips": (0, 0)}


def test_first_load_replace_shrink_retract(served: Served, manifests: dict[str, Manifest]) -> None:
    with open_warehouse(served.settings(), served.bucket.access) as warehouse:
        loaded = warehouse.load(manifests["old.csv"])
        assert (loaded.rows["trips"], loaded.months) == (70, ["202401", "202402"])
        assert all(check.equal for check in loaded.recounts)
        assert len(loaded.recounts) == 2 * len(warehouse.rollup_resolutions)
        warehouse.load(manifests["other.csv"])
        assert warehouse.rows_of("old.csv") == 70
        warehouse.load(manifests["old-v2.csv"])
        replaced = checksums(warehouse.engine)
        assert warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload") == {
            "old.csv": 36,
            "other.csv": 34,
        }
        assert leftovers(warehouse.engine) == []
    with open_warehouse(served.settings(), served.bucket.access) as warehouse:
        warehouse.load(manifests["old-v2.csv"])
        alone = checksums(warehouse.engine)
        warehouse.load(manifests["other.csv"])
        assert checksums(warehouse.engine) == replaced
        assert warehouse.retract("other.csv") == 34
        assert checksums(warehouse.engine) == alone
        assert warehouse.retract("old.csv") == 36
        assert checksums(warehouse.engine) == empty()
        with pytest.raises(WarehouseError, match=r"never-seen\.csv is not in the warehouse"):
            warehouse.retract("never-seen.csv")


def test_more_months_than_an_insert_may_touch(served: Served, manifests: dict[str, Manifest]) -> None:
    wide = len(months(served))
    settings = served.settings(h3_rollup_resolutions=(7,))
    with open_warehouse(settings, served.bucket.access) as warehouse:
        assert int(warehouse.engine.value("SELECT getSetting('max_partitions_per_insert_block')")) < wide
        loaded = warehouse.load(manifests["wide.csv"])
        assert len(loaded.months) == wide
        assert loaded.rows["trips"] == wide
        assert warehouse.rows_of("wide.csv") == wide


@dataclass
class Cycle:
    """Two uploads go in and out of a warehouse; every state is known from a run without faults."""

    warehouse: Warehouse
    manifests: dict[str, Manifest]
    expected: dict[str, Checksums]

    def go(self, step: str) -> None:
        """Take a step and compare the tables with those of a run without faults."""
        self.take(step)
        assert checksums(self.warehouse.engine) == self.expected[step]
        assert leftovers(self.warehouse.engine) == []

    def take(self, step: str) -> None:
        if step == "out":
            self.warehouse.retract("solo.csv")
        else:
            self.warehouse.load(self.manifests[{"in": "solo.csv", "new": "old-v2.csv", "old": "old.csv"}[step]])


STEPS = ("in", "out", "new", "old")


@contextmanager
def running_cycle(settings: Settings, served: Served, manifests: dict[str, Manifest]) -> Iterator[Cycle]:
    with open_warehouse(settings, served.bucket.access) as warehouse:
        cycle = Cycle(warehouse, manifests, {})
        warehouse.load(manifests["other.csv"])
        warehouse.load(manifests["old.csv"])
        for step in STEPS:
            cycle.take(step)
            cycle.expected[step] = checksums(warehouse.engine)
        yield cycle


@pytest.fixture(scope="module")
def cycle(served: Served, manifests: dict[str, Manifest]) -> Iterator[Cycle]:
    with ExitStack() as stack:
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(impatient(patched))
        settings = served.settings(h3_rollup_resolutions=(7,))
        yield stack.enter_context(running_cycle(settings, served, manifests))


STATEMENTS = {
    "create staging": r"^CREATE TABLE \S+`staging_cell",
    "stage trips": r"^INSERT INTO \S+`staging_trips_\w+` \(",
    "roll up": r"^INSERT INTO \S+`staging_flow_\w+`\s+SELECT\s+\d",
    "attach": r"ATTACH PARTITION ID '\d+' FROM \S+`staging_cell",
    "clear": r"DELETE IN PARTITION",
    "ledger": r"^INSERT INTO \S+`publications`",
    "history": r"^INSERT INTO \S+`load_history`",
    "drop staging": r"^DROP TABLE IF EXISTS \S+`staging_trips",
    "lease": r"^CREATE TABLE \S+`publish_lease",
    "give back": r"publish_lease_\d+` MODIFY COMMENT",
    "question": r"^SELECT partition_id",
}


def faults(statement: str) -> list[Fault]:
    """Before and after a statement took effect; what the server says is told apart the same way for all of them."""
    pattern = STATEMENTS[statement]
    resets = [Fault.reset(pattern), Fault.reset(pattern, after=True)]
    if statement not in ("stage trips", "clear", "attach", "ledger"):
        return resets
    return [*resets, error_fault(pattern, 241, "MEMORY_LIMIT_EXCEEDED"), unavailable_fault(pattern, after=True)]


def steps_with(statement: str) -> tuple[str, ...]:
    """Steps that bring the tables back to where they were, with the statement in the first, or in all."""
    return ("in", "out") if statement == "attach" else ("new", "old")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_fault_at_every_kind_of_statement(cycle: Cycle, served: Served, statement: str) -> None:
    """Whether the statement took effect or not, the tables end as if nothing had happened."""
    server = served.faults
    due = faults(statement)
    injected = 0
    while due or server.faults():
        for step in steps_with(statement):
            if due and not server.faults():
                server.inject(due.pop(0))
                injected += 1
            cycle.go(step)
    assert server.faults() == []
    assert injected == len(faults(statement))


def late(server: ClickHouseServer) -> ReceivedStatement:
    """The one statement that was held back."""
    (statement,) = (statement for statement in server.statements() if statement.fault)
    return statement


def test_a_statement_that_comes_late(
    served: Served, manifests: dict[str, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has given up on it and begun anew when the server carries it out."""
    server = served.faults
    with impatient(monkeypatch, answer_timeout_seconds=3):
        settings = served.settings(h3_rollup_resolutions=(7,))
        with running_cycle(settings, served, manifests) as cycle:
            late_at = {"stage trips": "new", "roll up": "old", "clear": "new", "ledger": "old", "attach": "in"}
            for statement, step in late_at.items():
                server.clear_statements()
                server.inject(Fault.hold(STATEMENTS[statement]))
                cycle.go(step)
                assert server.faults() == [], statement
                assert not late(server).executed
                server.let_go()
                eventually(lambda: late(server).status)
                assert checksums(cycle.warehouse.engine) == cycle.expected[step], statement


def test_what_does_not_pass_is_not_repeated(cycle: Cycle, served: Served) -> None:
    server = served.faults
    server.inject(error_fault(STATEMENTS["attach"], 497, "ACCESS_DENIED", times=None))
    server.clear_statements()
    with pytest.raises(QueryError, match="injected by the test"):
        cycle.take("in")
    server.clear_faults()
    refused = [statement for statement in server.statements() if statement.fault]
    assert len(refused) == 1
    for step in STEPS:
        cycle.go(step)


def test_a_fault_that_stays_ends_in_one_clear_line(cycle: Cycle, served: Served) -> None:
    server = served.faults
    server.inject(Fault.reset(STATEMENTS["stage trips"], times=None))
    with pytest.raises(WarehouseError) as failure:
        cycle.take("in")
    server.clear_faults()
    assert "\n" not in str(failure.value)
    assert str(failure.value).startswith("ClickHouse at http://127.0.0.1")
    for step in STEPS:
        cycle.go(step)
