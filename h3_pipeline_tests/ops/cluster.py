"""An ECS cluster on loopback, with the daemon's own task in it, and the instance of ``infra/dagster`` on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ecs.models import ecs_backends
from moto.moto_api import state_manager
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from h3_pipeline.local.postgres import PostgresServer
from h3_pipeline_tests.servers.aws import REGION, Aws

INSTANCE = Path(__file__).resolve().parents[2] / "infra" / "dagster"
COLLECTOR = "collector"
LOG_GROUP = "/ecs/h3-clickhouse-app"


def instance_settings(**changes: Mapping[str, Any]) -> dict[str, Any]:
    """``dagster.yaml`` of production.

    Args:
        changes: What is put in place of single values, by section.
    """
    settings = yaml.safe_load((INSTANCE / "dagster.yaml").read_text())
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values}
    return settings


@dataclass
class Throttle:
    """Refuses the next calls of an API, as AWS does when there are too many.

    Attributes:
        refusals: Operation, error code and message of each refusal to come.
        calls: Operations that were called, refused ones too.
    """

    app: Any
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        self.calls.append(operation)
        if self.refusals and self.refusals[0][0] == operation:
            _, code, message = self.refusals.pop(0)
            headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-errortype", code)]
            start_response("400 Bad Request", headers)
            return [json.dumps({"__type": code, "message": message}).encode()]
        return self.app(environ, start_response)


@dataclass
class Cluster:
    """A cluster in which the daemon runs, and a task definition for runs.

    Attributes:
        aws: The services.
        throttle: Refuses calls.
        name: Its name.
        run_task_definition: ARN, with its revision, of the runs' task definition.
        subnet: Where the daemon's task is.
        security_group: That of the daemon's task.
    """

    aws: Aws
    throttle: Throttle
    name: str
    run_task_definition: str
    subnet: str
    security_group: str

    @property
    def ecs(self) -> Any:
        """A client."""
        return self.aws.client("ecs")

    def task(self, arn: str) -> dict[str, Any]:
        """What ECS says of a task."""
        return self.ecs.describe_tasks(cluster=self.name, tasks=[arn], include=["TAGS"])["tasks"][0]

    def run_tasks(self) -> list[str]:
        """ARNs of all tasks that were started for runs."""
        return self.ecs.list_tasks(cluster=self.name, family="h3-run")["taskArns"]

    def ends(self, arn: str, exit_code: int | None, reason: str) -> None:
        """Let a task stop by itself.

        Args:
            arn: The task.
            exit_code: Its container's; None if it was never started.
            reason: What ECS says of it.
        """
        tasks = ecs_backends[DEFAULT_ACCOUNT_ID][REGION].tasks[self.name]
        task = next(each for each in tasks.values() if each.task_arn == arn)
        task.last_status = "STOPPED"
        task.desired_status = "STOPPED"
        task.stopped_reason = reason
        for container in task.containers:
            container.exitCode = exit_code  # type: ignore[assignment] - moto leaves out what is None


@contextmanager
def ecs_cluster() -> Iterator[Cluster]:
    """Run ECS and what belongs to it."""
    throttle = Throttle(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, throttle, threaded=True)
    # or a task would go on to its end, a step each time that somebody looks
    state_manager.set_transition("ecs::task", {"progression": "manual", "times": 1_000_000})
    with _serving(server), ExitStack() as stack:
        stack.callback(state_manager.unset_transition, "ecs::task")
        yield _build(Aws(f"http://127.0.0.1:{server.server_port}"), throttle)


def _build(aws: Aws, throttle: Throttle) -> Cluster:
    ecs, ec2 = aws.client("ecs"), aws.client("ec2")
    ecs.create_cluster(clusterName="h3")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="runs", Description="runs", VpcId=vpc)["GroupId"]
    aws.client("logs").create_log_group(logGroupName=LOG_GROUP)
    return Cluster(aws, throttle, "h3", _task_definition(ecs, "h3-run", "run"), subnet, group)


def _task_definition(ecs: Any, family: str, main: str) -> str:
    logs = {"awslogs-group": LOG_GROUP, "awslogs-region": REGION, "awslogs-stream-prefix": "run"}
    containers = [
        {
            "name": name,
            "image": f"{name}:1",
            "essential": name == main,
            "memory": 256,
            "environment": [{"name": "S3_BUCKET", "value": "trips-data-bucket"}],
            "logConfiguration": {"logDriver": "awslogs", "options": logs},
        }
        for name in (main, COLLECTOR)
    ]
    answer = ecs.register_task_definition(
        family=family,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="1024",
        memory="2048",
        executionRoleArn="arn:aws:iam::123456789012:role/execution",
        taskRoleArn="arn:aws:iam::123456789012:role/task",
        containerDefinitions=containers,
    )
    return answer["taskDefinition"]["taskDefinitionArn"]


@contextmanager
def task_metadata(cluster: Cluster) -> Iterator[str]:
    """The address at which a task's containers learn about their task: that of the daemon."""
    _task_definition(cluster.ecs, "h3-daemon", "daemon")
    network = {"subnets": [cluster.subnet], "securityGroups": [cluster.security_group], "assignPublicIp": "DISABLED"}
    task = cluster.ecs.run_task(
        cluster=cluster.name,
        taskDefinition="h3-daemon",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )["tasks"][0]
    document = json.dumps({"Cluster": task["clusterArn"], "TaskARN": task["taskArn"]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, _serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def production_environment(cluster: Cluster, metadata: str, database: PostgresServer) -> dict[str, str]:
    """The variables that the stack gives webserver, daemon and runs."""
    return {
        **cluster.aws.environment,
        **database.environment(),
        "AWS_DEFAULT_REGION": REGION,
        "ECS_CONTAINER_METADATA_URI_V4": metadata,
        "DAGSTER_RUN_TASK_DEFINITION": cluster.run_task_definition,
        "DAGSTER_COMPUTE_LOGS_BUCKET": "h3-compute-logs",
    }


@contextmanager
def _serving(server: Any) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
