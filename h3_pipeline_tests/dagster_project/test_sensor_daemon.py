"""The daemon is killed at every point of a tick, by SIGKILL: no file is missed, none is run twice."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import chain

import pytest
from dagster import DagsterInstance
from dagster._daemon import sensor as sensor_daemon

from h3_pipeline_tests.dagster_project.daemon import Daemon, sensor_daemon_on
from h3_pipeline_tests.servers.s3_listing import Listing, s3_listing


@pytest.fixture(scope="module")
def module_patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def listing(module_patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    with s3_listing() as listing:
        for variable in list(os.environ):
            if variable.startswith(("H3_", "CLICKHOUSE_", "S3_", "AWS_", "UPLOADS_")):
                module_patch.delenv(variable)
        module_patch.setenv("H3_PIPELINE_HOME", str(tmp_path_factory.mktemp("home")))
        module_patch.setenv("S3_ENDPOINT_URL", str(listing.bucket.access.endpoint_url))
        module_patch.setenv("S3_BUCKET", listing.bucket.access.name)
        module_patch.setenv("AWS_ACCESS_KEY_ID", "a")
        module_patch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        yield listing


@pytest.fixture(scope="module")
def daemon(listing: Listing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with sensor_daemon_on(tmp_path_factory.mktemp("dagster")) as daemon:
        yield daemon


def _kill(*arguments: object, **named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at(place: str) -> Callable[[], None]:
    """Makes the process kill itself where Dagster's own code passes a named point."""

    def prepare() -> None:
        setattr(sensor_daemon, "check_for_debug_crash", lambda flags, key: _kill() if key == place else None)  # noqa: B010

    return prepare


def _after(owner: type, method: str, calls: int) -> Callable[[], None]:
    """Makes the process kill itself when a method has been called so often."""

    def prepare() -> None:
        original, left = getattr(owner, method), [calls]

        def counted(*arguments: object, **named: object) -> object:
            result = original(*arguments, **named)
            left[0] -= 1
            if not left[0]:
                _kill()
            return result

        setattr(owner, method, counted)

    return prepare


KILLS = {
    "partitions added": _after(DagsterInstance, "add_dynamic_partitions", 1),
    "all arrivals noted": _after(DagsterInstance, "report_runless_asset_event", 2),
    "runs reserved, none created": _at("RUN_IDS_RESERVED"),
    "run queued": _at("RUN_LAUNCHED"),
    "cursor not saved": _after(DagsterInstance, "submit_run", 1),
}


@pytest.mark.parametrize("kill", KILLS)
def test_a_tick_that_dies(daemon: Daemon, listing: Listing, kill: str) -> None:
    number = list(KILLS).index(kill)
    names = [f"{number}-{letter}.csv" for letter in "ab"]
    for name in names:
        listing.put(f"uploads/{name}")
    before = len(daemon.runs())
    assert daemon.killed(KILLS[kill])
    daemon.tick()  # goes on with what was reserved, or begins anew; what was asked for before is not asked for again
    runs = daemon.runs()[before:]
    assert sorted(chain(*runs)) == names
    assert daemon.errors() == []
    daemon.fail_all()


def test_a_lost_cursor_asks_for_nothing_again(daemon: Daemon, listing: Listing) -> None:
    listing.put("uploads/lost.csv")
    daemon.tick()
    runs = daemon.runs()
    cursor = json.loads(str(daemon.cursor))
    assert cursor["after"] == ""
    daemon.set_cursor("{")
    listing.put("uploads/lost too.csv")
    daemon.tick()
    assert daemon.runs() == [*runs, ["lost too.csv"]]


def test_a_sensor_that_is_stopped_in_mid_tick(
    daemon: Daemon, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster saves the cursor then, though it has not created all the runs."""
    names = ["stopped 1.csv", "stopped 2.csv", "stopped 3.csv"]
    for name in names:
        listing.put(f"uploads/{name}", size=3 * 1024**3)  # a run each
    before = len(daemon.runs())
    with monkeypatch.context() as patch:
        patch.setattr(DagsterInstance, "get_tick_termination_check_interval", lambda self: 1)
        patch.setattr(sensor_daemon.SensorLaunchContext, "sensor_is_enabled", lambda self: False)
        daemon.tick()
    assert len(daemon.runs()) == before + 1
    daemon.tick()
    assert sorted(chain(*daemon.runs()[before:])) == names
