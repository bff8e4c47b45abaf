"""Spans, for whoever wants some. Until `use` is called they cost a comparison, and OpenTelemetry is not imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from h3_pipeline.telemetry.context import current

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

Attributes = Mapping[str, str | int | float | bool]

_PREFIX = "h3_pipeline."
_tracer: Tracer | None = None


def use(provider: TracerProvider | None) -> None:
    """Send spans to a provider from now on; None stops that."""
    global _tracer
    _tracer = None if provider is None else provider.get_tracer("h3_pipeline")


def is_on() -> bool:
    """Whether anybody wants spans."""
    return _tracer is not None


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, *, client: bool = False, parent: Context | None = None
) -> Iterator[Span | None]:
    """Do the block in a span of its own, which carries what the thread is doing.

    An exception that leaves the block is recorded, and is the span's status.

    Args:
        name: The span's name, one of few.
        attributes: What to tell of it.
        client: Whether it waits for another system.
        parent: Where it belongs; by default below the span that is current.

    Yields:
        The span, or None if nobody wants any.
    """
    if _tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind

    told = {f"{_PREFIX}{key}": value for key, value in current().items()}
    kind = SpanKind.CLIENT if client else SpanKind.INTERNAL
    with _tracer.start_as_current_span(name, parent, kind, {**told, **(attributes or {})}) as opened:
        yield opened


def traceparent_headers() -> dict[str, str]:
    """The current span as W3C's ``traceparent`` header; empty if there is none."""
    headers: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def context_of(headers: Mapping[str, str]) -> Context | None:
    """Where spans belong whose parent sent these headers; None if nobody wants spans."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(headers)


def current_ids() -> tuple[str, str] | None:
    """Trace and span id of the current span, in hexadecimal digits; None if there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    found = get_current_span().get_span_context()
    return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None


class Lasting:
    """A span that is current only now and then, such as a generator's. Only where `is_on`.

    Args:
        name: The span's name, one of few.
        attributes: What to tell of it.
        parent: Where it belongs; by default below the span that is current.

    Attributes:
        context: Where its children belong.
    """

    def __init__(self, name: str, attributes: Attributes, parent: Context | None = None) -> None:
        from opentelemetry.trace import NoOpTracer, set_span_in_context

        self._span = (_tracer or NoOpTracer()).start_span(name, parent, attributes=attributes)
        self.context = set_span_in_context(self._span)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the current span; an exception that leaves the block is recorded."""
        from opentelemetry.trace import use_span

        with use_span(self._span, end_on_exit=False):
            yield

    def end(self) -> None:
        """Its end."""
        self._span.end()
