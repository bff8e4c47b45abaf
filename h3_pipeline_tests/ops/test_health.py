"""The health check: who is asked, how often, what is shown, and what is not."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from h3_pipeline.clickhouse.ping import ping
from h3_pipeline.ops.health import HealthCheck

SECRET = "postgresql://dagster:hunter2@db.internal:5432/dagster"
WAIT = 30


class Storage:
    """An instance storage: counts who asks, and answers when it is let."""

    def __init__(self, **heard: float | None) -> None:
        self.asked = 0
        self.heard = heard or {"SENSOR": time.time()}
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> dict[str, float | None]:
        self.asked += 1
        assert self.free.wait(WAIT)
        return self.heard


def refused() -> None:
    raise ConnectionError(SECRET)


def test_all_is_well() -> None:
    health = HealthCheck(Storage(), lambda: None).find().result(WAIT)
    assert health.ready
    assert health.document["status"] == "ok"
    assert health.document["versions"].keys() == {"h3_pipeline", "dagster"}
    for part in ("instance_storage", "daemon", "warehouse"):
        assert health.document[part]["status"] == "ok"
        assert health.document[part]["latency_ms"] >= 0
    assert 0 <= health.document["daemon"]["heartbeat_age_seconds"] < WAIT


def test_an_embedded_warehouse_is_not_asked() -> None:
    health = HealthCheck(Storage(), None).find().result(WAIT)
    assert health.document["warehouse"] == {"status": "embedded"}
    assert health.document["status"] == "ok"


def test_probes_at_once_share_one_check() -> None:
    storage = Storage()
    storage.free.clear()
    check = HealthCheck(storage, None, patience_seconds=WAIT)
    with ThreadPoolExecutor(20) as pool:
        findings = [future.result() for future in [pool.submit(check.find) for _ in range(20)]]
    storage.free.set()
    assert len({id(finding.result(WAIT)) for finding in findings}) == 1
    assert storage.asked == 1


def test_a_finding_is_good_for_a_while() -> None:
    storage = Storage()
    check = HealthCheck(storage, None, good_for_seconds=WAIT)
    assert check.find().result(WAIT) is check.find().result(WAIT)
    assert storage.asked == 1


def test_an_old_finding_is_replaced() -> None:
    storage = Storage()
    check = HealthCheck(storage, None, good_for_seconds=0)
    first = check.find().result(WAIT)
    assert check.find().result(WAIT) is not first
    assert storage.asked == 2


def test_a_storage_that_hangs_is_down_and_holds_one_thread() -> None:
    storage = Storage()
    storage.free.clear()
    check = HealthCheck(storage, lambda: None, patience_seconds=0.05, good_for_seconds=0)
    for _ in range(3):
        health = check.find().result(WAIT)
        assert not health.ready
        assert health.document["instance_storage"] == {"status": "down", "problem": "no answer in time"}
        assert health.document["daemon"]["status"] == "unknown"
        assert health.document["warehouse"]["status"] == "ok"
    assert storage.asked == 1
    storage.free.set()
    deadline = time.monotonic() + WAIT
    while not check.find().result(WAIT).ready:
        assert time.monotonic() < deadline


def test_what_an_error_says_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> dict[str, float | None]:
        raise RuntimeError(f"cannot connect to {SECRET}")

    health = HealthCheck(broken, refused).find().result(WAIT)
    assert not health.ready
    assert health.document["status"] == "down"
    shown = json.dumps(health.document) + caplog.text
    assert "hunter2" not in shown
    assert "db.internal" not in shown
    assert "Traceback" not in shown
    assert "instance storage is down: RuntimeError" in caplog.text


def test_a_warehouse_that_is_down_is_shown_and_keeps_the_ui() -> None:
    health = HealthCheck(Storage(), refused).find().result(WAIT)
    assert health.ready
    assert health.document["status"] == "degraded"
    assert health.document["warehouse"] == {"status": "down", "problem": "it cannot be reached"}


def test_the_daemon_that_was_heard_longest_ago_counts() -> None:
    now = time.time()
    health = HealthCheck(Storage(SENSOR=now, SCHEDULER=now - 1000), None).find().result(WAIT)
    assert health.ready
    assert health.document["status"] == "degraded"
    assert health.document["daemon"]["status"] == "silent"
    assert 1000 <= health.document["daemon"]["heartbeat_age_seconds"] < 1000 + WAIT


def test_a_daemon_that_was_never_heard_is_unknown() -> None:
    daemon = HealthCheck(Storage(SENSOR=None, SCHEDULER=None), None).find().result(WAIT).document["daemon"]
    assert daemon == {"status": "unknown", "heartbeat_age_seconds": None}
    some = HealthCheck(Storage(SENSOR=time.time(), SCHEDULER=None), None).find().result(WAIT).document["daemon"]
    assert (some["status"], some["never_heard"]) == ("unknown", ["SCHEDULER"])


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server that answers everything with a status; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/ping" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_ping() -> None:
    with answering(200) as port:
        ping("127.0.0.1", port, secure=False, timeout_seconds=WAIT)
        with pytest.raises(ConnectionError, match="no answer"):
            ping("127.0.0.1", port, secure=True, timeout_seconds=WAIT)
    with answering(503) as port, pytest.raises(ConnectionError, match="503"):
        ping("127.0.0.1", port, secure=False, timeout_seconds=WAIT)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectionError, match="no answer"):
        ping("127.0.0.1", silent.getsockname()[1], secure=False, timeout_seconds=0.05)
