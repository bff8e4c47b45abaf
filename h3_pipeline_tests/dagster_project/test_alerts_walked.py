"""The alerts of docs/operations.md, walked: each is caused by what really causes it, and ended by what is said there.

The pipeline's own jobs run on a bucket and a warehouse. Only the clock of the one who looks is not the wall's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h3
import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, SensorResult, build_sensor_context

from h3_pipeline.alert_sensors import report_troubles
from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import PipelineError
from h3_pipeline.ingestion import ingest
from h3_pipeline.ops import troubles
from h3_pipeline.ops.alerts import QUIET, SETTLED, Kind
from h3_pipeline.partitions import UPLOADS
from h3_pipeline.resources import PipelineResource
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.ops.subscriber import Subscriber
from h3_pipeline_tests.servers.aws import Aws, aws_services

FEEDS = "feeds:\n  - {name: city-taxis, match: 'taxis/*', expect_every: 6h}\n"


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with aws_services() as aws:
        yield aws


class Operator:
    """Looks as the sensor does, reads what is sent, and does what the document says.

    Args:
        instance: Dagster's storage.
        bucket: The bucket.
        subscriber: Who is told.
        patch: For the clock.
    """

    def __init__(
        self, instance: DagsterInstance, bucket: Bucket, subscriber: Subscriber, patch: pytest.MonkeyPatch
    ) -> None:
        self._instance = instance
        self._bucket = bucket
        self._subscriber = subscriber
        self._clock = datetime.now(UTC)
        self._cursor: str | None = None
        patch.setattr(troubles, "now", lambda: self._clock)

    def begin(self, ago: timedelta = timedelta(0)) -> None:
        """Have the sensor look for the first time, so long ago."""
        self._clock = datetime.now(UTC) - ago
        self.look(timedelta(0))

    def look(self, after: timedelta = timedelta(minutes=1)) -> None:
        """One look of the sensor, so long after the last one."""
        self._clock += after
        with build_sensor_context(instance=self._instance, cursor=self._cursor) as context:
            result = report_troubles(context, pipeline=PipelineResource())
        assert isinstance(result, SensorResult)
        self._cursor = result.cursor

    def come_back(self) -> None:
        """Let the clock be the wall's, but for the time that a message takes."""
        self._clock = datetime.now(UTC) - SETTLED

    def told(self) -> str:
        """The one message that comes once nothing new has happened for a while."""
        self.look()
        assert self._subscriber.messages() == []
        self.look(SETTLED)
        [message] = self._subscriber.messages()
        return f"{message['Subject']}\n{message['Message']}"

    def nothing_more(self) -> None:
        """An hour later there is nothing to tell of."""
        self.look()
        self.look(QUIET)
        self.look(SETTLED)
        assert self._subscriber.messages() == []

    def lasting(self) -> list[str]:
        """States that last."""
        return list(json.loads(str(self._cursor))["gathered"]["states"])

    def put(self, key: str, text: str) -> None:
        self._bucket.write(f"uploads/{key}", text.encode(), "text/csv")

    def remove(self, key: str) -> None:
        self._bucket.delete(f"uploads/{key}")

    def run(self, job: str, *uploads: str) -> ExecuteInProcessResult:
        """Launch a job to its end."""
        definition = build_definitions().resolve_job_def(job)
        return definition.execute_in_process(
            instance=self._instance, partition_key=uploads[0] if uploads else None, raise_on_error=False
        )

    def ingest(self, *uploads: str) -> list[str]:
        """Upload and run, as `h3-pipeline ingest` does; what became of each."""
        report = ingest(list(uploads), bucket=self._bucket, instance=self._instance)
        return [each.status for each in report.uploads]


@pytest.fixture
def operator(
    aws: Aws, pipeline_bucket: Bucket, instance: DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Operator:
    subscriber = Subscriber(aws)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", aws.url)
    monkeypatch.setenv("H3_ALERTS_TOPIC_ARN", subscriber.topic)
    monkeypatch.setenv("H3_ROLLUP_RESOLUTIONS", "7")
    feeds = tmp_path / "feeds.yaml"
    feeds.write_text(FEEDS)
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(feeds))
    return Operator(instance, pipeline_bucket, subscriber, monkeypatch)


def rows() -> dict[str, int]:
    """Rows in ``trips`` by upload."""
    with open_warehouse(Settings.load(), None) as warehouse:
        return warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload")


def test_a_refused_upload(operator: Operator) -> None:
    operator.begin()
    operator.put("good.csv", trips_csv(5))
    operator.put("bad.csv", "x,y\n1,2\n")
    assert operator.ingest("good.csv", "bad.csv") == ["loaded", "refused"]
    message = operator.told()
    assert message.startswith("h3_pipeline: 1 run failed\n")
    assert "ingest_uploads, run " in message
    assert "1 of 2 uploads refused. bad.csv: No feed knows this header" in message
    assert Kind.RUN_FAILED.advice in message
    # mend the file and upload it again; the run's other uploads are loaded
    assert rows() == {"good.csv": 5}
    operator.put("bad.csv", trips_csv(4, first_minute=50))
    assert operator.ingest("bad.csv") == ["loaded"]
    assert rows() == {"good.csv": 5, "bad.csv": 4}
    operator.nothing_more()


def test_a_blocking_check(operator: Operator, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.begin()
    operator.put("a.csv", trips_csv(5))
    right = h3.latlng_to_cell
    with monkeypatch.context() as wrong:
        # another version of the library that has moved the cells, but for the point that the engine is tried with
        wrong.setattr(
            h3,
            "latlng_to_cell",
            lambda lat, lng, resolution: right(lat if lat == 40.7128 else lat + 0.01, lng, resolution),
        )
        with pytest.raises(PipelineError, match="1 blocking asset check failed"):
            operator.ingest("a.csv")
    message = operator.told()
    assert message.startswith("h3_pipeline: 1 run failed, 1 asset check failed\n")
    assert "upload_manifests.cells_equal_h3 in run " in message
    assert "it blocks what comes after" in message
    assert Kind.CHECK_FAILED.advice in message
    # nothing of that run was loaded; once the cause is gone, the run can be repeated
    assert rows() == {}
    assert instance.has_dynamic_partition(UPLOADS, "a.csv")
    assert operator.run("ingest_uploads", "a.csv").success
    assert rows() == {"a.csv": 5}
    operator.nothing_more()


def test_a_check_of_the_whole_warehouse(operator: Operator) -> None:
    operator.begin()
    operator.put("a.csv", trips_csv(5))
    assert operator.ingest("a.csv") == ["loaded"]
    operator.remove("a.csv")
    reconciled = operator.run("reconcile_warehouse")
    assert reconciled.success  # it tells, and blocks nothing
    message = operator.told()
    assert message.startswith("h3_pipeline: 1 asset check failed\n")
    assert "trips.uploads_are_accounted_for in run " in message
    assert "it blocks nothing" in message
    # the metadata names the uploads that differ: put them back, or retract them
    [failed] = [each for each in reconciled.get_asset_check_evaluations() if not each.passed]
    assert failed.metadata["deleted from the bucket"].value == ["a.csv"]
    operator.put("a.csv", trips_csv(5))
    assert all(each.passed for each in operator.run("reconcile_warehouse").get_asset_check_evaluations())
    operator.nothing_more()


def test_a_silent_feed(operator: Operator) -> None:
    operator.begin(ago=timedelta(hours=7))
    operator.come_back()
    operator.put("bikes/a.csv", trips_csv(5))
    assert operator.ingest("bikes/a.csv") == ["loaded"]  # of another feed
    message = operator.told()
    assert message.startswith("h3_pipeline: 1 feed is silent\n")
    assert "feed city-taxis: no upload that matches 'taxis/*' for more than 6 h" in message
    assert operator.lasting() == ["no_uploads:city-taxis"]
    operator.put("taxis/a.csv", trips_csv(5))
    operator.ingest("taxis/a.csv")
    operator.look()
    assert operator.lasting() == []
    operator.nothing_more()


def test_no_backup(operator: Operator) -> None:
    operator.begin(ago=timedelta(hours=37))
    operator.put("taxis/a.csv", trips_csv(5))
    operator.ingest("taxis/a.csv")
    operator.come_back()
    message = operator.told()
    assert message.startswith("h3_pipeline: 1 backup is stale\n")
    assert "there is no backup of the warehouse" in message
    assert operator.lasting() == ["backup_stale:none"]
    assert operator.run("back_up_warehouse").success
    operator.look()
    assert operator.lasting() == []
    operator.nothing_more()
