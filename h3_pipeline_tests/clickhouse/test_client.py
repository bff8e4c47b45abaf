"""The connection: errors as one line, and the proof that cells are right."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from clickhouse_connect.driver.client import Client

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.errors import WarehouseError


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with open_embedded(tmp_path_factory.mktemp("engine") / "data") as opened:
        yield opened


class OlderServer:
    """A client whose server takes the longitude first, as ClickHouse did before 25.5."""

    def __init__(self, engine: ClickHouse) -> None:
        self._engine = engine

    def query(self, sql: str, **_: Any) -> SimpleNamespace:
        if "version()" in sql:
            return SimpleNamespace(result_rows=[("24.8.1",)])
        rows: Sequence[Any] = self._engine.rows(sql, settings={"geotoh3_argument_order": "lon_lat"})
        return SimpleNamespace(result_rows=rows)


class TestProof:
    def test_this_engine_gives_the_cells_of_h3(self, engine: ClickHouse) -> None:
        engine.prove_h3_argument_order()

    def test_a_server_with_the_other_order_is_refused(self, engine: ClickHouse) -> None:
        older = ClickHouse(cast(Client, OlderServer(engine)), "ClickHouse at http://older:8123")
        with pytest.raises(WarehouseError, match="wrong H3 cells") as caught:
            older.prove_h3_argument_order()
        message = str(caught.value)
        assert "http://older:8123 (ClickHouse 24.8.1)" in message
        assert "\n" not in message


class TestErrors:
    @pytest.mark.parametrize(
        ("sql", "code"),
        [("SELEKT 1", 62), ("SELECT * FROM no_such_table", 60), ("SELECT toUInt8('x')", 6), ("SELECT throwIf(1)", 395)],
    )
    def test_a_refused_statement_is_one_line_with_a_code(self, engine: ClickHouse, sql: str, code: int) -> None:
        for run in (engine.rows, engine.records, engine.value, engine.dataframe):
            with pytest.raises(QueryError) as caught:
                run(sql)
            assert caught.value.code == code
            message = str(caught.value)
            assert message.startswith("the embedded engine: ")
            assert "\n" not in message
            assert len(message) < 600

    def test_so_is_a_refused_command_and_the_next_statement_is_as_ever(self, engine: ClickHouse) -> None:
        with pytest.raises(QueryError) as caught:
            engine.command("CREATE TABLE default.x ENGINE = Memory AS SELECT throwIf(number = 9) FROM numbers(10)")
        assert caught.value.code == 395
        assert "\n" not in str(caught.value)
        assert engine.value("SELECT 5") == 5


class TestAnswers:
    def test_each_form(self, engine: ClickHouse) -> None:
        sql = "SELECT number AS n, toString(number) AS t FROM numbers({count:UInt8})"
        assert [tuple(row) for row in engine.rows(sql, {"count": 2})] == [(0, "0"), (1, "1")]
        assert engine.records(sql, {"count": 1}) == [{"n": 0, "t": "0"}]
        assert engine.pairs(sql, {"count": 2}) == {0: "0", 1: "1"}
        assert engine.value("SELECT 2 + 2") == 4
        assert engine.dataframe(sql, {"count": 2}).to_dict("list") == {"n": [0, 1], "t": ["0", "1"]}
        assert engine.raw(sql, "CSV", {"count": 2}) == b'0,"0"\n1,"1"\n'

    def test_settings_are_for_one_statement(self, engine: ClickHouse) -> None:
        sql = "SELECT value FROM system.settings WHERE name = 'max_threads'"
        before = engine.value(sql)
        assert engine.value(sql, settings={"max_threads": 7}) == "7"
        assert engine.value(sql) == before
