"""Tells of ticks, runs and steps: a span each, and what logs and ClickHouse's query log say of who does what.

Decorators, so that the assets and sensors stay what they are. Without a collector of traces all they do is to
name the run and the assets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from dagster import (
    AssetCheckResult,
    DagsterInvariantViolationError,
    DagsterRun,
    OpExecutionContext,
    RunRequest,
    SensorResult,
)

from h3_pipeline.ops import tracing as ops_tracing
from h3_pipeline.ops.measured import check_evaluated
from h3_pipeline.settings import Settings
from h3_pipeline.telemetry import metrics, tracing
from h3_pipeline.telemetry.context import doing

if TYPE_CHECKING:
    from opentelemetry.context import Context

P = ParamSpec("P")
R = TypeVar("R")


def start(settings: Settings) -> None:
    """Begin to trace and to write metrics, as far as the settings want it; however often it is called."""
    ops_tracing.start(settings)
    metrics.use(metrics.to_stdout if settings.h3_metrics == "emf" else None)


_runs: dict[str, Context] = {}
"""Where the steps of the runs of this process belong."""


@contextmanager
def observed_run(run: DagsterRun | None, settings: Settings) -> Iterator[None]:
    """Make a span of a run, below the tick or the request that asked for it, and send all spans at its end.

    Args:
        run: The run; None where there is none, as in a sensor's tick.
        settings: The settings.
    """
    start(settings)
    if run is None or not tracing.is_on():
        yield
        return
    attributes = {"h3_pipeline.run_id": run.run_id, "h3_pipeline.job": run.job_name}
    asked_for = tracing.context_of({"traceparent": run.tags.get(ops_tracing.TRACE_TAG, "")})
    opened = tracing.Lasting(f"run {run.job_name}", attributes, asked_for)
    _runs[run.run_id] = opened.context
    try:
        yield
    finally:
        del _runs[run.run_id]
        opened.end()
        ops_tracing.flush()


def observed_step(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate what a step does, below ``@asset`` and its like: its logs, spans and statements name run and assets."""
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            # only while the step itself is at work: what it yields is handled outside of the block
            events = cast("Iterator[Any]", function(*args, **kwargs))
            step = _Step()
            try:
                while True:
                    with step.at_work():
                        try:
                            event = next(events)
                        except StopIteration:
                            return
                        step.note(event)
                    yield event
            finally:
                step.end()

        return cast("Callable[P, R]", generator)

    @wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        step = _Step()
        try:
            with step.at_work():
                result = function(*args, **kwargs)
                step.note(result)
                return result
        finally:
            step.end()

    return plain


def observed_tick(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate what a sensor does, below ``@sensor``: a span, to which the runs that it asks for belong."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        start(Settings.load())
        if not tracing.is_on():
            return function(*args, **kwargs)
        with tracing.span(f"tick {getattr(function, '__name__', 'sensor')}"):
            result = function(*args, **kwargs)
            if isinstance(result, SensorResult) and result.run_requests:
                requests = [_tagged(request) for request in result.run_requests]
                return cast("R", result._replace(run_requests=requests))
            return result

    return wrapper


def _tagged(request: RunRequest) -> RunRequest:
    return request._replace(tags={**request.tags, **ops_tracing.run_tags()})


class _Step:
    """One step, as Dagster names it; outside of a run nothing."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._span: tracing.Lasting | None = None
        self._op = ""
        try:
            context = OpExecutionContext.get()
            run_id = context.run_id
        except DagsterInvariantViolationError:
            return
        assets = sorted(key.to_user_string() for key in context.selected_asset_keys) if context.has_assets_def else []
        asset = ",".join(assets) or context.op.name
        self._op = context.op.name
        self._names = {"run_id": run_id, "job": context.job_name, "asset": asset}
        if tracing.is_on():
            attributes = {f"h3_pipeline.{name}": value for name, value in self._names.items()}
            self._span = tracing.Lasting(f"step {context.op.name}", attributes, _runs.get(run_id))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with doing(**self._names):
            if self._span is None:
                yield
                return
            with self._span.current():
                yield

    def note(self, event: object) -> None:
        """Count the checks that go by."""
        if self._op and isinstance(event, AssetCheckResult):
            check_evaluated(event.check_name or self._op, passed=event.passed)

    def end(self) -> None:
        if self._span is not None:
            self._span.end()
