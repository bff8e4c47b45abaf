"""The sensor on a queue: at least once, in any order, whatever is in it; nothing is missed or run twice."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from dagster import DagsterInstance, SensorEvaluationContext, SensorResult
from moto.server import ThreadedMotoServer

from h3_pipeline import sensors
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.dagster_project.ticks import end_runs, look, requested, submit


class Queue:
    """The bucket's notifications, on a server of SQS's protocol."""

    def __init__(self, client: Any, url: str, bucket: Bucket) -> None:
        self._client, self.url, self._bucket = client, url, bucket

    def send(self, body: str) -> None:
        self._client.send_message(QueueUrl=self.url, MessageBody=body)

    def tell(self, key: str, event: str = "ObjectCreated:Put") -> None:
        """What S3 says of an object."""
        s3 = {"bucket": {"name": self._bucket.access.name}, "object": {"key": quote_plus(f"uploads/{key}")}}
        self.send(json.dumps({"Records": [{"eventName": event, "s3": s3}]}))

    def put(self, key: str, rows: int = 2) -> None:
        """Write an upload, and tell of it."""
        self._bucket.write(f"uploads/{key}", trips_csv(rows).encode(), "text/csv")
        self.tell(key)

    def count(self) -> int:
        """Messages, hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def queue(server: str, pipeline_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Queue:
    client = boto3.client("sqs", endpoint_url=server, region_name="us-east-1")
    queue = Queue(client, client.create_queue(QueueName=pipeline_bucket.access.name)["QueueUrl"], pipeline_bucket)
    monkeypatch.setenv("UPLOADS_QUEUE_URL", queue.url)
    monkeypatch.setattr(sensors, "LONG_POLL_SECONDS", 0)
    monkeypatch.setattr(sensors, "HIDDEN_SECONDS", 0)  # what was not deleted is there again at once
    monkeypatch.setattr(sensors, "WAITING_SECONDS", 0)
    monkeypatch.setattr(sensors, "MAX_MESSAGES", 50)
    return queue


@pytest.fixture
def started(pipeline: PipelineResource, instance: DagsterInstance, queue: Queue) -> str | None:
    """A cursor that says that the bucket was listed a moment ago."""
    return look(instance, pipeline).cursor


@pytest.fixture
def tick(pipeline: PipelineResource, instance: DagsterInstance, started: str) -> Callable[[], list[list[str]]]:
    """One tick with all that follows; the partitions of its runs."""
    return lambda: submit(look(instance, pipeline, started), instance)


def test_each_arrival_once_and_a_message_lives_until_its_run_exists(
    pipeline: PipelineResource,
    instance: DagsterInstance,
    queue: Queue,
    started: str,
    tick: Callable[[], list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["a b+c.csv", "d/日本 %41.csv", "e.csv"]
    for name in names:
        queue.put(name)
    queue.tell(names[0])  # a duplicate
    monkeypatch.setattr(sensors, "MAX_MESSAGES", 10)
    lost: SensorResult = look(instance, pipeline, started)  # the daemon dies: nothing of it is done
    assert sorted(chain(*requested(lost, instance))) == ["a b+c.csv", "d/日本 %2541.csv", "e.csv"]
    assert queue.count() == 4
    assert sorted(chain(*tick())) == ["a b+c.csv", "d/日本 %2541.csv", "e.csv"]
    assert queue.count() == 4
    assert tick() == []
    assert queue.count() == 0
    queue.tell(names[1])  # a late duplicate
    assert tick() == []
    assert queue.count() == 0


def test_out_of_order_only_what_the_bucket_holds_counts(
    instance: DagsterInstance, queue: Queue, pipeline_bucket: Bucket, tick: Callable[[], list[list[str]]]
) -> None:
    queue.put("a.csv")
    assert tick() == [["a.csv"]]
    queue.put("a.csv", rows=3)  # while the first is being run
    queue.tell("a.csv", "ObjectRemoved:Delete")  # of an earlier life
    queue.put("gone.csv")
    pipeline_bucket.delete("uploads/gone.csv")
    queue.tell("folder/")
    assert tick() == []
    assert queue.count() == 2  # those that tell of a.csv
    end_runs(instance)
    assert tick() == [["a.csv"]]
    tick()
    assert queue.count() == 0


def test_poison_is_said_once_and_left_and_blocks_nothing(
    instance: DagsterInstance,
    queue: Queue,
    tick: Callable[[], list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for body in ("poison", '{"Records": [{}]}', json.dumps({"Event": "s3:TestEvent"})):
        queue.send(body)
    queue.put("a.csv")
    said = _warnings(monkeypatch)
    assert tick() == [["a.csv"]]
    assert tick() == []
    assert queue.count() == 2
    assert len(said) == 2
    assert all("is left alone" in text for text in said)


def _warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What sensors warn of."""
    said: list[str] = []

    class Log:
        def warning(self, text: str, *arguments: object) -> None:
            said.append(text % arguments)

    monkeypatch.setattr(SensorEvaluationContext, "log", Log())
    return said


def test_what_s3_did_not_tell_is_found_by_the_listing(
    pipeline: PipelineResource,
    instance: DagsterInstance,
    queue: Queue,
    started: str,
    put: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("untold.csv", trips_csv(2))
    assert not look(instance, pipeline, started).run_requests
    monkeypatch.setattr(sensors, "LISTING_INTERVAL", timedelta(0))
    assert requested(look(instance, pipeline, started), instance) == [["untold.csv"]]


def test_a_queue_that_cannot_be_read_is_made_up_for_by_the_listing(
    pipeline: PipelineResource,
    instance: DagsterInstance,
    queue: Queue,
    started: str,
    put: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put("a.csv", trips_csv(2))
    monkeypatch.setenv("UPLOADS_QUEUE_URL", f"{queue.url}-that-is-not-there")
    said = _warnings(monkeypatch)
    assert requested(look(instance, pipeline, started), instance) == [["a.csv"]]
    assert len(said) == 1
    assert "UPLOADS_QUEUE_URL" in said[0]
