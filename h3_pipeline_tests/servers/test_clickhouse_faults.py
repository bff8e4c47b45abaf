"""What a client meets when the server is told to fail."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from typing import Any

import clickhouse_connect
import pytest
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, StreamFailureError

from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, error_fault, unavailable_fault
from h3_pipeline_tests.servers.conftest import eventually
from h3_pipeline_tests.servers.faults import Fault


def connect(server: ClickHouseServer, **options: Any) -> Client:
    return clickhouse_connect.get_client(host=server.host, port=server.port, password="first", **options)


@pytest.fixture
def client(server: ClickHouseServer) -> Iterator[Client]:
    with connect(server) as client:
        yield client


@pytest.fixture
def table(client: Client, server: ClickHouseServer) -> str:
    name = f"t_{uuid.uuid4().hex}"
    client.command(f"CREATE TABLE {name} (a UInt64) ENGINE = MergeTree ORDER BY a")
    server.clear_statements()
    return name


def count(client: Client, table: str) -> object:
    return client.command(f"SELECT count() FROM {table}")


def test_reset_before_the_statement(client: Client, server: ClickHouseServer, table: str) -> None:
    server.inject(Fault.reset(f"^INSERT INTO {table}"))
    with pytest.raises(OperationalError):
        client.command(f"INSERT INTO {table} VALUES (1)")
    assert server.faults() == []
    assert count(client, table) == 0
    received = server.statements()[0]
    assert (received.fault, received.status, received.executed) == ("reset", 0, False)


def test_reset_after_the_statement(client: Client, server: ClickHouseServer, table: str) -> None:
    server.inject(Fault.reset(f"^INSERT INTO {table}", after=True))
    with pytest.raises(OperationalError):
        client.command(f"INSERT INTO {table} VALUES (1)")
    assert count(client, table) == 1
    received = server.statements()[0]
    assert (received.fault, received.status, received.executed) == ("reset", 0, True)


def test_a_reset_is_a_tcp_reset(server: ClickHouseServer) -> None:
    server.inject(Fault.reset("SELECT 3"))
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(b"GET /?user=default&password=first&query=SELECT%203 HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_the_client_repeats_a_data_insert_after_a_reset(client: Client, server: ClickHouseServer, table: str) -> None:
    server.inject(Fault.reset(f"^INSERT.*{table}", after=True))
    client.insert(table, [[1]], column_names=["a"])
    assert count(client, table) == 2  # clickhouse_connect's own retry: what publishing must withstand


def test_the_client_repeats_a_query_after_a_reset(client: Client, server: ClickHouseServer) -> None:
    server.inject(Fault.reset("SELECT 5"))
    assert client.query("SELECT 5").result_rows == [(5,)]
    assert [statement.fault for statement in server.statements()[-2:]] == ["reset", ""]


def test_only_the_chosen_statements_fail(client: Client, server: ClickHouseServer) -> None:
    server.inject(error_fault("^SELECT 7", 241, "MEMORY_LIMIT_EXCEEDED", skip=1, times=2))
    outcomes = []
    for sql in ("SELECT 7", "SELECT 8", "SELECT 7", "SELECT 7", "SELECT 7"):
        try:
            outcomes.append(client.command(sql))
        except DatabaseError as error:
            outcomes.append((error.code, error.name))
    failed = (241, "MEMORY_LIMIT_EXCEEDED")
    assert outcomes == [7, 8, failed, failed, 7]


def test_error_after_the_statement(client: Client, server: ClickHouseServer, table: str) -> None:
    server.inject(error_fault("^INSERT", 999, "KEEPER_EXCEPTION", "session expired", after=True))
    with pytest.raises(DatabaseError, match="session expired") as caught:
        client.command(f"INSERT INTO {table} VALUES (1)")
    assert caught.value.code == 999
    assert server.statements()[0].status == 500
    assert count(client, table) == 1


def test_an_error_before_an_insert_leaves_the_connection_usable(
    client: Client, server: ClickHouseServer, table: str
) -> None:
    server.inject(error_fault("^INSERT", 252, "TOO_MANY_PARTS"))
    with pytest.raises(DatabaseError):
        client.insert(table, [[number] for number in range(100_000)], column_names=["a"])
    client.insert(table, [[number] for number in range(100_000)], column_names=["a"])
    assert count(client, table) == 100_000


def test_unavailable(server: ClickHouseServer, client: Client) -> None:
    server.inject(unavailable_fault("SELECT 9", retry_after=3))
    headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "first"}
    response = urllib3.request("POST", server.url, body=b"SELECT 9", headers=headers, retries=False)
    assert (response.status, response.headers["Retry-After"]) == (503, "3")
    server.inject(unavailable_fault("SELECT 9", times=2))
    assert client.query("SELECT 9").result_rows == [(9,)]  # the client's third try
    server.inject(unavailable_fault("SELECT 9", times=3))
    with pytest.raises(OperationalError, match="503"):
        client.query("SELECT 9")


def test_delay_outlasts_the_client(server: ClickHouseServer, client: Client, table: str) -> None:
    server.inject(Fault.delay("^INSERT", 6))
    with connect(server, send_receive_timeout=3) as impatient, pytest.raises(OperationalError, match="timed out"):
        impatient.command(f"INSERT INTO {table} VALUES (1)")
    eventually(lambda: server.statements()[-1].executed)
    assert count(client, table) == 1  # it took effect all the same


def test_a_statement_that_is_held_waits_for_the_test(server: ClickHouseServer, client: Client, table: str) -> None:
    server.inject(Fault.hold("^INSERT"))
    with connect(server, send_receive_timeout=3) as impatient, pytest.raises(OperationalError, match="timed out"):
        impatient.command(f"INSERT INTO {table} VALUES (1)")
    assert count(client, table) == 0
    server.let_go()
    eventually(lambda: any(statement.fault and statement.executed for statement in server.statements()))
    assert count(client, table) == 1


def test_truncated_response(client: Client, server: ClickHouseServer) -> None:
    server.inject(Fault.truncate("FROM numbers", 1000, times=None))
    with pytest.raises((OperationalError, StreamFailureError)):
        client.query("SELECT number FROM numbers(100000)")
    server.clear_faults()
    server.inject(Fault.truncate("FROM numbers", 3_000_000))
    sql = "SELECT number FROM numbers(1000000)"
    blocks: list[int] = []
    stream = client.query_row_block_stream(sql, settings={"enable_http_compression": 0})
    with pytest.raises((OperationalError, StreamFailureError)), stream as received:
        blocks.extend(len(block) for block in received)
    assert 0 < sum(blocks) < 1_000_000
    assert client.command("SELECT 1") == 1


def test_truncated_whole_response_says_how_much_is_missing(server: ClickHouseServer) -> None:
    server.inject(Fault.truncate("SELECT", 10))
    response = urllib3.request(
        "POST",
        f"{server.url}/?wait_end_of_query=1&user=default&password=first",
        body=b"SELECT repeat('x', 99) FORMAT TSVRaw",
        preload_content=False,
        retries=False,
    )
    with pytest.raises(urllib3.exceptions.ProtocolError, match="10 bytes read, 90 more expected"):
        response.read()
