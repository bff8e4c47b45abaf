"""Queries of people: what the engine refuses, embedded and over HTTP, and what closes the rest."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse import read_only
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.read_only import query_table, query_to_file
from h3_pipeline_tests.servers.clickhouse_http import clickhouse_server

Ask = Callable[[str], list[list[Any]]]

BY_THE_ENGINE = [
    "DROP TABLE trips",
    "drop /* */ table trips",
    "DROP DATABASE h3_pipeline",
    "TRUNCATE TABLE trips",
    "INSERT INTO trips (upload) VALUES ('x')",
    "ALTER TABLE trips DELETE WHERE 1",
    "ALTER TABLE trips DROP PARTITION ID '201805'",
    "OPTIMIZE TABLE trips FINAL",
    "CREATE TABLE mine (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE mine (a Int8)",
    "CREATE VIEW mine AS SELECT 1",
    "RENAME TABLE trips TO mine",
    "DETACH TABLE trips",
    "SELECT * FROM url('http://127.0.0.1:1/x', CSV, 'a Int8')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', CSV, 'a Int8')",
    "SELECT * FROM remote('127.0.0.1:1', h3_pipeline.trips)",
    "SELECT * FROM executable('ls', TSV, 'a String')",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_execution_time = 0",
]

BY_THE_STATEMENTS_SHAPE = [
    "SELECT file('{secret}')",
    "SELECT `file`('{secret}')",
    "SELECT arrayMap(x -> file(x), ['{secret}'])",
    "WITH file('{secret}') AS t SELECT t",
    "SELECT * FROM (SELECT file('{secret}'))",
    "EXPLAIN actions = 1 SELECT file('{secret}')",
    "SHOW TABLES WHERE file('{secret}') != ''",
    "SELECT 1 INTO OUTFILE '{target}'",
    "SELECT 1 INTO OUTFILE '{target}' FORMAT CSV",
    "SELECT 1 INTO OUTFILE '{target}' --",
    "SELECT 1 INTO OUTFILE '{target}' /*",
    "SELECT 1) INTO OUTFILE '{target}' --",
    "SELECT 1; SELECT 2 INTO OUTFILE '{target}'",
    "SHOW TABLES INTO OUTFILE '{target}'",
    "SELECT 1; DROP TABLE trips",
    "SELECT 1 FORMAT CSV",
    "BACKUP TABLE trips TO S3('http://127.0.0.1:1/bucket/backup', 'a', 'b')",
    "KILL QUERY WHERE 1",
    "SET readonly = 0",
    "SYSTEM SHUTDOWN",
    "INSERT INTO trips SELECT * FROM trips",
    "DELETE FROM trips WHERE 1",
    "INSERT INTO FUNCTION url('http://127.0.0.1:1/x', CSV, 'a Int8') SELECT 1",
    "GRANT ALL ON *.* TO default",
    "",
    ";",
]


@pytest.fixture(scope="module", params=["embedded", "http"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        yield Settings.load(h3_pipeline_home=folder, clickhouse_host=None)
        return
    with clickhouse_server(folder / "data", password="secret") as server:
        yield Settings.load(
            h3_pipeline_home=folder,
            clickhouse_host=server.host,
            clickhouse_http_port=server.port,
            clickhouse_password="secret",
        )


@pytest.fixture
def ask(settings: Settings) -> Ask:
    return lambda sql: query_table(settings, sql, max_rows=1000, on_wait=print).rows


@pytest.fixture(scope="module")
def tables(settings: Settings) -> list[list[str]]:
    """What there is to be destroyed."""
    with open_warehouse(settings, None) as warehouse:
        return [[name] for (name,) in warehouse.engine.rows("SHOW TABLES FROM h3_pipeline")]


@pytest.mark.parametrize("statement", BY_THE_ENGINE)
def test_the_engine_refuses_whatever_changes_or_reaches_out(ask: Ask, tables: list[list[str]], statement: str) -> None:
    with pytest.raises(WarehouseError, match=r"read-only here; .* refused: "):
        ask(statement)
    assert ask("SHOW TABLES") == tables


@pytest.mark.parametrize("statement", BY_THE_STATEMENTS_SHAPE)
def test_what_the_engine_would_let_pass_is_refused(
    ask: Ask, tables: list[list[str]], tmp_path: Path, statement: str
) -> None:
    secret, target = tmp_path / "secret.txt", tmp_path / "target.csv"
    secret.write_text("xyzzy")
    with pytest.raises(WarehouseError) as error:
        ask(statement.format(secret=secret, target=target))
    assert "xyzzy" not in str(error.value)
    assert not target.exists()
    assert ask("SHOW TABLES") == tables


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT 'file(\\'/etc/passwd\\')' AS t", [["file('/etc/passwd')"]]),
        ("SELECT 'INTO OUTFILE' AS t -- ; DROP TABLE trips", [["INTO OUTFILE"]]),
        ("SELECT '\\n\\t\\\\%s{}' AS `into outfile`;", [["\n\t\\%s{}"]]),
        ("WITH 1 AS one SELECT one UNION ALL SELECT 2 ORDER BY one", [["1"], ["2"]]),
        ("EXISTS TABLE trips", [["1"]]),
    ],
)
def test_words_alone_refuse_nothing(ask: Ask, statement: str, rows: list[list[str]]) -> None:
    assert ask(statement) == rows


def test_no_credential_is_in_reach(ask: Ask) -> None:
    assert ask("SELECT * FROM system.named_collections") == []
    with pytest.raises(WarehouseError, match=r"read-only|no named collection"):
        ask("SELECT * FROM s3(trips_bucket, filename = 'x', format = 'CSV', structure = 'a Int8')")


def test_limits(ask: Ask, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only, "_LIMITS", {**read_only._LIMITS, "max_execution_time": 1, "max_result_rows": 50_000})
    with pytest.raises(WarehouseError, match="took longer"):
        ask("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)")
    with pytest.raises(WarehouseError, match="add a LIMIT"):
        query_to_file(settings, "SELECT * FROM numbers(1000000)", "csv", tmp_path / "result", on_wait=print)


def test_memory_is_limited(settings: Settings, ask: Ask) -> None:
    if not settings.embedded:
        pytest.skip("a server may find the memory later, so the client tries for half a minute")
    with pytest.raises(WarehouseError, match="800 MB of memory"):
        ask("SELECT length(groupArray(number)) FROM numbers(2000000000)")


def test_a_table_stops_counting(settings: Settings) -> None:
    few = query_table(settings, "SELECT * FROM numbers(10000)", max_rows=3, on_wait=print)
    assert (few.rows, few.total, few.complete) == ([["0"], ["1"], ["2"]], 10_000, True)
    many = query_table(settings, "SELECT * FROM numbers(10001)", max_rows=3, on_wait=print)
    assert (len(many.rows), many.total, many.complete) == (3, 10_000, False)


def test_a_server_whose_user_is_read_only_already(tmp_path: Path) -> None:
    users = tmp_path / "users.xml"
    users.write_text(read_only._users("h3_pipeline", {"readonly": 1}).replace("SELECT, SHOW, dictGet", "SELECT, SHOW"))
    with clickhouse_server(tmp_path / "data") as server:
        settings = Settings.load(clickhouse_host=server.host, clickhouse_http_port=server.port)
        with open_warehouse(settings, None):
            pass  # somebody made the tables
    config = tmp_path / "config.xml"
    config.write_text(f"<clickhouse><users_config>{users}</users_config></clickhouse>")
    with clickhouse_server(tmp_path / "data", chdb_options={"config-file": str(config)}) as server:
        settings = Settings.load(clickhouse_host=server.host, clickhouse_http_port=server.port)
        table = query_table(settings, "SELECT count() FROM trips", max_rows=1, on_wait=print)
        assert table.rows == [["0"]]
        with pytest.raises(WarehouseError):
            query_table(settings, "DROP TABLE trips", max_rows=1, on_wait=print)


def test_a_reader_of_the_embedded_warehouse_merges_nothing(tmp_path: Path) -> None:
    settings = Settings.load(h3_pipeline_home=tmp_path / "home")
    asked = (
        "SELECT value, changed FROM system.merge_tree_settings WHERE name = 'max_bytes_to_merge_at_max_space_in_pool'"
    )
    with open_warehouse(settings, None) as warehouse:
        ((most, changed),) = warehouse.engine.rows(asked)
    assert int(most) > 10**9
    assert not changed
    assert query_table(settings, asked, max_rows=1, on_wait=print).rows == [["1", "1"]]
