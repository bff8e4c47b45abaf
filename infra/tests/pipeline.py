"""One upload's way through a deployment that is in the emulator: bucket, event, queue, sensor, run, warehouse."""

import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import run_task

from h3_pipeline.errors import StorageError
from h3_pipeline.local.postgres import PostgresServer, find_programs, local_postgres
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from tests.authority import HOST, certificates
from tests.emulator.client import Aws
from tests.fargate import PROGRAMS, REPOSITORY, Fargate, eventually

BUCKET_CONFIGURATION = REPOSITORY / "infra" / "clickhouse" / "files" / "server" / "config.d" / "40-bucket.xml"
ROWS = 300
STATUSES = "import dagster; print(*(run.status.value for run in dagster.DagsterInstance.get().get_runs()))"
TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent"}
"""What S3 sends when events are switched on."""


def trips() -> bytes:
    """A clean CSV but for one row, which has no origin."""
    lines = ["started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,distance_km"]
    lines += [
        f"2024-03-{n % 28 + 1:02} 10:00:00,2024-03-{n % 28 + 1:02} 10:20:00,50.08,14.42,50.1,14.5,6"
        for n in range(ROWS)
    ]
    return "\n".join([*lines, "2024-03-01 10:00:00,,,,,,\n"]).encode()


def lacking() -> str | None:
    """What this machine lacks for it, in words; an error where it must not lack anything, as in CI."""
    try:
        find_programs()
    except StorageError as error:
        if os.environ.get("H3_PIPELINE_REQUIRE_POSTGRES", "") in ("", "0"):
            return str(error)
        raise
    return None


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A database for Dagster, in a folder that PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="h3-infra-postgres-") as name:
        Path(name).chmod(0o755)
        with local_postgres(Path(name) / "server", durable=False) as server:
            yield server


@contextmanager
def warehouse(aws: Aws, bucket: str, user: str, password: str, folder: Path) -> Iterator[ClickHouseServer]:
    """A server with the nodes' own configuration of the bucket and the cluster's certificate."""
    secret = json.loads((certificates() / "secret.json").read_text())
    certificate = folder / "server.pem"
    certificate.write_text(secret["certificate"] + secret["private_key"])
    around = {**aws.environment, "H3_BUCKET_URL": f"{aws.url}/{bucket}/"}
    with (
        patch.dict(os.environ, around),
        clickhouse_server(
            folder / "warehouse",
            user=user,
            password=password,
            chdb_options={"config-file": str(BUCKET_CONFIGURATION)},
            certificate=certificate,
            python=PROGRAMS / "python",
        ) as server,
    ):
        yield server


def ask(server: ClickHouseServer, settings: dict[str, str], password: str, query: str) -> list[list[str]]:
    """Rows that the warehouse gives."""
    url = f"https://{HOST}:{server.port}/?{urllib.parse.urlencode({'query': query})}"
    headers = {"X-ClickHouse-User": settings["CLICKHOUSE_USER"], "X-ClickHouse-Key": password}
    context = ssl.create_default_context(cadata=settings["CLICKHOUSE_CA_CERT"])
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context) as answer:
        return [line.split("\t") for line in answer.read().decode().splitlines()]


def operator(aws: Aws, *arguments: str) -> str:
    """What `infra/run_task.py` prints on stderr: the task's ARN."""
    program = [PROGRAMS / "python", REPOSITORY / "infra" / "run_task.py", *arguments]
    environment = {"PATH": os.environ["PATH"], **aws.environment}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


def _end(aws: Aws, name: str, arn: str, text: str) -> None:
    """Let a task end as ECS does, and see that whoever waits for it reads its log."""
    ecs, logs = aws.client("ecs"), aws.client("logs")
    container = next(
        each
        for each in ecs.describe_task_definition(taskDefinition=f"{name}-run")["taskDefinition"]["containerDefinitions"]
        if each["name"] == "run"
    )
    options = container["logConfiguration"]["options"]
    stream = f"{options['awslogs-stream-prefix']}/run/{arn.rpartition('/')[2]}"
    logs.create_log_stream(logGroupName=options["awslogs-group"], logStreamName=stream)
    event = {"timestamp": int(time.time() * 1000), "message": text}
    logs.put_log_events(logGroupName=options["awslogs-group"], logStreamName=stream, logEvents=[event])
    ecs.stop_task(cluster=name, task=arn)
    assert run_task.wait(ecs, name, arn)["name"] == "run"
    assert run_task.said(ecs, logs, name, arn) == [text]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run_once(aws: Aws, name: str, folder: Path) -> None:
    """Let the deployed daemon, code server and run task load one upload into a warehouse."""
    folder.mkdir()
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        tasks = Fargate(aws, name, folder, {})
        settings = tasks.settings("run")
        bucket, queue = settings["S3_BUCKET"], settings["UPLOADS_QUEUE_URL"]
        password = settings["CLICKHOUSE_PASSWORD"]
        server = stack.enter_context(warehouse(aws, bucket, settings["CLICKHOUSE_USER"], password, folder))
        metadata = stack.enter_context(tasks.task_metadata())
        tasks.addresses |= {
            "S3_ENDPOINT_URL": aws.url,
            "ECS_CONTAINER_METADATA_URI_V4": metadata,
            "CLICKHOUSE_HOST": HOST,
            "CLICKHOUSE_HTTP_PORT": str(server.port),
            # one server without a Keeper
            "CLICKHOUSE_CLUSTER": "",
            "DAGSTER_CODE_SERVER_HOST": "127.0.0.1",
            "DAGSTER_CODE_SERVER_PORT": str(free_port()),
            # no collector is here
            "OTEL_EXPORTER_OTLP_ENDPOINT": "",
            **database.environment(),
        }
        stack.callback(tasks.stop)
        try:
            _life(aws, tasks, server, bucket, queue, settings)
        except BaseException:
            print(tasks.log())
            raise


def _life(
    aws: Aws, tasks: Fargate, server: ClickHouseServer, bucket: str, queue: str, settings: dict[str, str]
) -> None:
    s3, sqs, secrets = aws.client("s3"), aws.client("sqs"), aws.client("secretsmanager")

    def waiting() -> int:
        """Messages that nobody has received."""
        tasks.check()
        names = ["ApproximateNumberOfMessages"]
        found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return int(found[names[0]])

    tasks.start("code")
    tasks.start("daemon")
    # two looks: after the first, the sensor goes by the queue alone for an hour
    for _ in range(2):
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(TEST_EVENT))
        eventually("the sensor's look at the queue", lambda: waiting() == 0)

    s3.put_object(Bucket=bucket, Key="uploads/city/a b.csv", Body=trips())
    (run,) = eventually("a task for the run", tasks.launched_runs)
    assert waiting() == 0

    # the password is changed while the task starts, with what it was told before
    told = tasks.environment("run")
    new = {"username": settings["CLICKHOUSE_USER"], "password": uuid4().hex}
    secrets.put_secret_value(SecretId=settings["CLICKHOUSE_SECRET_ARN"], SecretString=json.dumps(new))
    server.set_password(new["password"])
    more = {each["name"]: each["value"] for each in run.get("environment", [])}
    process = tasks.start("run", run["command"], {"CLICKHOUSE_PASSWORD": told["CLICKHOUSE_PASSWORD"], **more})
    assert process.wait(300) == 0
    assert tasks.ask("python", "-c", STATUSES).split() == ["SUCCESS"]

    loaded = ask(
        server,
        settings,
        new["password"],
        f"SELECT upload, count(), countIf(origin_h3 = 0) FROM {settings['CLICKHOUSE_DATABASE']}.trips GROUP BY upload",
    )
    assert loaded == [["city/a b.csv", str(ROWS), "0"]]
    refused = {each.exception_code for each in server.statements()}
    assert 516 in refused  # the password of before; that of the secret then did

    # whoever operates it asks in a task of the same kind
    question = ["h3-pipeline", "query", "--format", "json", "SELECT count() AS trips FROM trips"]
    arn = operator(aws, "--no-wait", "dev", *question)
    (asked,) = (each for each in tasks.launched_runs() if each["command"][0] == "h3-pipeline")
    assert tasks.start("run", asked["command"], name="operator").wait(120) == 0
    answer = (tasks.folder / "operator.log").read_text()
    assert json.loads(answer) == [{"trips": ROWS}], answer
    _end(aws, tasks.name, arn, answer)

    keys = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert {key.partition("/")[0] for key in keys} >= {"uploads", "processed", "rejected", "compute-logs"}
