"""The bucket's event notifications, read from an SQS queue.

SQS delivers a message at least once and in any order, so a notification says only *which object to
look at*; what the object is now, the bucket itself tells. A message is deleted when nothing is left
to do about it, and comes back by itself if it is not.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import boto3.session
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from h3_pipeline.errors import StorageError
from h3_pipeline.storage.bucket import BucketAccess

MESSAGES_PER_CALL = 10
"""What SQS gives, hides and deletes at once."""

_AWS_HOST = re.compile(r"sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?$")


class NotANotification(ValueError):
    """A message is none of those that S3 sends."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message.

    Attributes:
        message_id: SQS's name for it.
        receipt: What this delivery is deleted by.
        deliveries: How often it was delivered, this time included.
        keys: Object keys that it names; there may be none, as in S3's test message.
        fault: Why it cannot be read, else None.
    """

    message_id: str
    receipt: str
    deliveries: int
    keys: tuple[str, ...] = ()
    fault: str | None = None


class NotificationQueue:
    """The queue.

    Every method raises `StorageError` with one clear line when the queue cannot be used.

    Args:
        url: The queue's URL, on AWS or on another server.
        bucket: Name of the bucket that the messages must be about.
        region: Region for a URL that does not name one.
    """

    def __init__(self, url: str, bucket: str, region: str) -> None:
        parts = urlsplit(url)
        aws = _AWS_HOST.match(parts.hostname or "")
        endpoint = None if aws else f"{parts.scheme}://{parts.netloc}"
        local = BucketAccess(bucket, region, endpoint).on_this_machine
        self.url = url
        self._bucket = bucket
        self._client = boto3.session.Session().client(
            "sqs",
            region_name=aws["region"] if aws else region,
            endpoint_url=endpoint,
            config=Config(
                retries={"mode": "standard", "max_attempts": 2},
                connect_timeout=5,
                read_timeout=25,  # a long poll is 20 s at most
                proxies={} if local else None,
            ),
        )

    def __str__(self) -> str:
        return f"queue {self.url}"

    def receive(self, *, wait_seconds: int, hidden_seconds: int) -> list[Notification]:
        """At most ten messages.

        Args:
            wait_seconds: How long to wait for the first, at most 20.
            hidden_seconds: When they come back if they are not deleted by then.
        """
        answer = self._call(
            self._client.receive_message,
            "cannot be read",
            MaxNumberOfMessages=MESSAGES_PER_CALL,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=hidden_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [self._notification(message) for message in answer.get("Messages", ())]

    def _notification(self, message: dict[str, Any]) -> Notification:
        name, receipt = message["MessageId"], message["ReceiptHandle"]
        deliveries = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
        try:
            return Notification(name, receipt, deliveries, object_keys(message["Body"], self._bucket))
        except NotANotification as fault:
            return Notification(name, receipt, deliveries, fault=str(fault))

    def delete(self, notifications: Sequence[Notification]) -> None:
        """Delete messages; one that cannot be comes back and is deleted then."""
        for batch in _batches(notifications):
            entries = [{"Id": str(place), "ReceiptHandle": each.receipt} for place, each in enumerate(batch)]
            self._call(self._client.delete_message_batch, "cannot be changed", Entries=entries)

    def hide(self, notifications: Sequence[Notification], seconds: int) -> None:
        """Have messages come back only after some time."""
        for batch in _batches(notifications):
            entries = [
                {"Id": str(place), "ReceiptHandle": each.receipt, "VisibilityTimeout": seconds}
                for place, each in enumerate(batch)
            ]
            self._call(self._client.change_message_visibility_batch, "cannot be changed", Entries=entries)

    def _call(self, operation: Any, failure: str, **arguments: Any) -> Any:
        try:
            return operation(QueueUrl=self.url, **arguments)
        except ClientError as error:
            detail = error.response.get("Error", {})
            raise StorageError(
                f"UPLOADS_QUEUE_URL: {self} {failure}: {detail.get('Code', '')} {detail.get('Message', '')}".rstrip()
            ) from error
        except BotoCoreError as error:
            raise StorageError(f"UPLOADS_QUEUE_URL: {self} {failure}: {error}") from error


def object_keys(body: str, bucket: str) -> tuple[str, ...]:
    """Keys of the objects that a message says were written.

    S3's own messages are read, also as SNS wraps them, and those of EventBridge. Only S3's own spell
    keys as in a form: a space as ``+``, the rest percent-encoded.

    Args:
        body: The message's body.
        bucket: Name of the bucket that the message must be about.

    Raises:
        NotANotification: It is something else; the message says what.
    """
    try:
        return _keys(json.loads(body), bucket)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, NotANotification):
            raise
        raise NotANotification(f"it is not a notification of S3 ({type(error).__name__})") from None


def _keys(document: Any, bucket: str) -> tuple[str, ...]:
    if document.get("Type") == "Notification" and "Message" in document:  # SNS
        document = json.loads(document["Message"])
    if document.get("Event") == "s3:TestEvent":
        return ()
    if document.get("source") == "aws.s3":  # EventBridge
        if document["detail-type"] != "Object Created":
            return ()
        detail = document["detail"]
        _check_bucket(detail["bucket"]["name"], bucket)
        return (str(detail["object"]["key"]),)
    keys = []
    for record in document["Records"]:
        # ObjectRemoved, ObjectRestore, lifecycle: nothing arrives by them
        if not record["eventName"].removeprefix("s3:").startswith("ObjectCreated:"):
            continue
        _check_bucket(record["s3"]["bucket"]["name"], bucket)
        keys.append(unquote_plus(record["s3"]["object"]["key"], errors="strict"))
    return tuple(keys)


def _check_bucket(found: str, expected: str) -> None:
    if found != expected:
        raise NotANotification(f"it is about the bucket {found!r}, not {expected!r}")


def _batches(notifications: Sequence[Notification]) -> list[Sequence[Notification]]:
    return [notifications[n : n + MESSAGES_PER_CALL] for n in range(0, len(notifications), MESSAGES_PER_CALL)]
