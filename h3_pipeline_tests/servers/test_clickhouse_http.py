"""What clickhouse_connect and plain HTTP see of the server."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import pandas as pd
import pytest
import urllib3
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from h3_pipeline_tests.servers.conftest import eventually
from h3_pipeline_tests.servers.faults import Fault


def connect(server: ClickHouseServer, **options: Any) -> Client:
    return clickhouse_connect.get_client(
        **{"host": server.host, "port": server.port, "interface": "http", "password": "first", **options}
    )


@pytest.fixture
def client(server: ClickHouseServer) -> Iterator[Client]:
    with connect(server) as client:
        yield client


@pytest.fixture
def trips(client: Client) -> str:
    name = f"trips_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (id UInt64, started_at DateTime('UTC'), note String, fare Nullable(Float64)) "
        "ENGINE = MergeTree PARTITION BY toYYYYMM(started_at) ORDER BY id"
    )
    return name


def post(
    server: ClickHouseServer,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    preload: bool = True,
    **parameters: str,
) -> Any:
    return urllib3.request(
        "POST",
        server.url + "/?" + "&".join(f"{name}={value}" for name, value in parameters.items()),
        body=body,
        headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": "first", **(headers or {})},
        preload_content=preload,
        retries=False,
    )


# Queries


def test_handshake(client: Client) -> None:
    assert client.ping()
    assert str(client.server_tz) == "UTC"
    assert client.server_version == client.command("SELECT version()")
    assert "max_threads" in client.server_settings


def test_query_with_parameters(client: Client) -> None:
    note = "tab\t quote' back\\slash\nline ñ"
    result = client.query(
        "SELECT {x:UInt64} + 1 AS x, {s:String} AS s, {a:Array(String)} AS a, {n:Nullable(UInt8)} AS n",
        parameters={"x": 41, "s": note, "a": ["it's", "b"], "n": None},
    )
    assert result.column_names == ("x", "s", "a", "n")
    assert result.result_rows == [(42, note, ["it's", "b"], None)]


def test_identifier_parameters_of_an_insert(client: Client, trips: str, server: ClickHouseServer) -> None:
    statement = "INSERT INTO {t:Identifier} (id, note) FORMAT CSV"
    response = post(server, b"1,x;\n2,y\n", query=statement, param_t=trips)
    assert response.status == 200, response.data
    assert client.query(f"SELECT id, note FROM {trips} ORDER BY id").result_rows == [(1, "x;"), (2, "y")]


def test_parameters_too_long_for_the_url_come_as_a_form(client: Client, server: ClickHouseServer) -> None:
    numbers = list(range(5000))
    assert client.query("SELECT sum(arrayJoin({a:Array(UInt64)}))", parameters={"a": numbers}).first_row == (
        sum(numbers),
    )
    assert server.statements()[-1].headers["content-type"].startswith("multipart/form-data")


def test_external_data(client: Client) -> None:
    external = ExternalData(file_name="zones.csv", fmt="CSV", structure="id UInt8, name String", data=b"1,a\n2,b;\n")
    result = client.query("SELECT name FROM zones ORDER BY id DESC", external_data=external)
    assert result.result_rows == [("b;",), ("a",)]


def test_settings_hold_for_one_statement(client: Client, server: ClickHouseServer) -> None:
    sql = "SELECT getSetting('max_threads')"
    default = client.command(sql)
    assert client.command(sql, settings={"max_threads": 7}) == 7
    assert client.command(sql) == default
    assert server.statements()[-2].settings["max_threads"] == "7"


def test_settings_that_limit_the_statement(client: Client) -> None:
    limits = {"max_result_rows": 5, "limit": 3, "max_rows_to_read": 100, "session_timezone": "Asia/Tokyo"}
    assert client.query("SELECT number FROM numbers(50)", settings=limits).row_count == 3
    assert client.command("SELECT toString(toDateTime(0))", settings=limits) == "1970-01-01 09:00:00"
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT sum(number) FROM numbers(500)", settings=limits)
    assert caught.value.code == 158


def test_database_parameter(client: Client, server: ClickHouseServer) -> None:
    client.command("CREATE DATABASE IF NOT EXISTS other")
    client.command("CREATE TABLE IF NOT EXISTS other.here (a UInt8) ENGINE = Memory")
    with connect(server, database="other") as other:
        assert other.command("SELECT currentDatabase()") == "other"
        assert other.command("EXISTS here") == 1
    assert client.command("SELECT currentDatabase()") == "default"


def test_session_keeps_set_and_use(client: Client, server: ClickHouseServer) -> None:
    client.command("SET max_threads = 3")
    client.command("USE system")
    assert client.query("SELECT getSetting('max_threads'), currentDatabase()").result_rows == [(3, "system")]
    with connect(server) as other:
        assert other.command("SELECT currentDatabase()") == "default"


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_compression_both_ways(server: ClickHouseServer, trips: str, compress: bool | str) -> None:
    notes = [f"note {number} " * 20 for number in range(20_000)]
    with connect(server, compress=compress) as client:
        client.insert(trips, [list(range(20_000)), notes], column_names=["id", "note"], column_oriented=True)
        [read] = client.query(f"SELECT note FROM {trips} ORDER BY id").result_columns
        assert list(read) == notes
    encodings = [statement.headers.get("content-encoding") for statement in server.statements()]
    assert (compress in encodings) is bool(compress)


def test_response_compression_is_what_was_accepted(server: ClickHouseServer) -> None:
    sql = b"SELECT repeat('x', 1000) FORMAT TSVRaw"
    response = post(server, sql, {"Accept-Encoding": "gzip"}, enable_http_compression="1")
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.data == b"x" * 1000 + b"\n"
    plain = post(server, sql, {"Accept-Encoding": "gzip"}, enable_http_compression="0")
    assert "Content-Encoding" not in plain.headers


def test_damaged_request_body(server: ClickHouseServer) -> None:
    body = gzip.compress(b"SELECT 1")[:-6]
    response = post(server, body, {"Content-Encoding": "gzip"})
    assert response.headers["X-ClickHouse-Exception-Code"] == "271"


def test_streaming_a_million_rows(client: Client) -> None:
    sql = "SELECT number, toString(number) AS text FROM numbers(1000000)"
    with client.query_df_stream(sql) as stream:
        blocks = [(len(frame), int(frame["number"].sum()), frame["text"].iloc[-1]) for frame in stream]
    assert len(blocks) > 1
    assert sum(rows for rows, _, _ in blocks) == 1_000_000
    assert sum(total for _, total, _ in blocks) == 999_999 * 1_000_000 // 2
    assert blocks[-1][2] == "999999"


def test_an_error_in_the_middle_of_a_stream(client: Client) -> None:
    sql = "SELECT throwIf(number = 900000, 'too far') FROM numbers(1000000)"
    with client.query_row_block_stream(sql) as stream, pytest.raises(StreamFailureError, match="too far") as caught:
        for _ in stream:
            pass
    assert caught.value.code == 395


def test_a_client_that_stops_reading_harms_nobody(server: ClickHouseServer, client: Client) -> None:
    for _ in range(10):
        body = b"SELECT number, repeat('x', 100) FROM numbers(100000000) FORMAT TSV"
        response = post(server, body, preload=False)
        assert response.read(10) == b"0\t" + b"x" * 8
        response.close()
    assert client.command("SELECT 1") == 1


@pytest.mark.parametrize(("result_format", "mark", "times"), [("CSVWithNames", b'"n"', 1), ("Parquet", b"PAR1", 2)])
def test_formats_with_a_head_come_as_one_document(
    server: ClickHouseServer, result_format: str, mark: bytes, times: int
) -> None:
    response = post(server, f"SELECT number AS n FROM numbers(200000) FORMAT {result_format}".encode())
    assert response.headers["X-ClickHouse-Format"] == result_format
    assert response.data.count(mark) == times


def test_empty_results(client: Client, trips: str) -> None:
    assert client.query(f"SELECT * FROM {trips}").result_rows == []
    assert client.query(f"SELECT id FROM {trips} LIMIT 0").column_names == ("id",)
    assert client.command(f"SELECT id FROM {trips}") == ""


# Inserts


def test_insert_and_insert_df(client: Client, trips: str) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2],
            "started_at": pd.to_datetime(["2015-01-31 23:59:59", "2015-02-01 00:00:00"]),
            "note": ["a;\n\nb", "ñ"],
            "fare": [None, 2.5],
        }
    )
    summary = client.insert_df(trips, frame)
    assert summary.written_rows == 2
    client.insert(trips, [[3, datetime(2015, 1, 31, 23, 59, 59, tzinfo=UTC), "c", None]])
    rows = client.query(f"SELECT id, toString(started_at), note, fare FROM {trips} ORDER BY id").result_rows
    assert rows == [
        (1, "2015-01-31 23:59:59", "a;\n\nb", None),
        (2, "2015-02-01 00:00:00", "ñ", 2.5),
        (3, "2015-01-31 23:59:59", "c", None),
    ]


def test_raw_inserts(client: Client, trips: str, tmp_path: Path) -> None:
    text = b"id,note\n1,one\n2,two\n"
    client.raw_insert(trips, insert_block=text, fmt="CSVWithNames")
    client.raw_insert(trips, insert_block=gzip.compress(text), fmt="CSVWithNames", compression="gzip")
    (tmp_path / "trips.csv").write_bytes(text)
    with (tmp_path / "trips.csv").open("rb") as file:
        client.raw_insert(trips, insert_block=file, fmt="CSVWithNames")
    client.raw_insert(trips, ["id", "note"], insert_block=(b"%d,x\n" % number for number in range(1000)), fmt="CSV")
    assert client.query(f"SELECT count(), uniqExact(id) FROM {trips}").result_rows == [(1006, 1000)]


def test_values_and_insert_select_tell_what_they_wrote(client: Client, trips: str) -> None:
    summary = client.command(
        f"INSERT INTO {trips} (id, note) VALUES ({{a:UInt64}}, ';'), (2, 'b')", parameters={"a": 1}
    )
    assert summary.written_rows == 2  # type: ignore[union-attr]
    summary = client.command(f"INSERT INTO {trips} SELECT * FROM {trips}")
    assert (summary.written_rows, summary.summary["read_rows"]) == (2, "2")  # type: ignore[union-attr]
    assert summary.query_id()  # type: ignore[union-attr]


def test_a_row_that_does_not_parse_refuses_the_insert(client: Client, server: ClickHouseServer, trips: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert(trips, ["id"], insert_block=b"1\nx\n", fmt="CSV")
    assert (caught.value.code, server.statements()[-1].status) == (117, 400)
    assert client.command(f"SELECT count() FROM {trips}") == 0


def test_concurrent_inserts(server: ClickHouseServer, client: Client, trips: str) -> None:
    def insert(worker: int) -> None:
        with connect(server) as own:
            for part in range(5):
                rows = [[worker * 1000 + part * 100 + number, f"{worker}"] for number in range(100)]
                own.insert(trips, rows, column_names=["id", "note"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(insert, range(4)))
    assert client.query(f"SELECT count(), uniqExact(id) FROM {trips}").result_rows == [(2000, 2000)]


def test_partition_commands(client: Client, trips: str) -> None:
    rows = "SELECT toUInt64(number), toDateTime('2015-01-15', 'UTC') + number * 86400 * 30, 's', 1.0 FROM numbers(3)"
    client.command(f"CREATE TABLE {trips}_staging AS {trips}")
    client.command(f"INSERT INTO {trips}_staging {rows}")
    client.command(f"ALTER TABLE {trips} ATTACH PARTITION 201501 FROM {trips}_staging")
    assert client.command(f"SELECT count() FROM {trips}") == 1
    client.command(f"INSERT INTO {trips} {rows}")
    client.command(f"ALTER TABLE {trips} REPLACE PARTITION 201501 FROM {trips}_staging")
    months = client.query(f"SELECT toYYYYMM(started_at) AS month, count() FROM {trips} GROUP BY month ORDER BY month")
    assert months.result_rows == [(201501, 1), (201502, 1), (201503, 1)]
    client.command(f"ALTER TABLE {trips} DROP PARTITION ID '201502'")
    assert client.command(f"SELECT count() FROM {trips}") == 2


# Refusals


@pytest.mark.parametrize(
    ("sql", "code", "name", "status"),
    [
        ("SELECT * FROM no_such_table", 60, "UNKNOWN_TABLE", 404),
        ("SELECT no_such_column", 47, "UNKNOWN_IDENTIFIER", 404),
        ("SELECT 1 +", 62, "SYNTAX_ERROR", 400),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR", 400),
        ("SELECT toUInt8('x')", 6, "CANNOT_PARSE_TEXT", 400),
        ("SELECT throwIf(1)", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", 500),
        ("SELECT sleep(2) SETTINGS max_execution_time = 1", 159, "TIMEOUT_EXCEEDED", 408),
    ],
)
def test_engine_errors(client: Client, server: ClickHouseServer, sql: str, code: int, name: str, status: int) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.command(sql)
    assert (caught.value.code, caught.value.name) == (code, name)
    assert f"Code: {code}. DB::Exception: " in str(caught.value)
    assert str(caught.value).count(f"(version {client.server_version} (official build))") == 1
    received = server.statements()[-1]
    assert (received.status, received.exception_code, received.executed) == (status, code, False)
    assert client.command("SELECT 1") == 1


def test_unknown_setting(server: ClickHouseServer) -> None:
    response = post(server, b"SELECT 1", no_such_setting="1")
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (404, "115")


def test_readonly(server: ClickHouseServer, client: Client, trips: str) -> None:
    with connect(server, settings={"readonly": 1}) as reader:
        assert reader.command(f"SELECT count() FROM {trips}") == 0
        for statement in (f"INSERT INTO {trips} (id) VALUES (1)", f"TRUNCATE TABLE {trips}"):
            with pytest.raises(DatabaseError, match="readonly mode") as caught:
                reader.command(statement)
            assert caught.value.code == 164
        with pytest.raises(DatabaseError, match="readonly mode"):
            reader.insert(trips, [[1]], column_names=["id"])
    assert client.command(f"SELECT count() FROM {trips}") == 0


def test_get_is_readonly(server: ClickHouseServer, trips: str) -> None:
    fields = {"user": "default", "password": "first", "query": f"TRUNCATE TABLE {trips}"}
    response = urllib3.request("GET", server.url + "/", fields=fields, retries=False)
    assert response.headers["X-ClickHouse-Exception-Code"] == "164"
    response = urllib3.request("GET", server.url + "/", fields={**fields, "query": "SELECT 1"}, retries=False)
    assert response.data == b"1\n"


def test_wrong_password(server: ClickHouseServer) -> None:
    with pytest.raises(DatabaseError, match="Authentication failed") as caught:
        connect(server, password="wrong")
    assert (caught.value.code, caught.value.name) == (516, "AUTHENTICATION_FAILED")
    assert server.statements()[-1].status == 403


def test_no_credentials(server: ClickHouseServer) -> None:
    response = urllib3.request("POST", server.url, body=b"SELECT 1", retries=False)
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (401, "194")


def test_password_change(server: ClickHouseServer, client: Client) -> None:
    server.set_password("second")
    with pytest.raises(DatabaseError) as caught:
        client.command("SELECT 1")
    assert caught.value.code == 516
    with connect(server, password="second") as renewed:
        assert renewed.command("SELECT 1") == 1


def test_one_statement_at_a_time_in_a_session(server: ClickHouseServer) -> None:
    server.inject(Fault.hold("SELECT 'first'"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, server, b"SELECT 'first'", session_id="one")
        eventually(lambda: any(statement.fault for statement in server.statements()))
        second = post(server, b"SELECT 'second'", session_id="one")
        other = post(server, b"SELECT 'other'", session_id="two")
        server.let_go()
    assert (first.result().status, other.status) == (200, 200)
    assert (second.status, second.headers["X-ClickHouse-Exception-Code"]) == (500, "373")
    assert post(server, b"SELECT 'third'", session_id="one").data == b"third\n"


def test_one_statement_of_a_query_id_at_a_time(server: ClickHouseServer) -> None:
    server.inject(Fault.hold("SELECT 'first'"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, server, b"SELECT 'first'", query_id="mine")
        eventually(lambda: any(statement.fault for statement in server.statements()))
        second = post(server, b"SELECT 'again'", query_id="mine")
        server.let_go()
    assert first.result().headers["X-ClickHouse-Query-Id"] == "mine"
    assert (second.status, second.headers["X-ClickHouse-Exception-Code"]) == (500, "216")


def test_session_that_must_exist(server: ClickHouseServer) -> None:
    response = post(server, b"SELECT 1", session_id="never-seen", session_check="1")
    assert response.headers["X-ClickHouse-Exception-Code"] == "372"


# The record


def test_statements_are_recorded(server: ClickHouseServer, client: Client, trips: str) -> None:
    server.clear_statements()
    client.command(
        f"INSERT INTO {trips} (id) VALUES (1)",
        settings={"log_comment": "run 42", "query_id": "my-id"},
        transport_settings={"traceparent": "00-1-2-01"},
    )
    [received] = server.statements()
    assert received.query == f"INSERT INTO {trips} (id) VALUES (1)"
    assert (received.query_id, received.user, received.status, received.executed) == ("my-id", "default", 200, True)
    assert received.settings["log_comment"] == "run 42"
    assert received.headers["traceparent"] == "00-1-2-01"


# The process


def test_data_outlive_the_server_and_options_reach_the_engine(tmp_path: Path) -> None:
    config = tmp_path / "config.xml"
    config.write_text(
        "<clickhouse><named_collections><trips_bucket><url>http://127.0.0.1:1/b/</url></trips_bucket>"
        "</named_collections></clickhouse>"
    )
    with clickhouse_server(tmp_path / "data", chdb_options={"config-file": str(config)}) as server:
        client = connect(server, password="")
        assert client.command("SELECT name FROM system.named_collections") == "trips_bucket"
        client.command("CREATE TABLE kept ENGINE = MergeTree ORDER BY a AS SELECT 7 AS a")
        client.close()
    with clickhouse_server(tmp_path / "data", user="loader", password="p") as server:
        with connect(server, username="loader", password="p") as client:
            assert client.command("SELECT a FROM kept") == 7
        with pytest.raises(RuntimeError, match="did not start"), clickhouse_server(tmp_path / "data"):
            pass
