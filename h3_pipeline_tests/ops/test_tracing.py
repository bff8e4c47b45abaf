"""Requests continue the load balancer's trace; nothing of OpenTelemetry is imported when nobody wants traces."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, cast

import pytest
from opentelemetry.trace import get_current_span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from h3_pipeline.clickhouse.credentials import FixedCredentials, Login
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.ops import tracing
from h3_pipeline.ops.xray import XRayPropagator
from h3_pipeline.settings import Settings
from h3_pipeline.telemetry.tracing import span
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from h3_pipeline_tests.servers.otlp import Collector, ReceivedSpan, collector

ROOT = "1-6b0366c0-cf6d2d9a4cbd5c34adc58d96"
TRACE = ROOT.replace("-", "")[1:]


@pytest.fixture(scope="module")
def otlp() -> Iterator[Collector]:
    with collector() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        assert tracing.start(Settings.load())
        yield running
        tracing.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse") / "data", password="p") as server:
        yield server


def arrived(otlp: Collector) -> list[ReceivedSpan]:
    tracing.flush()
    spans = otlp.spans()
    otlp.clear()
    return spans


@pytest.fixture(scope="module")
def app(otlp: Collector, server: ClickHouseServer) -> tracing.AsgiApp:
    """A page that asks the warehouse."""

    def page(request: Request) -> JSONResponse:
        with open_http(
            host=server.host, port=server.port, secure=False, credentials=FixedCredentials(Login("default", "p"))
        ) as engine:
            found = engine.value("SELECT 42")
        return JSONResponse({"found": found, "tags": tracing.run_tags()})

    def health(request: Request) -> JSONResponse:
        return JSONResponse({"traced": get_current_span().is_recording()})

    plain = Starlette(routes=[Route("/page", page), Route("/health", health)])
    return tracing.instrument(cast("tracing.AsgiApp", plain))


def get(app: tracing.AsgiApp, path: str, **headers: str) -> dict[str, Any]:
    """What a page answers, as JSON."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(cast("Any", app(scope, receive, send)))
    assert sent[0]["status"] == 200
    return json.loads(b"".join(message.get("body", b"") for message in sent))


def test_from_the_load_balancer_through_the_webserver_to_clickhouse(
    otlp: Collector, app: tracing.AsgiApp, server: ClickHouseServer
) -> None:
    arrived(otlp)
    server.clear_statements()
    answer = get(app, "/page", **{"X-Amzn-Trace-Id": f"Self=1-67891234-12456789abcdef012345678;Root={ROOT}"})
    assert answer["found"] == 42
    spans = arrived(otlp)
    [request] = [s for s in spans if s.kind == "SERVER"]
    [asked] = [s for s in spans if s.attributes.get("db.query.text") == "SELECT 42"]
    assert request.name == "GET /page"
    assert asked.parent_id == request.span_id
    assert {s.trace_id for s in spans} == {TRACE}
    [statement] = [s for s in server.statements() if s.query.startswith("SELECT 42")]
    assert statement.headers["traceparent"] == f"00-{TRACE}-{asked.span_id}-01"
    # a run that is launched by a request belongs to it
    assert answer["tags"] == {tracing.TRACE_TAG: f"00-{TRACE}-{request.span_id}-01"}


def test_a_request_that_is_not_wanted_is_not_sent_and_health_is_not_traced(
    otlp: Collector, app: tracing.AsgiApp
) -> None:
    arrived(otlp)
    get(app, "/page", **{"X-Amzn-Trace-Id": f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0"})
    assert get(app, "/health") == {"traced": False}
    assert arrived(otlp) == []


def test_w3c_headers_of_other_callers(otlp: Collector, app: tracing.AsgiApp) -> None:
    arrived(otlp)
    get(app, "/page", traceparent=f"00-{TRACE}-53995c3f42cd8ad8-01")
    [request] = [s for s in arrived(otlp) if s.kind == "SERVER"]
    assert (request.trace_id, request.parent_id) == (TRACE, "53995c3f42cd8ad8")


@pytest.mark.parametrize(
    ("header", "trace", "parent", "sampled"),
    [
        (f"Root={ROOT}", TRACE, None, True),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1", TRACE, "53995c3f42cd8ad8", True),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:1|b:2", TRACE, "53995c3f42cd8ad8", False),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=?", TRACE, "53995c3f42cd8ad8", True),
        (f"Self=1-67891234-12456789abcdef012345678; Root={ROOT}; CalledFrom=app", TRACE, None, True),
        ("Root=1-zz-1", None, None, False),
        ("Self=1-67891234-12456789abcdef012345678", None, None, False),
        ("", None, None, False),
        (";;=;Root", None, None, False),
    ],
)
def test_headers_of_load_balancers(header: str, trace: str | None, parent: str | None, sampled: bool) -> None:
    found = get_current_span(XRayPropagator().extract({"X-Amzn-Trace-Id": header})).get_span_context()
    assert found.is_valid == (trace is not None)
    if trace:
        assert f"{found.trace_id:032x}" == trace
        assert found.trace_flags.sampled == sampled
        assert parent in (None, f"{found.span_id:016x}")


def test_a_failure_is_told_and_the_embedded_engine_is_traced_too(otlp: Collector, tmp_path: Path) -> None:
    arrived(otlp)
    with span("outside"), open_embedded(tmp_path / "engine") as engine:
        assert engine.value("/* a */ -- b\n SELECT 1") == 1
        with pytest.raises(Exception, match="nothing"):
            engine.command("ALTER TABLE nothing DROP PARTITION 1")
    spans = {s.name: s for s in arrived(otlp)}
    outside = spans["outside"]
    assert spans["clickhouse ALTER"].failed
    assert spans["clickhouse ALTER"].parent_id == outside.span_id
    assert not outside.failed


_OFF = """
import sys
from h3_pipeline.ops import observed, tracing
from h3_pipeline.settings import Settings
from h3_pipeline.clickhouse.embedded import open_embedded
import h3_pipeline.definitions
from pathlib import Path
settings = Settings.load(otel_exporter_otlp_endpoint=None)
observed.start(settings)
assert tracing.instrument(print, settings) is print
with open_embedded(Path(sys.argv[1])) as engine:
    engine.value("SELECT 1")
print(*sorted(m for m in sys.modules if m.startswith("opentelemetry")))
"""


def test_off_costs_nothing(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", _OFF, f"{tmp_path}/engine"], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
