"""One publisher at a time, whatever machine it is on, and none that is stuck for ever."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.credentials import credentials
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.lock import LeaseLost, ServerLock
from h3_pipeline.warehouse.schema import Placement
from h3_pipeline_tests.reliability.checksums import checksums, leftovers
from h3_pipeline_tests.reliability.conftest import Served
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.servers.conftest import eventually
from h3_pipeline_tests.uploads import process_all

pytestmark = pytest.mark.slow

ROUNDS = 5


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks often."""
    monkeypatch.setattr("h3_pipeline.warehouse.lock._POLL_SECONDS", 0.05)


@pytest.fixture(scope="module")
def manifests(served: Served, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    folder = tmp_path_factory.mktemp("processing")
    uploads = {f"{n}.csv": trips_csv({"2024-01": 20 + n, "2024-02": 10 + n}, first=n) for n in range(3)}
    return list(process_all(served.bucket, folder, uploads).values())


@pytest.fixture
def settings(served: Served) -> Settings:
    return served.settings(h3_rollup_resolutions=(7,))


@contextmanager
def connection(settings: Settings) -> Iterator[ClickHouse]:
    with open_http(
        host=settings.clickhouse_host or "",
        port=settings.warehouse_http_port,
        secure=settings.clickhouse_secure,
        credentials=credentials(settings),
    ) as engine:
        yield engine


@contextmanager
def never() -> Iterator[ClickHouse]:
    """A holder that cannot renew: dead, or asleep."""
    raise WarehouseError("no connection")
    yield


def lock(engine: ClickHouse, settings: Settings, *, renews: bool = True, **options: object) -> ServerLock:
    connect = (lambda: connection(settings)) if renews else never
    return ServerLock(engine, Placement(settings.clickhouse_database), connect, **options)  # type: ignore[arg-type]


def run_out(engine: ClickHouse, database: str) -> None:
    """Let the lease that counts run out, whoever holds it, without waiting for it."""
    [[name]] = engine.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, 'publish_lease_') "
        "ORDER BY length(name) DESC, name DESC LIMIT 1",
        {"database": database},
    )
    comment = json.dumps({"owner": "asleep", "holder": "asleep", "expires": 1})
    engine.command(f"ALTER TABLE `{database}`.`{name}` MODIFY COMMENT '{comment}'")


@pytest.fixture
def warehouse(served: Served, settings: Settings) -> Iterator[Warehouse]:
    with open_warehouse(settings, served.bucket.access) as opened:
        yield opened


def test_overlapping_uploads_at_once(
    served: Served, settings: Settings, warehouse: Warehouse, manifests: list[Manifest]
) -> None:
    """Every one replaces itself again and again, in the same months as the others."""
    waits: list[str] = []

    def load_again(manifest: Manifest) -> None:
        with open_warehouse(settings, served.bucket.access, on_wait=waits.append) as mine:
            for _ in range(ROUNDS):
                mine.load(manifest)

    with ThreadPoolExecutor(len(manifests)) as pool:
        with connection(settings) as other, lock(other, settings).hold("all of them begin behind it"):
            publishers = [pool.submit(load_again, manifest) for manifest in manifests]
            eventually(lambda: len(waits) == len(manifests) or any(each.done() for each in publishers))
        for each in publishers:
            each.result()
    assert warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload") == {
        manifest.upload: manifest.rows_loaded for manifest in manifests
    }
    together = checksums(warehouse.engine)
    assert leftovers(warehouse.engine) == []
    assert sum("all of them begin behind it" in wait for wait in waits) == len(manifests)
    for manifest in manifests:
        warehouse.load(manifest)
    assert checksums(warehouse.engine) == together


def test_the_lock_lets_one_in(settings: Settings, warehouse: Warehouse) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def enter() -> None:
        nonlocal inside, most
        with connection(settings) as engine:
            publishers = lock(engine, settings)
            for _ in range(ROUNDS):
                with publishers.hold("a test") as lease:
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    lease.check()
                    with guard:
                        inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_dead_holders_lease_is_taken_over(
    settings: Settings, warehouse: Warehouse, manifests: list[Manifest]
) -> None:
    with connection(settings) as dead:
        lock(dead, settings, renews=False, lease_seconds=1).hold("dying").__enter__()
        warehouse.load(manifests[0])
    assert warehouse.rows_of(manifests[0].upload) == manifests[0].rows_loaded


def test_waiting_has_an_end(settings: Settings, warehouse: Warehouse) -> None:
    with connection(settings) as other, lock(other, settings).hold("a long load"):
        impatient = lock(warehouse.engine, settings, wait_seconds=0.5)
        with pytest.raises(WarehouseError, match=r"in use by another publisher for 0 s .*a long load"):  # noqa: SIM117
            with impatient.hold("something else"):
                pytest.fail("two hold the lock")


def test_a_lease_is_renewed(settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again while its holder works: what it was taken for is long over."""
    monkeypatch.setattr("h3_pipeline.warehouse.lock._RENEWALS_PER_LEASE", 400)
    with connection(settings) as other, lock(other, settings).hold("a long load") as lease:
        ends = []

        def renewed() -> bool:
            [[comment]] = warehouse.engine.rows(
                "SELECT comment FROM system.tables WHERE database = {database:String} "
                "AND startsWith(name, 'publish_lease_')",
                {"database": settings.clickhouse_database},
            )
            ends.append(json.loads(comment)["expires"])
            return len(set(ends)) > 10

        eventually(renewed)
        assert ends == sorted(ends)
        lease.check()
        with pytest.raises(WarehouseError, match="in use by another publisher"):  # noqa: SIM117
            with lock(warehouse.engine, settings, wait_seconds=0).hold("something else"):
                pytest.fail("two hold the lock")


@pytest.mark.parametrize("asleep_at", ["publish trips 202401", "cleared trips 202401", "publish flow_hourly 202402"])
def test_a_paused_holder_does_not_publish(
    served: Served, settings: Settings, warehouse: Warehouse, manifests: list[Manifest], asleep_at: str
) -> None:
    """It sleeps while its lease runs out and another one publishes; then it wakes up."""
    first, second = manifests[0], manifests[1]
    warehouse.load(first)
    warehouse.load(second)
    expected = checksums(warehouse.engine)

    with connection(settings) as slow:
        slow.use(settings.clickhouse_database)
        paused = replace(warehouse, engine=slow, lock=lock(slow, settings, renews=False))
        seen: list[str] = []

        def sleep(stage: str) -> None:
            if stage == asleep_at:
                run_out(warehouse.engine, settings.clickhouse_database)
                warehouse.load(first)
                seen.append(stage)

        with pytest.raises(LeaseLost, match="Run the upload again"):
            paused.load(second, on_stage=sleep)
        assert seen == [asleep_at]
    assert warehouse.rows_of(first.upload) == first.rows_loaded
    assert warehouse.rows_of(second.upload) in {
        0,
        10 + 1,
        second.rows_loaded,
    }  # a month may be cleared, none is doubled
    warehouse.load(second)
    assert checksums(warehouse.engine) == expected


def test_a_publisher_that_passed_its_check_too_early_is_stopped(
    settings: Settings, warehouse: Warehouse, manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause comes between the check and the exchange: the staging table that it names is gone."""
    warehouse.load(manifests[0])
    with connection(settings) as slow:
        slow.use(settings.clickhouse_database)
        paused = replace(warehouse, engine=slow, lock=lock(slow, settings, renews=False))
        command = slow.command
        slept: list[str] = []

        def sleepy(sql: str, *arguments: object, **options: object) -> None:
            if "ATTACH PARTITION" in sql and not slept:
                slept.append(sql)
                run_out(warehouse.engine, settings.clickhouse_database)
                warehouse.load(manifests[0])
            command(sql, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(slow, "command", sleepy)
        with pytest.raises(LeaseLost):
            paused.load(manifests[1])
    assert len(slept) == 1
    assert warehouse.rows_of(manifests[1].upload) == 0
    assert warehouse.rows_of(manifests[0].upload) == manifests[0].rows_loaded
