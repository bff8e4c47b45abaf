"""Which failed runs are worth another try.

The instance repeats runs whose process was lost, and no run that failed in a step: what a step
refused, it would refuse again. A step that failed because the store or the warehouse was away says
so here, by a tag that lets the instance repeat the run.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import Failure, HookContext, InitResourceContext, failure_hook

from h3_pipeline.errors import FeedError, SettingsError, StorageError, WarehouseError

RETRY_TAG = "dagster/retry_on_asset_or_op_failure"
"""Dagster's own tag; it outranks the instance's setting for one run."""

MAX_RETRIES_TAG = "dagster/max_retries"

PASSING = (StorageError, WarehouseError, ConnectionError, TimeoutError)


def may_pass(error: BaseException | None) -> bool:
    """Whether a failure may be gone by itself after a while: what it came from decides."""
    return any(isinstance(each, PASSING) for each in _causes(error))


@failure_hook(name="repeat_if_it_may_pass")
def repeat_if_it_may_pass(context: HookContext) -> None:
    """Let the instance repeat the run, if that may help."""
    if may_pass(context.op_exception):
        context.instance.add_run_tags(context.run_id, {RETRY_TAG: "true"})


@contextmanager
def once_in_a_step() -> Iterator[None]:
    """What settings or feeds are to blame for fails its step at once, without another try."""
    try:
        yield
    except (SettingsError, FeedError) as error:
        raise Failure(str(error), allow_retries=False) from error


@contextmanager
def once_in_a_run(context: InitResourceContext) -> Iterator[None]:
    """The same before the first step, where Dagster would repeat the whole run."""
    try:
        yield
    except (SettingsError, FeedError):
        if context.instance is not None and context.run is not None:
            context.instance.add_run_tags(context.run.run_id, {MAX_RETRIES_TAG: "0"})
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
