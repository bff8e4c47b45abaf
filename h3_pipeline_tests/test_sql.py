"""What goes into a statement comes back from the engine unchanged."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.sql import identifier, literal, settings_clause

engine_property = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
awkward = st.text(st.sampled_from("'\"\\`\0\b\f\n\r\t%{}:;-/*#$\x1a ä€😀nx0"), max_size=30)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with open_embedded(tmp_path_factory.mktemp("engine") / "data") as opened:
        yield opened


@engine_property
@given(values=st.lists(text | awkward, min_size=1, max_size=8))
@example(values=["'", "\\", "\\'", "''", "\\\\'", "\0", "\n", "\r\n", "\t", "\\N", "\\0", "%s", "{x:String}", "%(x)s"])
@example(values=["'; DROP TABLE trips; --", "/* ", "-- ", "# ", "\\x41", "\\u0041", "", " "])
def test_any_text(engine: ClickHouse, values: list[str]) -> None:
    row = engine.rows(f"SELECT {', '.join(literal(value) for value in values)}")[0]
    assert list(row) == values


@engine_property
@given(value=st.integers(-(2**63), 2**63 - 1))
def test_any_integer(engine: ClickHouse, value: int) -> None:
    assert engine.value(f"SELECT {literal(value)}") == value


@engine_property
@given(value=st.floats(allow_nan=False, allow_infinity=False))
@example(value=-0.0)
@example(value=5e-324)
def test_any_float(engine: ClickHouse, value: float) -> None:
    found = engine.value(f"SELECT toFloat64({literal(value)})")
    assert found == value
    assert value == 0 or math.copysign(1, found) == math.copysign(1, value)


def test_null(engine: ClickHouse) -> None:
    assert engine.value(f"SELECT {literal(None)}") is None


@engine_property
@given(name=st.text(st.sampled_from("ab_ .'-%é€"), min_size=1, max_size=12))
@example(name="select")
@example(name="2015-01")
def test_names(engine: ClickHouse, name: str) -> None:
    assert engine.records(f"SELECT 1 AS {identifier(name)}") == [{name: 1}]


def test_settings_clause(engine: ClickHouse) -> None:
    wanted = {"max_threads": 3, "log_comment": "it's \\ \n mine", "max_execution_time": 1.5}
    names = ", ".join(f"'{name}'" for name in wanted)
    found = engine.pairs(f"SELECT name, value FROM system.settings WHERE name IN ({names}) {settings_clause(wanted)}")
    assert found == {"max_threads": "3", "log_comment": "it's \\ \n mine", "max_execution_time": "1.5"}
    assert settings_clause({}) == ""
