"""OpenTelemetry, set up where ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector; nothing of it is imported elsewhere.

Ids are X-Ray's, so that a collector can send the spans there. The SDK reads its other standard variables by itself
(``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_TRACES_SAMPLER``, ``OTEL_SDK_DISABLED``, …).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from h3_pipeline.settings import Settings
from h3_pipeline.telemetry import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

logger = logging.getLogger(__name__)

TRACE_TAG = "h3_pipeline/traceparent"
"""Tag of a run that names the span it was asked for in, as W3C's ``traceparent``."""

FLUSH_SECONDS = 5.0
"""How long the end of a run waits for the collector to take what is left."""

UNTRACED_PATHS = "/health"
"""Load balancers ask for it every few seconds."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_lock = threading.Lock()
_provider: TracerProvider | None = None


def start(settings: Settings) -> bool:
    """Begin to trace, if the settings name a collector; once a process, however often it is called.

    Returns:
        Whether spans are wanted.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return False
    global _provider
    with _lock:
        if _provider is None:
            _provider = _set_up()
    return True


def stop() -> None:
    """Send what is left, and trace no longer."""
    global _provider
    with _lock:
        if _provider is None:
            return
        from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
        from opentelemetry.instrumentation.threading import ThreadingInstrumentor

        tracing.use(None)
        BotocoreInstrumentor().uninstrument()
        ThreadingInstrumentor().uninstrument()
        _provider.shutdown()
        _provider = None


def flush() -> None:
    """Send what is left: a task of ECS ends with its run."""
    if _provider is not None and not _provider.force_flush(int(FLUSH_SECONDS * 1000)):
        logger.warning("the collector of traces did not take the last spans in %.0f s", FLUSH_SECONDS)


def run_tags() -> dict[str, str]:
    """Tags of a run that is asked for now: they make its spans children of the current one."""
    header = tracing.traceparent_headers().get("traceparent")
    return {TRACE_TAG: header} if header else {}


def instrument(app: AsgiApp, settings: Settings | None = None) -> AsgiApp:
    """Trace a web application's requests; websockets, which last for hours, are left out.

    A request that brings ``X-Amzn-Trace-Id``, as from a load balancer, or ``traceparent`` continues that trace.

    Args:
        app: The ASGI application.
        settings: The settings; by default the environment's.

    Returns:
        The application itself if no collector is named.
    """
    if not start(settings or Settings.load()):
        return app
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    traced = OpenTelemetryMiddleware(
        app, excluded_urls=UNTRACED_PATHS, tracer_provider=_provider, exclude_spans=["receive", "send"]
    )

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        await (traced if scope["type"] == "http" else app)(scope, receive, send)

    return entry


def _set_up() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.sdk.extension.aws.resource.ecs import AwsEcsResourceDetector
    from opentelemetry.sdk.extension.aws.trace import AwsXRayIdGenerator
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    from h3_pipeline.ops.xray import XRayPropagator

    resource = Resource({"service.name": "h3_pipeline", "service.version": version("h3_pipeline")})
    for detector in (AwsEcsResourceDetector(), OTELResourceDetector()):
        resource = resource.merge(detector.detect())
    provider = TracerProvider(resource=resource, id_generator=AwsXRayIdGenerator())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    # the last one that finds something counts
    set_global_textmap(CompositePropagator([XRayPropagator(), TraceContextTextMapPropagator()]))
    # S3, Secrets Manager, SNS; boto3 sends and fetches files in threads of its own
    BotocoreInstrumentor().instrument(tracer_provider=provider)
    ThreadingInstrumentor().instrument()
    tracing.use(provider)
    return provider
