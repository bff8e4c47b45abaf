"""What this thread is doing: run, job, step, upload. Logs, spans and the warehouse's query log say it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})
_current: ContextVar[Mapping[str, str]] = ContextVar("h3_pipeline_doing", default=_NOTHING)

RUN = "run_id"
JOB = "job"
ASSET = "asset"
UPLOAD = "upload"


@contextmanager
def doing(**names: str) -> Iterator[None]:
    """Say what is done in the block, in addition to what is said around it.

    Args:
        names: Values by the names of this module: ``run_id``, ``job``, ``asset``, ``upload``.
    """
    token = _current.set({**_current.get(), **names})
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Mapping[str, str]:
    """What this thread is doing, by name."""
    return _current.get()


def log_comment() -> str | None:
    """What ClickHouse keeps with a statement in ``system.query_log``, as JSON; None outside a run."""
    names = _current.get()
    return json.dumps(dict(names), ensure_ascii=False) if RUN in names else None
