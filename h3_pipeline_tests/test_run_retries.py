"""Which failures are worth another run: what may pass, and not what a file or a setting is to blame for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance, Failure, JobDefinition, RetryPolicy, job, op

from h3_pipeline.definitions import defs
from h3_pipeline.errors import FeedError, PipelineError, SettingsError, StorageError, UploadRefused, WarehouseError
from h3_pipeline.resources import PipelineResource
from h3_pipeline.run_retries import RETRY_TAG, may_pass, repeat_if_it_may_pass

DAGSTER_YAML = """
telemetry: {enabled: false}
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    folder: Path = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    with DagsterInstance.from_config(str(folder)) as made:
        yield made


def wrapped(error: Exception) -> Exception:
    """An error that another one led to."""
    outer = RuntimeError("while loading")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (StorageError("the bucket cannot be reached"), True),
        (WarehouseError("ClickHouse cannot be used"), True),
        (wrapped(WarehouseError("ClickHouse cannot be used")), True),
        (ConnectionResetError("reset"), True),
        (UploadRefused("unknown_header", "no feed knows the columns"), False),
        (Failure("2 of 3 uploads refused", allow_retries=False), False),
        (SettingsError("PORT: not a number"), False),
        (FeedError("feeds.yaml: line 3"), False),
        (PipelineError("a bug"), False),
        (ZeroDivisionError("a bug"), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else type(value).__name__,
)
def test_what_is_repeated(instance: DagsterInstance, error: Exception, repeated: bool) -> None:
    @op(retry_policy=RetryPolicy(max_retries=1, delay=0))
    def fail() -> None:
        raise error

    @job(hooks={repeat_if_it_may_pass})
    def a_job() -> None:
        fail()

    result = a_job.execute_in_process(instance=instance, raise_on_error=False)
    run = instance.get_run_by_id(result.run_id)
    assert run
    assert run.tags["dagster/will_retry"] == str(repeated).lower()
    assert (RETRY_TAG in run.tags) == repeated


def will_retry(instance: DagsterInstance, a_job: JobDefinition) -> bool:
    result = a_job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run
    return run.tags["dagster/will_retry"] == "true"


def test_a_run_with_wrong_settings_is_not_repeated(instance: DagsterInstance) -> None:
    @op
    def work(pipeline: PipelineResource) -> None: ...

    @job(resource_defs={"pipeline": PipelineResource(overrides={"h3_resolution": 99})})
    def a_job() -> None:
        work()

    assert not will_retry(instance, a_job)


def test_a_step_with_wrong_feeds_is_tried_once(instance: DagsterInstance, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text("feeds: 7")
    tries = []

    @op(retry_policy=RetryPolicy(max_retries=2, delay=0))
    def work(pipeline: PipelineResource) -> None:
        tries.append(1)
        pipeline.catalog()

    @job(
        hooks={repeat_if_it_may_pass},
        resource_defs={"pipeline": PipelineResource(overrides={"h3_pipeline_feeds": str(feeds)})},
    )
    def a_job() -> None:
        work()

    assert not will_retry(instance, a_job)
    assert len(tries) == 1


def test_no_error_is_no_reason() -> None:
    assert not may_pass(None)


@pytest.mark.parametrize("name", ["ingest_uploads", "reconcile_warehouse"])
def test_the_jobs_use_it(name: str) -> None:
    assert repeat_if_it_may_pass in defs.resolve_job_def(name).hook_defs
