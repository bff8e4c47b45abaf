"""The metrics that alarms and dashboard watch, by the names of those that publish them."""

from aws_cdk import aws_cloudwatch as cloudwatch
from clickhouse.files.node.publish_metrics import METRICS as NODE_METRICS
from clickhouse.user_data import ClusterSettings

from h3_infra.constructs.alarms import metric
from h3_pipeline.telemetry.metric_names import NAMESPACE, Metric


def pipeline_metric(published: Metric, minutes: int = 1, statistic: str | None = None) -> cloudwatch.Metric:
    """The total of a metric of the pipeline.

    Args:
        published: The metric.
        minutes: Length of a period.
        statistic: The metric's own if None.
    """
    return metric(NAMESPACE, published.name, {}, statistic or published.statistic, minutes, label=published.name)


def node_metric(name: str, statistic: str, cluster: ClusterSettings, host: str) -> cloudwatch.Metric:
    """A metric of one ClickHouse node.

    Raises:
        KeyError: The nodes publish no metric of that name.
    """
    if name not in NODE_METRICS:
        raise KeyError(f"ClickHouse nodes publish no metric {name}")
    dimensions = {"Cluster": cluster.cluster, "Node": host}
    return metric(cluster.metrics_namespace, name, dimensions, statistic, label=host.split(".")[0])
