"""Where a statement ends and its data begin."""

import pytest

from h3_pipeline_tests.servers.clickhouse_errors import ServerError
from h3_pipeline_tests.servers.clickhouse_sql import read_statement


@pytest.mark.parametrize(
    ("buffer", "text", "data_format", "data"),
    [
        (b"INSERT INTO t (a) FORMAT Native\n\x01\x01;", b"INSERT INTO t (a)", "Native", b"\x01\x01;"),
        (b"insert into t format CSV 1,x\n2,y", b"insert into t", "CSV", b"1,x\n2,y"),
        (b"INSERT INTO t SETTINGS a = 1 FORMAT CSV\r\n\n1", b"INSERT INTO t SETTINGS a = 1", "CSV", b"\n1"),
        (b"INSERT INTO `format CSV` FORMAT /* x */ TSV\n1", b"INSERT INTO `format CSV`", "TSV", b"1"),
        (
            b"INSERT INTO FUNCTION s3('u', format = 'TSV') FORMAT CSV\n1",
            b"INSERT INTO FUNCTION s3('u', format = 'TSV')",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t FORMAT Values (1, ';'), (2, '')", b"INSERT INTO t", "Values", b"(1, ';'), (2, '')"),
    ],
)
def test_data_of_an_insert(buffer: bytes, text: bytes, data_format: str, data: bytes) -> None:
    statement = read_statement(buffer)
    assert (statement.kind, statement.text, statement.format) == ("INSERT", text, data_format)
    assert buffer[statement.data_offset :] == data


@pytest.mark.parametrize(
    "buffer",
    [
        b"INSERT INTO t VALUES (1, 'FORMAT CSV; SELECT 1')",
        b"INSERT INTO t SELECT * FROM u",
        b"INSERT INTO t SELECT format, values FROM u WHERE a = 'FORMAT CSV'",
    ],
)
def test_inserts_without_data(buffer: bytes) -> None:
    statement = read_statement(buffer)
    assert statement.data_offset is None
    assert statement.text == buffer


@pytest.mark.parametrize(
    ("buffer", "kind", "result_format"),
    [
        (b"SELECT 1", "SELECT", None),
        (b"-- first\n/* second */ SELECT 1 FORMAT JSON ;\n", "SELECT", "JSON"),
        (b"SELECT 1\n FORMAT Native SETTINGS max_threads = 1", "SELECT", "Native"),
        (b"SELECT format FROM t", "SELECT", None),
        (b"SELECT 'a FORMAT CSV', (SELECT format) FROM t FORMAT TSV", "SELECT", "TSV"),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "SELECT", None),
        (b"with x as (select 1) select * from x", "WITH", None),
        (b"CREATE TABLE t (a String DEFAULT ';') ENGINE = Memory", "CREATE", None),
    ],
)
def test_kind_and_format(buffer: bytes, kind: str, result_format: str | None) -> None:
    statement = read_statement(buffer)
    assert (statement.kind, statement.format, statement.data_offset) == (kind, result_format, None)


@pytest.mark.parametrize("buffer", [b"", b" -- nothing\n", b";"])
def test_no_statement(buffer: bytes) -> None:
    with pytest.raises(ServerError, match="Empty query"):
        read_statement(buffer)


def test_two_statements() -> None:
    with pytest.raises(ServerError, match="Multi-statements are not allowed") as caught:
        read_statement(b"SELECT ';'; DROP TABLE t")
    assert caught.value.code == 62
