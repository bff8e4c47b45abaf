"""The instance of ``infra/dagster`` on PostgreSQL and an ECS cluster: how runs are launched, watched and ended."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunsFilter,
    job,
    op,
)
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher import WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from h3_pipeline.local.postgres import PostgresServer
from h3_pipeline.task_sizes import TASK_SIZES, TaskSize, feed_tag, task_size
from h3_pipeline_tests.ops.cluster import (
    COLLECTOR,
    Cluster,
    ecs_cluster,
    instance_settings,
    production_environment,
    task_metadata,
)

pytestmark = pytest.mark.slow

OVERRIDES_LIMIT = 8192
"""Characters that ECS takes of a task's overrides."""

FARGATE = {256: range(512, 2049), 512: range(1024, 4097), 1024: range(2048, 8193), 2048: range(4096, 16385)}
FARGATE[4096] = range(8192, 30721)
"""Memory in MiB that Fargate has for so many CPU units."""


@op
def work() -> None:
    pass


@job
def ingest_uploads() -> None:
    work()


@dataclass
class Daemon:
    """What the daemon does, step by step."""

    cluster: Cluster
    database: PostgresServer
    instance: DagsterInstance
    workspace: WorkspaceProcessContext

    def submit(self, **tags: str) -> DagsterRun:
        """Put a run into the queue."""
        repository = RepositoryPythonOrigin(
            executable_path="/usr/local/bin/python",
            code_pointer=ModuleCodePointer("h3_pipeline.definitions", "defs", "/app"),
            container_image="123456789012.dkr.ecr.us-east-1.amazonaws.com/h3-pipeline:0123456789abcdef",
            entry_point=["dagster"],
            container_context={},
        )
        location = GrpcServerCodeLocationOrigin("code.h3.internal", port=4000, location_name="h3_pipeline")
        run = self.instance.create_run_for_job(
            ingest_uploads,
            job_code_origin=JobPythonOrigin("ingest_uploads", repository),
            remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "ingest_uploads"),
            tags=tags,
        )
        return self.instance.submit_run(run.run_id, self.workspace.create_request_context())

    def dequeue(self) -> None:
        """Launch what may be launched."""
        with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
            list(daemon.run_iteration(self.workspace))

    def launched(self, **tags: str) -> DagsterRun:
        """A run whose task is starting."""
        run = self.submit(**tags)
        self.dequeue()
        return self.again(run)

    def started(self, **tags: str) -> DagsterRun:
        """A run whose task has begun to work."""
        run = self.launched(**tags)
        event = DagsterEvent(DagsterEventType.RUN_START.value, job_name=run.job_name)
        self.instance.report_dagster_event(event, run.run_id)
        return self.again(run)

    def watch(self) -> None:
        """Look after the runs that are under way."""
        errors = [error for error in execute_run_monitoring_iteration(self.workspace, logging.getLogger()) if error]
        assert errors == []

    def again(self, run: DagsterRun) -> DagsterRun:
        """A run as it is now."""
        found = self.instance.get_run_by_id(run.run_id)
        assert found
        return found

    def task(self, run: DagsterRun) -> str:
        """ARN of a run's task."""
        return self.again(run).tags["ecs/task_arn"]

    def messages(self, run: DagsterRun) -> str:
        """All that the run's log says."""
        return "\n".join(f"{entry.message} {entry.dagster_event}" for entry in self.instance.all_logs(run.run_id))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ecs_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def production(
    cluster: Cluster, new_database: Callable[[], PostgresServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance_settings()))
    with ExitStack() as stack:
        metadata = stack.enter_context(task_metadata(cluster))
        patched = stack.enter_context(pytest.MonkeyPatch.context())
        database = new_database()
        for name, value in production_environment(cluster, metadata, database).items():
            patched.setenv(name, value)
        instance = stack.enter_context(DagsterInstance.from_config(str(folder)))
        workspace = stack.enter_context(WorkspaceProcessContext(instance, EmptyWorkspaceTarget()))
        yield Daemon(cluster, database, instance, workspace)


@pytest.fixture
def daemon(production: Daemon) -> Iterator[Daemon]:
    """The daemon with nothing to do, and nothing left behind."""
    yield production
    for run in production.instance.get_runs(RunsFilter(statuses=[*_UNFINISHED])):
        production.instance.delete_run(run.run_id)


_UNFINISHED = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


def test_a_run_is_a_task(daemon: Daemon) -> None:
    run = daemon.launched(**{"h3_pipeline/feed": "citi-bike"}, **task_size(2 * 1024**3))
    assert run.status is DagsterRunStatus.STARTING
    task = daemon.cluster.task(daemon.task(run))
    assert task["lastStatus"] == "RUNNING"
    assert task["launchType"] == "FARGATE"
    assert task["taskDefinitionArn"] == daemon.cluster.run_task_definition  # with its revision
    assert {tag["key"]: tag["value"] for tag in task["tags"]} == {
        "dagster/run_id": run.run_id,
        "dagster/job_name": "ingest_uploads",
        "h3_pipeline/feed": "citi-bike",
        "h3_pipeline/size": "large",
    }
    overrides = task["overrides"]
    assert (overrides["cpu"], overrides["memory"]) == ("4096", "8192")
    (container,) = overrides["containerOverrides"]
    assert container["name"] == "run"
    assert container["command"][:3] == ["dagster", "api", "execute_run"]
    # the collector beside it has room
    assert container["memory"] + 256 <= 8192
    assert container["cpu"] < 4096
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    assert details["subnetId"] == daemon.cluster.subnet
    containers = daemon.cluster.ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
    assert [each["name"] for each in containers["taskDefinition"]["containerDefinitions"]] == ["run", COLLECTOR]


def test_what_a_task_is_told_is_short_and_holds_no_secret(daemon: Daemon) -> None:
    run = daemon.launched(**task_size(10))
    overrides = json.dumps(daemon.cluster.task(daemon.task(run))["overrides"])
    assert len(overrides) <= OVERRIDES_LIMIT - 1000  # and more settings may come
    assert daemon.database.password not in overrides
    assert daemon.database.password not in daemon.instance.info_str()  # what the UI shows
    assert "DAGSTER_PG_PASSWORD" in overrides


def test_a_run_without_a_size_has_that_of_its_task_definition(daemon: Daemon) -> None:
    overrides = daemon.cluster.task(daemon.task(daemon.launched()))["overrides"]
    assert "cpu" not in overrides
    assert "memory" not in overrides["containerOverrides"][0]


@pytest.mark.parametrize("size", TASK_SIZES, ids=lambda size: size.name)
def test_sizes_are_what_fargate_has(size: TaskSize) -> None:
    assert 1024 <= size.cpu <= 4096
    assert 2048 <= size.memory_mib <= 8192
    assert size.memory_mib in FARGATE[size.cpu]
    assert size.memory_mib % 1024 == 0


def test_more_bytes_never_get_a_smaller_task() -> None:
    cpus = [int(task_size(2**power)["ecs/cpu"]) for power in range(40)]
    assert cpus == sorted(cpus)
    assert set(cpus) == {size.cpu for size in TASK_SIZES}
    assert task_size(0) == TASK_SIZES[0].tags()


@pytest.mark.parametrize(
    ("feed", "value"),
    [("citi-bike", "citi-bike"), ("Müll & Söhne", "Müll _ Söhne"), ("a*b?{c}\x01", "a_b__c__"), ("x" * 300, "x" * 256)],
)
def test_a_feeds_tag_is_one_that_ecs_takes(feed: str, value: str) -> None:
    assert feed_tag(feed) == {"h3_pipeline/feed": value}


def test_a_task_that_works_is_left_alone(daemon: Daemon) -> None:
    run = daemon.started()
    assert daemon.instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    daemon.watch()
    assert daemon.again(run).status is DagsterRunStatus.STARTED


def test_a_run_is_ended_by_hand(daemon: Daemon) -> None:
    run = daemon.started()
    assert daemon.instance.run_coordinator.cancel_run(run.run_id)
    assert daemon.again(run).status is DagsterRunStatus.CANCELING
    assert daemon.cluster.task(daemon.task(run))["lastStatus"] == "STOPPED"


def test_a_task_that_stops_by_itself_fails_its_run_which_is_repeated(daemon: Daemon) -> None:
    run = daemon.started()
    reason = "OutOfMemoryError: Container killed due to memory usage"
    daemon.cluster.ends(daemon.task(run), 137, reason)
    assert daemon.instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.FAILED
    daemon.watch()
    failed = daemon.again(run)
    assert failed.status is DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "true"
    assert reason in daemon.messages(run)
    assert "exit code 137" in daemon.messages(run)


def test_a_task_that_never_starts_is_given_up_and_repeated(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    run = daemon.launched()
    daemon.cluster.ends(daemon.task(run), None, "CannotPullContainerError: pull image manifest has been retried")
    daemon.watch()
    assert daemon.again(run).status is DagsterRunStatus.STARTING  # it has ten minutes
    settings = instance_settings()["run_monitoring"]
    now = time.time()
    monkeypatch.setattr(
        "dagster._daemon.monitoring.run_monitoring.get_current_timestamp",
        lambda: now + settings["start_timeout_seconds"] + 60,
    )
    daemon.watch()
    failed = daemon.again(run)
    assert failed.status is DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "true"


def test_a_task_that_ends_without_a_result_is_given_up_in_the_end(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 looks like success to Dagster, which then waits for an event that never comes."""
    run = daemon.started()
    daemon.cluster.ends(daemon.task(run), 0, "Essential container in task exited")
    daemon.watch()
    assert daemon.again(run).status is DagsterRunStatus.STARTED
    limit = instance_settings()["run_monitoring"]["max_runtime_seconds"]
    now = time.time()
    monkeypatch.setattr("dagster._daemon.monitoring.run_monitoring.get_current_timestamp", lambda: now + limit + 60)
    daemon.watch()
    assert daemon.again(run).status is DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameterException", "Throttling: Rate exceeded"),
        ("ThrottlingException", "Rate exceeded"),
    ],
)
def test_a_throttled_launch_waits_and_is_made_once(daemon: Daemon, code: str, message: str) -> None:
    before = set(daemon.cluster.run_tasks())
    daemon.cluster.throttle.calls.clear()
    daemon.cluster.throttle.refusals += [("RunTask", code, message)] * 2
    run = daemon.launched()
    assert run.status is DagsterRunStatus.STARTING
    assert daemon.cluster.throttle.calls.count("RunTask") == 3
    assert set(daemon.cluster.run_tasks()) - before == {daemon.task(run)}


def test_a_launch_that_ecs_refuses_fails_its_run_which_is_repeated(daemon: Daemon) -> None:
    daemon.cluster.throttle.refusals.append(("RunTask", "AccessDeniedException", "not authorized to run a task"))
    run = daemon.launched()
    assert run.status is DagsterRunStatus.FAILURE
    assert run.tags["dagster/will_retry"] == "true"
    assert "not authorized" in daemon.messages(run)


def test_twenty_runs_at_once_and_eight_of_a_feed(daemon: Daemon) -> None:
    for number in range(26):
        daemon.submit(**{"h3_pipeline/feed": "busy" if number < 12 else f"feed-{number}"})
    daemon.dequeue()
    launched = daemon.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING]))
    assert len(launched) == 20
    assert sum(run.tags["h3_pipeline/feed"] == "busy" for run in launched) == 8
    assert len({daemon.task(run) for run in launched}) == 20
    daemon.dequeue()
    assert len(daemon.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING]))) == 20
