"""Alarms that reach the topic, and charts of the same metrics."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD

SILENCE_IS_FINE = cloudwatch.TreatMissingData.NOT_BREACHING
SILENCE_IS_BAD = cloudwatch.TreatMissingData.BREACHING


def metric(
    namespace: str, name: str, dimensions: Mapping[str, str], statistic: str, minutes: int = 1, label: str | None = None
) -> cloudwatch.Metric:
    """One metric over periods of some minutes."""
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic=statistic,
        period=Duration.minutes(minutes),
        label=label,
    )


class Alarms(Construct):
    """Alarms of one deployment; each says what is wrong, and reaches the topic when it starts and when it ends."""

    def __init__(self, scope: Construct, construct_id: str, *, prefix: str, topic: sns.ITopic) -> None:
        super().__init__(scope, construct_id)
        self._prefix = prefix
        self._action = actions.SnsAction(topic)
        self.all: list[cloudwatch.Alarm] = []

    def add(
        self,
        name: str,
        watched: cloudwatch.IMetric,
        comparison: cloudwatch.ComparisonOperator,
        threshold: float,
        *,
        description: str,
        periods: int = 5,
        breaching: int | None = None,
        silence: cloudwatch.TreatMissingData = SILENCE_IS_FINE,
    ) -> cloudwatch.Alarm:
        """Watch a metric.

        Args:
            name: The alarm's name, after the deployment's.
            watched: What it watches.
            comparison: How it compares with `threshold`.
            threshold: In the metric's unit.
            description: What is wrong when it rings.
            periods: Periods that are looked at.
            breaching: How many of them must be bad; all if None.
            silence: What no data means.
        """
        alarm = cloudwatch.Alarm(
            self,
            "".join(part.capitalize() for part in name.split("-")),
            alarm_name=f"{self._prefix}-{name}",
            alarm_description=description,
            metric=watched,
            comparison_operator=comparison,
            threshold=threshold,
            evaluation_periods=periods,
            datapoints_to_alarm=breaching,
            treat_missing_data=silence,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        self.all.append(alarm)
        return alarm
