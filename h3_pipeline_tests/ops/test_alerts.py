"""Troubles become few messages, with what to do: at a queue behind SNS, or in the log."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRunStatus,
    Failure,
    OpExecutionContext,
    SensorResult,
    asset,
    asset_check,
    build_sensor_context,
    job,
    materialize,
    op,
)
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat

from h3_pipeline.alert_sensors import report_troubles
from h3_pipeline.errors import FeedError
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.ops import daemon_watch, troubles
from h3_pipeline.ops.alerts import (
    AGAIN,
    EXAMPLES,
    LONGEST,
    QUIET,
    SETTLED,
    AlertError,
    Gathered,
    Kind,
    Trouble,
    deliver,
)
from h3_pipeline.resources import PipelineResource
from h3_pipeline.settings import Settings
from h3_pipeline.telemetry import metric_names as names
from h3_pipeline.telemetry import metrics
from h3_pipeline_tests.ops.subscriber import Subscriber
from h3_pipeline_tests.servers.aws import Aws, aws_services

SOMEWHERE = RemoteJobOrigin(
    RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="somewhere")), "all"), "ingest"
)
"""A run in the queue must say where its code is; nobody takes it from there."""

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def subscribed() -> Iterator[tuple[Aws, Subscriber]]:
    with aws_services() as aws:
        yield aws, Subscriber(aws)


@pytest.fixture
def subscriber(subscribed: tuple[Aws, Subscriber], monkeypatch: pytest.MonkeyPatch) -> Subscriber:
    aws, subscriber = subscribed
    aws.enter(monkeypatch)
    monkeypatch.setenv("H3_ALERTS_TOPIC_ARN", subscriber.topic)
    return subscriber


@pytest.fixture(params=["in memory"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance; the laptop's kind, with its events in many files, where a test asks for it."""
    if request.param == "in memory":
        with DagsterInstance.ephemeral() as instance:
            yield instance
    else:
        with DagsterInstance.local_temp(str(tmp_path)) as instance:
            yield instance


@pytest.fixture
def tick(instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A tick of the sensor, so long after the last one; daemons are heard of unless it says otherwise."""
    cursor: list[str | None] = [None]
    clock: list[datetime] = []
    monkeypatch.setattr(troubles, "now", lambda: clock[0])

    def once(after: timedelta = MINUTE, *, heard: bool = True) -> None:
        clock[:] = [clock[0] + after if clock else datetime.now(UTC)]
        if heard:
            hear(instance, clock[0])
        with build_sensor_context(instance=instance, cursor=cursor[0]) as context:
            result = report_troubles(context, pipeline=PipelineResource())
        assert isinstance(result, SensorResult)
        cursor[0] = result.cursor

    return once


def hear(instance: DagsterInstance, now: datetime) -> None:
    for daemon in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), daemon, "id", []))


in_files = pytest.mark.parametrize("instance", ["in files"], indirect=True)
"""Such an instance needs a daemon."""


@op
def refuse(context: OpExecutionContext) -> None:
    raise Failure(f"200 of 200 uploads refused. bad-{context.run_id[:4]}.csv: No feed knows this header")


@job
def ingest() -> None:
    refuse()


def test_a_thousand_bad_files_are_one_message(
    instance: DagsterInstance, tick: Callable[..., None], subscriber: Subscriber
) -> None:
    tick()
    for _ in range(5):  # of 200 files each
        ingest.execute_in_process(instance=instance, raise_on_error=False)
        tick()
        assert subscriber.messages() == []
    tick(SETTLED)
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 5 runs failed"
    body = message["Message"]
    assert body.count("200 of 200 uploads refused") == 5
    assert Kind.RUN_FAILED.advice in body
    # those that fail within the hour wait for its end, and are one message too
    for _ in range(3):
        ingest.execute_in_process(instance=instance, raise_on_error=False)
        tick()
    tick(SETTLED)
    assert subscriber.messages() == []
    tick(QUIET)
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 3 runs failed"


@in_files
def test_each_look_writes_the_metrics_of_the_instance(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Dagster evaluates the sensor, with its resource: that is what turns metrics on."""
    monkeypatch.setenv("H3_METRICS", "emf")
    for asset_name, keys in (("raw_uploads", "abc"), ("upload_manifests", "a")):
        for key in keys:
            instance.report_runless_asset_event(AssetMaterialization(AssetKey(asset_name), partition=key))
    instance.report_runless_asset_event(AssetMaterialization(AssetKey("warehouse_backup")))
    for _ in range(2):
        instance.create_run_for_job(ingest, status=DagsterRunStatus.QUEUED, remote_job_origin=SOMEWHERE)
    hear(instance, datetime.now(UTC) - timedelta(seconds=100))
    cursor = None
    for _ in range(2):
        with build_sensor_context(
            instance=instance, cursor=cursor, resources={"pipeline": PipelineResource()}
        ) as context:
            cursor = report_troubles.evaluate_tick(context).cursor
        ingest.execute_in_process(instance=instance, raise_on_error=False)
    with build_sensor_context(instance=instance, cursor=cursor, resources={"pipeline": PipelineResource()}) as context:
        report_troubles.evaluate_tick(context)
    metrics.use(None)
    found: dict[str, list[float]] = {}
    for line in capfd.readouterr().out.splitlines():
        document = json.loads(line)
        for metric in names.METRICS:
            if metric.name in document:
                found.setdefault(metric.name, []).append(document[metric.name])
    assert found[names.QUEUE_DEPTH.name] == [2, 2, 2]
    assert found[names.FILES_WAITING.name] == [2, 2, 2]
    assert found[names.RUNS_FAILED.name] == [1, 1]
    assert all(0 <= age < 100 for age in found[names.BACKUP_AGE.name])
    assert len(found[names.BACKUP_AGE.name]) == 3
    assert all(0 <= silence < 200 for silence in found[names.DAEMON_SILENCE.name])


def test_what_failed_before_the_first_tick_is_nobodys_alarm(
    instance: DagsterInstance, tick: Callable[..., None], subscriber: Subscriber
) -> None:
    ingest.execute_in_process(instance=instance, raise_on_error=False)
    for _ in range(3):
        tick(SETTLED)
    assert subscriber.messages() == []


@asset
def table() -> None:
    """An asset."""


@asset_check(asset=table, blocking=True)
def holds() -> AssetCheckResult:
    return AssetCheckResult(passed=False)


@asset_check(asset=table)
def looks_odd() -> AssetCheckResult:
    return AssetCheckResult(passed=False, severity=AssetCheckSeverity.WARN)


@in_files
def test_failed_checks_and_the_runs_that_they_fail(
    instance: DagsterInstance, tick: Callable[..., None], subscriber: Subscriber
) -> None:
    materialize([table, looks_odd, holds], instance=instance, raise_on_error=False)
    tick()
    materialize([table, looks_odd, holds], instance=instance, raise_on_error=False)
    tick()
    tick(SETTLED)
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 1 run failed, 1 asset check failed"
    assert "table.holds in run" in message["Message"]
    assert "looks_odd" not in message["Message"]
    assert json.loads(message["MessageAttributes"]["kinds"]["Value"]) == ["run_failed", "check_failed"]


def arrive(instance: DagsterInstance, key: str) -> None:
    instance.report_runless_asset_event(AssetMaterialization(AssetKey("raw_uploads"), partition=key))


def test_a_silent_feed_is_told_once_a_day(
    instance: DagsterInstance,
    tick: Callable[..., None],
    subscriber: Subscriber,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(
        "feeds:\n"
        "  - {name: taxis, match: 'taxis/*', expect_every: 6h}\n"
        "  - {name: bikes, match: 'bikes/*', expect_every: 2d}\n"
        "  - {name: rare, match: 'rare/*'}\n"
    )
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(feeds))
    arrive(instance, "taxis/a.csv")
    arrive(instance, "bikes/a.csv")
    tick()
    tick(timedelta(hours=5))
    tick()
    assert subscriber.messages() == []
    tick(timedelta(hours=2))
    tick(SETTLED)
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 1 feed is silent"
    assert "feed taxis: no upload that matches 'taxis/*' for more than 6 h" in message["Message"]
    tick(timedelta(hours=2))
    tick(timedelta(hours=2))
    assert subscriber.messages() == []
    tick(AGAIN)
    tick(SETTLED)
    [message] = subscriber.messages()
    assert "taxis" in message["Message"]


def test_a_stale_backup(instance: DagsterInstance, tick: Callable[..., None], subscriber: Subscriber) -> None:
    tick()
    tick(timedelta(hours=37))
    tick(SETTLED)
    [message] = subscriber.messages()
    assert "there is no backup of the warehouse" in message["Message"]
    instance.report_runless_asset_event(AssetMaterialization(AssetKey("warehouse_backup")))
    tick()  # made just now by the wall clock, which is 37 hours behind the test's
    tick(QUIET)
    [message] = subscriber.messages()
    assert "the last backup of the warehouse is of" in message["Message"]
    assert Kind.BACKUP_STALE.advice in message["Message"]


def test_no_backup_is_no_trouble_where_nobody_is_told(
    instance: DagsterInstance, tick: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        tick()
        tick(timedelta(days=9))
        tick(SETTLED)
    assert "backup" not in caplog.text


@in_files
def test_silent_daemons_go_to_the_log_without_a_topic(
    instance: DagsterInstance, tick: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    tick()
    tick(timedelta(minutes=30), heard=False)
    tick(SETTLED, heard=False)
    shown = capfd.readouterr().err
    assert "not heard of for" in shown
    assert Kind.DAEMON_SILENT.advice in shown


@in_files
def test_the_webservers_tell_of_a_silent_daemon_once(
    instance: DagsterInstance, subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [NOON]
    monkeypatch.setattr(troubles, "now", lambda: clock[0])
    settings = Settings.load()

    def look(*minutes: int) -> None:
        for later in minutes:
            clock[0] += later * MINUTE
            for _webserver in range(2):
                daemon_watch.look(instance, settings)

    look(1, 4, 60)
    assert subscriber.messages() == []  # never heard of: it is being set up
    hear(instance, clock[0])
    look(1, 1, 1)
    assert subscriber.messages() == []
    look(1, 1, 1, 30, 30)
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 1 daemon is silent"
    hear(instance, clock[0])
    look(1, 5, 5)
    [message] = subscriber.messages()  # silent once more, told once more


def test_the_watch_ends_with_the_webserver(instance: DagsterInstance) -> None:
    with daemon_watch.daemon_watch(instance, Settings.load(), seconds=0.01):
        pass


def test_a_topic_that_does_not_take_it(subscriber: Subscriber) -> None:
    gathered = Gathered()
    gathered.add([Trouble(Kind.RUN_FAILED, "x")], NOON)
    message = gathered.message(NOON + SETTLED, "b")
    assert message is not None
    settings = Settings.load(h3_alerts_topic_arn=subscriber.topic + "-gone")
    with pytest.raises(AlertError, match=r"H3_ALERTS_TOPIC_ARN: .*-gone did not take an alert") as caught:
        deliver(message, settings)
    assert "\n" not in str(caught.value)


def test_a_topic_that_is_away_gets_it_later(
    instance: DagsterInstance, tick: Callable[..., None], subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    ingest.execute_in_process(instance=instance, raise_on_error=False)
    tick()
    with monkeypatch.context() as away:
        away.setenv("H3_ALERTS_TOPIC_ARN", subscriber.topic + "-gone")
        tick(SETTLED)
    assert subscriber.messages() == []
    tick()
    [message] = subscriber.messages()
    assert message["Subject"] == "h3_pipeline: 1 run failed"


class TestGathered:
    def test_troubles_that_never_settle_are_told_after_a_while(self) -> None:
        gathered = Gathered()
        for minute in range(LONGEST // MINUTE):
            now = NOON + minute * MINUTE
            assert gathered.message(now, "b") is None
            gathered.add([Trouble(Kind.RUN_FAILED, f"run {minute}\nline two")] * 100, now)
        message = gathered.message(NOON + LONGEST, "b")
        assert message is not None
        assert message.subject == "h3_pipeline: 1,000 runs failed"
        assert message.body.count("  - run 0 line two") == EXAMPLES
        assert "and 995 more" in message.body
        assert "12:00 to 2026-03-01 12:09 UTC" in message.body

    def test_the_cursor_keeps_everything(self) -> None:
        gathered = Gathered()
        gathered.add([Trouble(Kind.RUN_FAILED, "x"), Trouble(Kind.NO_UPLOADS, "y", "feed")], NOON)
        message = gathered.message(NOON + SETTLED, "b")
        assert message is not None
        gathered.told(message, NOON + SETTLED)
        gathered.add([Trouble(Kind.CHECK_FAILED, "z"), Trouble(Kind.NO_UPLOADS, "y", "feed")], NOON + SETTLED)
        again = Gathered.from_json(json.loads(json.dumps(gathered.to_json())))
        assert again == gathered
        message = again.message(NOON + 2 * SETTLED, "b")
        assert message is not None
        assert message.kinds == (Kind.CHECK_FAILED,)

    def test_a_state_that_ended_and_begins_again_is_told_again(self) -> None:
        gathered = Gathered()
        silent = Trouble(Kind.NO_UPLOADS, "y", "feed")
        times = []
        for hour, found in enumerate([[silent], [silent], [], [silent], [silent]]):
            now = NOON + hour * timedelta(hours=1)
            gathered.add(found, now)
            if message := gathered.message(now, "b"):
                gathered.told(message, now)
                times.append(hour)
        assert times == [1, 4]


@pytest.mark.parametrize("value", ["1", "h", "0h", "'1 week'", "1.5h", "-1h", "true", "6"])
def test_an_expectation_that_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(FeedError, match=r"expect_every.*is no time; write a number and m, h or d"):
        FeedCatalog.load(f"feeds:\n  - {{name: a, expect_every: {value}}}\n")
