"""Real S3 clients through the proxy: boto3 and the embedded engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from h3_pipeline_tests.servers.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, eventually, s3_client
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.servers.s3_proxy import S3FaultProxy, SeenRequest, internal_error, s3_fault_proxy, slow_down

ONCE = {"total_max_attempts": 1}


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[S3FaultProxy]:
    with s3_fault_proxy(s3_endpoint) as proxy:
        yield proxy


@pytest.fixture
def s3(proxy: S3FaultProxy) -> Any:
    """A client that goes through the proxy and never tries again."""
    return s3_client(proxy.url, retries=ONCE)


@pytest.fixture
def direct(s3_endpoint: str) -> Any:
    """A client that goes round the proxy."""
    return s3_client(s3_endpoint)


def read(client: Any, key: str) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def exists(client: Any, key: str) -> bool:
    return client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("KeyCount", 0) == 1


# Passing through


@pytest.mark.parametrize("key", ["plain.csv", "with space+plus & ñ.csv", "a/b=1/%2F.csv"])
def test_put_get_list_delete(s3: Any, direct: Any, proxy: S3FaultProxy, key: str) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"a,b\n1,2\n", Metadata={"feed": "x"})
    assert read(direct, key) == b"a,b\n1,2\n"
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert (head["ContentLength"], head["Metadata"]) == (8, {"feed": "x"})
    assert read(s3, key) == b"a,b\n1,2\n"
    assert exists(s3, key)
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert not exists(direct, key)
    [put] = proxy.requests("^PUT ")
    assert (put.path, put.status, put.forwarded) == (f"/{BUCKET}/{key}", 200, True)
    assert put.request_bytes >= 8


def test_range(s3: Any, proxy: S3FaultProxy) -> None:
    s3.put_object(Bucket=BUCKET, Key="range", Body=bytes(range(100)))
    response = s3.get_object(Bucket=BUCKET, Key="range", Range="bytes=10-19")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert response["Body"].read() == bytes(range(10, 20))
    assert proxy.requests("^GET .*/range")[0].headers["range"] == "bytes=10-19"


def test_multipart_upload_and_download(s3: Any, direct: Any, proxy: S3FaultProxy) -> None:
    content = os.urandom(17 * 1024 * 1024)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(content), BUCKET, "large", Config=config)
    assert proxy.count(r"^PUT .*/large\?.*partNumber=") == 4
    copy = io.BytesIO()
    s3.download_fileobj(BUCKET, "large", copy, Config=config)
    assert proxy.count("^GET .*/large") == 4
    assert hashlib.md5(copy.getvalue()).digest() == hashlib.md5(content).digest()
    assert hashlib.md5(read(direct, "large")).digest() == hashlib.md5(content).digest()


def test_a_wrong_signature_is_still_refused(proxy: S3FaultProxy) -> None:
    stranger = s3_client(proxy.url, retries=ONCE)
    stranger._request_signer._credentials.secret_key = "wrong"
    with pytest.raises(ClientError) as caught:
        stranger.list_objects_v2(Bucket=BUCKET)
    assert caught.value.response["Error"]["Code"] == "SignatureDoesNotMatch"


ENGINE = """
import json, sys, chdb
connection = chdb.connect(":memory:")
for line in sys.stdin:
    try:
        print(json.dumps(connection.query(json.loads(line), "TSVRaw").bytes().decode()), flush=True)
    except RuntimeError as error:
        print(json.dumps(f"ERROR {error}"), flush=True)
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """Runs SQL in an engine of its own process: a test process keeps its one engine path for itself."""
    with subprocess.Popen([sys.executable, "-c", ENGINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout

        def run(sql: str) -> str:
            process.stdin.write(json.dumps(sql).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            return json.loads(process.stdout.readline())  # type: ignore[union-attr]

        yield run
        process.stdin.close()


def table(proxy: S3FaultProxy, key: str, rest: str = "") -> str:
    return f"s3('{proxy.url}/{BUCKET}/{key}', '{ACCESS_KEY}', '{SECRET_KEY}', 'CSVWithNames'{rest})"


def test_the_engine_reads_and_writes(engine: Any, direct: Any, proxy: S3FaultProxy) -> None:
    direct.put_object(Bucket=BUCKET, Key="in.csv", Body=b"a,b\n" + b"1,x\n" * 100_000)
    assert engine(f"SELECT count(), sum(a) FROM {table(proxy, 'in.csv')}") == "100000\t100000\n"
    rows = "SELECT number AS a, 'y' AS b FROM numbers(3)"
    assert engine(f"INSERT INTO FUNCTION {table(proxy, 'out.csv')} {rows}") == ""
    assert read(direct, "out.csv") == b'"a","b"\n0,"y"\n1,"y"\n2,"y"\n'
    assert proxy.count("^PUT .*/out.csv", forwarded=True) == 1


def test_the_engine_tries_again_when_a_read_breaks_off(engine: Any, direct: Any, proxy: S3FaultProxy) -> None:
    direct.put_object(Bucket=BUCKET, Key="broken.csv", Body=b"a\n" + b"1\n" * 1_000_000)
    proxy.inject(Fault.truncate("^GET .*/broken.csv", 100_000), slow_down("^GET .*/broken.csv"))
    assert engine(f"SELECT sum(a) FROM {table(proxy, 'broken.csv')}") == "1000000\n"
    assert proxy.faults() == []


# Failing


def test_reset_before(s3: Any, direct: Any, proxy: S3FaultProxy) -> None:
    proxy.inject(Fault.reset("^PUT .*/unsent"))
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket=BUCKET, Key="unsent", Body=b"x")
    assert not exists(direct, "unsent")
    [put] = proxy.requests("^PUT")
    assert (put.forwarded, put.status, put.fault) == (False, 0, "reset")


def test_reset_after(s3: Any, direct: Any, proxy: S3FaultProxy) -> None:
    proxy.inject(Fault.reset("^PUT .*/sent", after=True))
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket=BUCKET, Key="sent", Body=b"x")
    assert read(direct, "sent") == b"x"
    assert proxy.count("^PUT", forwarded=True) == 1


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [(internal_error("^GET .*/kept"), 500, "InternalError"), (slow_down("^GET .*/kept"), 503, "SlowDown")],
)
def test_error_documents(s3: Any, direct: Any, proxy: S3FaultProxy, fault: Fault, status: int, code: str) -> None:
    direct.put_object(Bucket=BUCKET, Key="kept", Body=b"x")
    proxy.inject(fault)
    with pytest.raises(ClientError) as caught:
        read(s3, "kept")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert proxy.requests("^GET")[0].status == status
    assert read(s3, "kept") == b"x"


def test_a_client_that_tries_again_gets_through(direct: Any, proxy: S3FaultProxy) -> None:
    patient = s3_client(proxy.url, retries={"total_max_attempts": 3, "mode": "standard"})
    proxy.inject(slow_down("^PUT .*/patient"), Fault.reset("^PUT .*/patient"))
    patient.put_object(Bucket=BUCKET, Key="patient", Body=b"x" * 100_000)
    assert read(direct, "patient") == b"x" * 100_000
    assert [seen.status for seen in proxy.requests("^PUT")] == [503, 0, 200]


def test_truncated_body(s3: Any, direct: Any, proxy: S3FaultProxy) -> None:
    direct.put_object(Bucket=BUCKET, Key="cut", Body=b"x" * 1_000_000)
    proxy.inject(Fault.truncate("^GET .*/cut", 1234))
    with pytest.raises(ResponseStreamingError, match="1234"):
        read(s3, "cut")
    assert proxy.requests("^GET")[0].response_bytes == 1234


def test_latency_that_outlasts_the_client(direct: Any, proxy: S3FaultProxy) -> None:
    impatient = s3_client(proxy.url, retries=ONCE, read_timeout=0.5)
    proxy.inject(Fault.delay("^PUT .*/late", 3.0))
    with pytest.raises(ReadTimeoutError):
        impatient.put_object(Bucket=BUCKET, Key="late", Body=b"x")
    assert not exists(direct, "late")
    eventually(lambda: exists(direct, "late"))


def test_object_replaced_between_two_requests(s3: Any, direct: Any, proxy: S3FaultProxy) -> None:
    direct.put_object(Bucket=BUCKET, Key="changing", Body=b"old")
    seen: list[SeenRequest] = []

    def replace(request: SeenRequest) -> None:
        seen.append(request)
        direct.put_object(Bucket=BUCKET, Key="changing", Body=b"new")

    proxy.before("^GET .*/changing", replace, nth=2)
    assert [read(s3, "changing") for _ in range(3)] == [b"old", b"new", b"new"]
    assert [request.path for request in seen] == [f"/{BUCKET}/changing"]


def test_a_callback_that_fails_fails_the_test(s3_endpoint: str) -> None:
    def fail(request: SeenRequest) -> None:
        raise LookupError(request.method)

    def use() -> None:
        with s3_fault_proxy(s3_endpoint) as proxy:
            proxy.before("^GET", fail)
            s3_client(proxy.url).list_objects_v2(Bucket=BUCKET)

    with pytest.raises(LookupError, match="GET"):
        use()


PEAK = Path("/proc/self/clear_refs")


def peak_bytes() -> int:
    """The largest size of this process since ``5`` was written to :data:`PEAK`."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not PEAK.exists(), reason="the peak of a process's memory can be reset on Linux only")
def test_a_large_body_passes_in_pieces(proxy: S3FaultProxy, direct: Any) -> None:
    size = 64 << 20
    direct.put_object(Bucket=BUCKET, Key="large-get", Body=bytes(size))
    PEAK.write_text("5")
    before = peak_bytes()
    client = s3_client(proxy.url, retries=ONCE, request_checksum_calculation="when_required")
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        client.put_object(Bucket=BUCKET, Key="large-put", Body=file)
    body = client.get_object(Bucket=BUCKET, Key="large-get")["Body"]
    assert sum(len(piece) for piece in body.iter_chunks(1 << 20)) == size
    assert direct.head_object(Bucket=BUCKET, Key="large-put")["ContentLength"] == size
    assert peak_bytes() - before < size // 2
