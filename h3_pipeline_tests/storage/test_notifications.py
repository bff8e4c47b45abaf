"""What the messages of a queue say, and what is none of them."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from h3_pipeline.errors import StorageError
from h3_pipeline.storage.notifications import NotANotification, NotificationQueue, object_keys

BUCKET = "trips"


def record(key: str, event: str = "ObjectCreated:Put", bucket: str = BUCKET) -> dict[str, Any]:
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "0A"}}}


def message(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": list(records)})


def event_bridge(key: str, kind: str = "Object Created", bucket: str = BUCKET) -> str:
    detail = {"bucket": {"name": bucket}, "object": {"key": key}}
    return json.dumps({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail})


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (message(record("uploads/a.csv")), ("uploads/a.csv",)),
        (message(record("uploads/a+b%2Bc%25d.csv")), ("uploads/a b+c%d.csv",)),
        (message(record("uploads/%E6%97%A5%E6%9C%AC+%F0%9F%98%80.csv")), ("uploads/日本 😀.csv",)),
        (message(record("uploads/a", "s3:ObjectCreated:CompleteMultipartUpload")), ("uploads/a",)),
        (
            message(record("uploads/a"), record("b", "ObjectRemoved:Delete"), record("uploads/c")),
            ("uploads/a", "uploads/c"),
        ),
        (message(record("uploads/a", "LifecycleTransition")), ()),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}), ()),
        (json.dumps({"Type": "Notification", "Message": message(record("uploads/a+b"))}), ("uploads/a b",)),
        (event_bridge("uploads/a+b%20.csv"), ("uploads/a+b%20.csv",)),
        (event_bridge("uploads/a", "Object Deleted"), ()),
        (message(), ()),
    ],
)
def test_keys(body: str, keys: tuple[str, ...]) -> None:
    assert object_keys(body, BUCKET) == keys


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"Records": 1}',
        '{"Records": [{}]}',
        '{"Type": "Notification", "Message": "hello"}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
        "[" * 100_000,
        message(record("%FF.csv")),
        message(record("a", bucket="another")),
        event_bridge("a", bucket="another"),
    ],
)
def test_what_is_no_notification(body: str) -> None:
    with pytest.raises(NotANotification):
        object_keys(body, BUCKET)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")


def test_a_queue(server: str, credentials: None) -> None:
    client = boto3.client("sqs", endpoint_url=server, region_name="eu-central-1")
    url = client.create_queue(QueueName="uploads")["QueueUrl"]
    queue = NotificationQueue(url, BUCKET, "eu-central-1")
    assert queue.receive(wait_seconds=0, hidden_seconds=30) == []
    for number in range(13):
        client.send_message(QueueUrl=url, MessageBody=message(record(f"uploads/{number}.csv")))
    client.send_message(QueueUrl=url, MessageBody="poison")
    found = []
    while batch := queue.receive(wait_seconds=0, hidden_seconds=30):
        assert len(batch) <= 10
        found += batch
    assert sorted(key for each in found for key in each.keys) == sorted(f"uploads/{n}.csv" for n in range(13))
    [poison] = [each for each in found if each.fault]
    assert "not a notification" in str(poison.fault)
    assert {each.deliveries for each in found} == {1}
    queue.delete([each for each in found if not each.fault])
    queue.hide([poison], 0)
    [again] = queue.receive(wait_seconds=1, hidden_seconds=30)
    assert (again.message_id, again.deliveries) == (poison.message_id, 2)


def test_no_such_queue(server: str, credentials: None) -> None:
    with pytest.raises(StorageError, match=r"^UPLOADS_QUEUE_URL: queue http.*/none cannot be read: ") as error:
        NotificationQueue(f"{server}/123456789012/none", BUCKET, "eu-central-1").receive(
            wait_seconds=0, hidden_seconds=1
        )
    assert "very-secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "endpoint", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("http://localhost:4566/000000000000/q", "http://localhost:4566", "us-east-1"),
    ],
)
def test_where_a_queue_is(url: str, endpoint: str, region: str) -> None:
    client = NotificationQueue(url, BUCKET, "us-east-1")._client
    assert (client.meta.endpoint_url, client.meta.region_name) == (endpoint, region)
