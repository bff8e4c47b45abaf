"""Who is told of alerts: a queue behind an SNS topic."""

import json
from typing import Any

from h3_pipeline_tests.servers.aws import Aws


class Subscriber:
    """A topic, and a queue that gets its messages."""

    def __init__(self, aws: Aws) -> None:
        sns, self._sqs = aws.client("sns"), aws.client("sqs")
        self.topic: str = sns.create_topic(Name="alerts")["TopicArn"]
        self._queue: str = self._sqs.create_queue(QueueName="people")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])

    def messages(self) -> list[dict[str, Any]]:
        """What has come since the last look."""
        found = []
        while got := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in got:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return found
