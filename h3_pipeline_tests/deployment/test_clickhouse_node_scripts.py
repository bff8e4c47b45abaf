"""The scripts that run on a node, against a ClickHouse server, Secrets Manager and CloudWatch."""

import ast
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from h3_pipeline.telemetry import metric_names
from h3_pipeline_tests.deployment.clickhouse_node import CLUSTER, NODE, lay_out
from h3_pipeline_tests.deployment.node_scripts import FOLDER, load
from h3_pipeline_tests.servers.aws import Aws, aws_services
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from infra.clickhouse.user_data import USERS, environment

PASSWORD = "5e" * 24
NAMESPACE = CLUSTER.metrics_namespace


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with aws_services() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A server with a node's configuration, logs included, whose only user is `monitor`."""
    folder = tmp_path_factory.mktemp("server")
    lay_out(folder / "etc", NODE, logs=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environment(NODE), "H3_CLUSTER_PASSWORD": "c"}.items():
            patch.setenv(name, value)
        patch.setenv("H3_ADMIN_PASSWORD_HASH", "a" * 64)
        patch.setenv("H3_MONITOR_PASSWORD_HASH", "b" * 64)
        options = {"config-file": str(folder / "etc" / "config.xml")}
        with clickhouse_server(folder / "data", user="monitor", password=PASSWORD, chdb_options=options) as running:
            yield running


def program(name: str, aws: Aws, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script as systemd does: with the node's variables and a command `aws`."""
    path = f"{Path(__file__).parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**environment(NODE), **aws.environment, "AWS_DEFAULT_REGION": "us-east-1", "PATH": path, **variables}
    return subprocess.run(
        [sys.executable, "-B", FOLDER / f"{name}.py"], env=settings, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_python_as_old_as_the_nodes_and_need_nothing_installed(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {script.stem for script in FOLDER.glob("*.py")}
    assert {module.split(".")[0] for module in modules} - set(sys.stdlib_module_names) <= ours


def measured(aws: Aws, name: str, dimensions: Mapping[str, str], statistic: str = "Sum") -> list[float]:
    """What CloudWatch has of a metric, of the last hour."""
    now = datetime.now(UTC)
    answer = aws.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=[statistic],
    )
    return [point[statistic] for point in answer["Datapoints"]]


def test_a_servers_queries_and_disk_reach_cloudwatch(server: ClickHouseServer, aws: Aws) -> None:
    url = f"http://{server.host}:{server.port}/"
    done = program("publish_metrics", aws, H3_SERVER_URL=url, H3_MONITOR_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr

    by_node = {"Cluster": CLUSTER.cluster, "Node": NODE.name}
    for dimensions in (by_node, {"Cluster": CLUSTER.cluster}):
        (free,) = measured(aws, "DiskFreePercent", dimensions, "Minimum")
        assert 0 < free < 100
        assert measured(aws, "KeeperReachable", dimensions) == [0]  # there is none
        assert measured(aws, "ReadOnlyReplicas", dimensions) == [0]
        assert len(measured(aws, "QueryCount", dimensions)) == 1


def test_a_minutes_queries_are_counted_with_their_failures(
    server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = load("publish_metrics")
    monkeypatch.setenv("H3_SERVER_URL", f"http://{server.host}:{server.port}/")
    monkeypatch.setenv("H3_MONITOR_PASSWORD", PASSWORD)
    before = datetime.now(UTC)
    for _ in range(3):
        metrics.ask("SELECT sum(number) FROM numbers(1000)")
    for failing in ("SELECT throwIf(1)", "SELECT nothing FROM nowhere"):
        with pytest.raises(OSError, match=r"HTTP Error"):
            metrics.ask(failing)
    after = datetime.now(UTC)

    # the minutes in which that happened, as the timer asks for each when it is over
    minutes = {(at + timedelta(minutes=1)).replace(second=0, microsecond=0) for at in (before, after)}
    found = [metrics.server_values(minute) for minute in sorted(minutes)]
    # the engine's own user is none of those that are left out; the script's statements are among them
    assert sum(int(values["FailedQueryCount"]) for values in found) >= 2
    assert sum(int(values["QueryCount"]) for values in found) >= 5
    for values in found:
        if int(values["QueryCount"]):
            assert values["QueryDurationP50"] <= values["QueryDurationP95"] <= values["QueryDurationP99"]

    quiet = metrics.server_values(before - timedelta(days=1))
    assert int(quiet["QueryCount"]) == int(quiet["FailedQueryCount"]) == 0
    assert quiet["QueryDurationP50"] is None
    names = [datum["MetricName"] for datum in metrics.metric_data(quiet, before, "c", "n")]
    assert "QueryDurationP50" not in names
    assert names.count("QueryCount") == 2


def test_a_server_that_is_away_is_one_line(aws: Aws) -> None:
    done = program("publish_metrics", aws, H3_SERVER_URL="http://127.0.0.1:1/", H3_MONITOR_PASSWORD=PASSWORD)
    assert done.returncode == 1
    assert re.fullmatch(r"the server does not answer: .*Connection refused.*\n", done.stderr)


def test_names_are_those_of_no_other_metric() -> None:
    metrics = load("publish_metrics")
    assert metrics.METRICS.keys().isdisjoint(metric_names.BY_NAME) or NAMESPACE != metric_names.NAMESPACE
    produced = set(re.findall(r" AS (\w+)[,\n]", metrics.SERVER_METRICS)) - {"until"}
    keeper = {"KeeperIsLeader", "KeeperSyncedFollowers"}
    assert produced - {"queries"} | {"KeeperReachable"} | keeper == metrics.METRICS.keys()


PROMETHEUS = """# HELP ClickHouseAsyncMetrics_KeeperIsLeader 1 if Keeper is a leader, 0 otherwise.
# TYPE ClickHouseAsyncMetrics_KeeperIsLeader gauge
ClickHouseAsyncMetrics_KeeperIsLeader {leader}
ClickHouseAsyncMetrics_KeeperSyncedFollowers {followers}
"""


@pytest.mark.parametrize(
    ("leader", "followers", "problems"),
    [
        (1, 2, []),
        (0, 0, []),
        (1, 0, ["leads nobody"]),
        (None, None, ["says nothing of its quorum"]),
    ],
)
def test_a_keeper_is_read_from_its_prometheus_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leader: int | None, followers: int | None, problems: list[str]
) -> None:
    page = "" if leader is None else PROMETHEUS.format(leader=leader, followers=followers)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Page) as http:
        Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        health = load("health")
        keeper_values = health.keeper_values
        monkeypatch.setitem(keeper_values.__globals__, "PROMETHEUS", f"http://127.0.0.1:{http.server_port}/metrics")
        monkeypatch.setitem(keeper_values.__globals__, "DATA", tmp_path)
        values = keeper_values()
        found = health.keeper_health()
        http.shutdown()
    assert (values["KeeperIsLeader"], values["KeeperSyncedFollowers"]) == (leader, followers)
    assert 0 < values["DiskFreePercent"] < 100
    assert found == {"tables": 0, "leader": bool(leader), "problems": problems}


def test_a_server_without_keeper_is_not_well(server: ClickHouseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H3_SERVER_URL", f"http://{server.host}:{server.port}/")
    monkeypatch.setenv("H3_MONITOR_PASSWORD", PASSWORD)
    health = load("health")
    assert json.loads(load("publish_metrics").ask(health.REPLICAS)).keys() == {
        "tables", "read_only", "lag_seconds", "lost_parts", "missing"
    }  # fmt: skip
    (problem,) = health.server_health()["problems"]
    assert problem.startswith("does not answer, or Keeper does not")


TLS = {name: f"-----BEGIN {name}-----\nAA==\n-----END {name}-----\n" for name in ("certificate", "private_key", "ca")}


def secret(aws: Aws, name: str, content: Mapping[str, Any]) -> str:
    return aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(content))["ARN"]


def test_secrets_are_written_for_the_services_alone_and_local_passwords_stay(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch = load("fetch_secrets")
    monkeypatch.setattr(fetch, "ETC", tmp_path)
    authorities = tmp_path / "system.pem"
    authorities.write_text("the system's\n")
    monkeypatch.setattr(fetch, "SYSTEM_AUTHORITIES", authorities)
    monkeypatch.setattr(fetch.shutil, "chown", lambda path, group: None)  # there is no group clickhouse here
    monkeypatch.setenv("PATH", f"{Path(__file__).parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name, value in {**aws.environment, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("H3_TLS_SECRET", secret(aws, "tls", TLS))
    monkeypatch.setenv("H3_CLUSTER_SECRET", secret(aws, "cluster", {"password": "clusterpassword"}))

    fetch.main()
    first = fetch.read(tmp_path / "passwords.env")
    fetch.main()

    assert fetch.read(tmp_path / "passwords.env") == first
    server_sees = fetch.read(tmp_path / "secrets.env")
    assert server_sees["H3_CLUSTER_PASSWORD"] == "clusterpassword"
    for name in ("H3_ADMIN_PASSWORD", "H3_MONITOR_PASSWORD"):
        assert server_sees[f"{name}_HASH"] == hashlib.sha256(first[name].encode()).hexdigest()
        assert first[name] not in (tmp_path / "secrets.env").read_text()
    assert (tmp_path / "tls" / "certificate.pem").read_text() == TLS["certificate"]
    assert (tmp_path / "tls" / "ca-bundle.pem").read_text() == TLS["ca"] + "the system's\n"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    del modes["system.pem"]
    assert set(modes.values()) == {0o600, 0o640}
    assert {modes["passwords.env"], modes["secrets.env"]} == {0o600}
    assert "clusterpassword" not in "".join(capfd.readouterr())


def test_a_password_that_a_shell_would_mangle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="H3_CLUSTER_PASSWORD may only have letters and digits"):
        load("fetch_secrets").write_passwords("a'b $c", tmp_path)


def test_users_are_hashed_as_the_rotation_hashes_them() -> None:
    filled = load("apply_access").fill_in("'@loader_hash@' '@loader_salt@' @database@ @scratch@", "db", {"loader": "p"})
    digest, salt = re.findall(r"'(\w+)'", filled)
    assert hashlib.sha256(f"p{salt}".encode()).hexdigest() == digest
    assert filled.endswith("`db` db__*")
    assert load("apply_access").USERS == USERS
