#!/usr/bin/env python3
"""Sends this node's metrics of the minute just past to CloudWatch.

Runs on the node every minute, on the system's Python (3.9) and the AWS command line. Every metric is sent twice: with
the dimensions Cluster and Node, and with Cluster alone, so that an alarm need not know the nodes. A node that is silent
sends nothing: alarms treat missing data as bad.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

METRICS = {
    # of a server
    "QueryCount": "Count",
    "FailedQueryCount": "Count",
    "QueryDurationP50": "Milliseconds",
    "QueryDurationP95": "Milliseconds",
    "QueryDurationP99": "Milliseconds",
    "DiskFreePercent": "Percent",
    "DiskFreeBytes": "Bytes",
    "ReplicationLagSeconds": "Seconds",
    "ReplicationQueueSize": "Count",
    "ReadOnlyReplicas": "Count",
    "KeeperReachable": "Count",
    # of a Keeper; one on a server's host is seen through the server
    "KeeperIsLeader": "Count",
    "KeeperSyncedFollowers": "Count",
}
"""Names and CloudWatch's units."""

AUTHORITY = "/etc/h3-clickhouse/tls/ca.pem"
DATA = Path("/var/lib/clickhouse")
PROMETHEUS = "http://127.0.0.1:9363/metrics"
TIMEOUT_SECONDS = 20

# One row. Without queries there are no percentiles: those are then not sent.
SERVER_METRICS = """
WITH
    toStartOfMinute({now:DateTime('UTC')}) AS until,
    queries AS
    (
        SELECT type, query_duration_ms FROM system.query_log
        WHERE event_date >= toDate(until - 60) AND event_time >= until - 60 AND event_time < until AND is_initial_query
            AND type != 'QueryStart' AND user NOT IN ('admin', 'monitor')
    )
SELECT
    (SELECT count() FROM queries) AS QueryCount,
    (SELECT countIf(type != 'QueryFinish') FROM queries) AS FailedQueryCount,
    (SELECT if(count() = 0, NULL, quantileExact(0.5)(query_duration_ms)) FROM queries) AS QueryDurationP50,
    (SELECT if(count() = 0, NULL, quantileExact(0.95)(query_duration_ms)) FROM queries) AS QueryDurationP95,
    (SELECT if(count() = 0, NULL, quantileExact(0.99)(query_duration_ms)) FROM queries) AS QueryDurationP99,
    (SELECT min(100 * free_space / total_space) FROM system.disks WHERE type = 'Local') AS DiskFreePercent,
    (SELECT min(free_space) FROM system.disks WHERE type = 'Local') AS DiskFreeBytes,
    (SELECT max(absolute_delay) FROM system.replicas) AS ReplicationLagSeconds,
    (SELECT sum(queue_size) FROM system.replicas) AS ReplicationQueueSize,
    (SELECT countIf(is_readonly OR is_session_expired) FROM system.replicas) AS ReadOnlyReplicas
FORMAT JSONEachRow
"""

# Answered only by a Keeper that is part of a quorum.
KEEPER_PROBE = "SELECT count() FROM system.zookeeper WHERE path = '/'"


def main() -> None:
    """Collect, and hand over to CloudWatch."""
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)  # noqa: UP017 - no UTC in Python 3.9
    values = keeper_values() if os.environ["H3_ROLE"] == "keeper" else server_values(now)
    data = metric_data(values, now - timedelta(minutes=1), os.environ["H3_CLUSTER"], os.environ["H3_NODE"])
    command = ["aws", "cloudwatch", "put-metric-data", "--namespace", os.environ["H3_METRICS_NAMESPACE"]]
    subprocess.run([*command, "--metric-data", json.dumps(data)], check=True)


def server_values(now: datetime) -> dict:
    """What the server on this node says of itself."""
    try:
        # the log is written every few seconds
        ask("SYSTEM FLUSH LOGS query_log")
        values = json.loads(ask(SERVER_METRICS, param_now=f"{now:%Y-%m-%d %H:%M:%S}"))
    except (OSError, ValueError) as error:
        sys.exit(f"the server does not answer: {error}")
    try:
        ask(KEEPER_PROBE)
    except OSError:
        return {**values, "KeeperReachable": 0}
    return {**values, "KeeperReachable": 1}


def keeper_values() -> dict:
    """What the Keeper on this node says of itself, and how full its disk is."""
    try:
        with urllib.request.urlopen(PROMETHEUS, timeout=TIMEOUT_SECONDS) as answer:
            text = answer.read().decode()
    except OSError as error:
        sys.exit(f"Keeper does not answer: {error}")
    disk = shutil.disk_usage(DATA)
    return {
        "KeeperIsLeader": prometheus(text, "KeeperIsLeader"),
        "KeeperSyncedFollowers": prometheus(text, "KeeperSyncedFollowers"),
        "DiskFreePercent": 100 * disk.free / disk.total,
        "DiskFreeBytes": disk.free,
    }


def ask(sql: str, **parameters: str) -> str:
    """A statement to the server on this node."""
    url = os.environ.get("H3_SERVER_URL") or f"https://{os.environ['H3_NODE']}:8443/"
    query = urllib.parse.urlencode(parameters)
    login = {"X-ClickHouse-User": "monitor", "X-ClickHouse-Key": os.environ["H3_MONITOR_PASSWORD"]}
    request = urllib.request.Request(f"{url}?{query}", data=sql.encode(), headers=login)  # noqa: S310 - our own URL
    context = ssl.create_default_context(cafile=AUTHORITY) if url.startswith("https:") else None
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=context) as answer:  # noqa: S310
        return answer.read().decode()


def prometheus(text: str, name: str) -> object:
    """One asynchronous metric of a Prometheus page; None if it is not there."""
    found = re.search(rf"^ClickHouseAsyncMetrics_{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def metric_data(values: dict, at: datetime, cluster: str, node: str) -> list:
    """CloudWatch's MetricData: what is known of `METRICS`, by node and by cluster."""
    dimensions = [{"Name": "Cluster", "Value": cluster}, {"Name": "Node", "Value": node}]
    return [
        {"MetricName": name, "Unit": unit, "Value": float(values[name]), "Timestamp": at.isoformat(), "Dimensions": of}
        for name, unit in METRICS.items()
        if values.get(name) is not None
        for of in (dimensions, dimensions[:1])
    ]


if __name__ == "__main__":
    main()
