"""Headers and statements of queries: what is accepted, and the one line that says what is wrong and where."""

import re
from pathlib import Path

import pytest

from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import ExportError
from h3_pipeline.exports.catalog import ExportCatalog, Query, shipped_queries
from h3_pipeline.exports.header import Format
from h3_pipeline.exports.syntax import syntax_faults
from h3_pipeline.exports.values import PartitionKind
from h3_pipeline.resources import PipelineResource
from h3_pipeline.settings import Settings
from h3_pipeline.stack import load_exports

GOOD = """\
-- title: Mine
-- description: >
--   Two lines
--   of it
-- formats: [csv.zst, geoparquet, map]
-- reads: [trips, cell_hourly]
-- schedule: "*/30 5 * * *"
-- partition: monthly
-- first_partition: "2020-02-01"
-- parameters:
--   least: {type: Array(Int16), default: [1, -2], description: Some numbers}
-- cell: cell
-- measures:
--   n: {label: Trips, unit: trips, combine: mean, weight: w}
SELECT cell, 1 AS n, 1 AS w
FROM cell_hourly
WHERE hour >= {partition_start:Date} AND has({least:Array(Int16)}, 1)
"""


def mine(text: str) -> Query:
    return Query.parse("mine", text, "mine.sql")


def test_a_header() -> None:
    query = mine(GOOD)
    header = query.header
    assert (header.title, header.description) == ("Mine", "Two lines of it")
    assert header.formats == [Format.CSV_ZST, Format.GEOPARQUET, Format.MAP]
    assert header.partition is PartitionKind.MONTHLY
    assert header.first_partition.isoformat() == "2020-02-01"
    assert header.parameters["least"].default == [1, -2]
    assert query.parameter_types() == {
        "least": "Array(Int16)",
        "partition_start": "Date",
        "partition_end": "Date",
    }


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("-- title: Mine", "-- titel: Mine", "mine.sql:1: titel: unknown key; did you mean 'title'?"),
        ("-- title: Mine", "-- title: [", "mine.sql:2: not valid YAML"),
        ("-- title: Mine\n", "", "mine.sql:1: title: is missing"),
        ("csv.zst", "xlsx", "mine.sql:5: formats[0]: 'xlsx' is not a format; the formats are csv, csv.gz, csv.zst,"),
        ("[csv.zst, geoparquet, map]", "[csv, csv]", "mine.sql:1: a format is there twice"),
        ("[trips, cell_hourly]", "[cells]", "mine.sql:6: reads[0]: must be 'trips', 'cell_hourly' or 'flow_hourly'"),
        ("monthly", "weekly", "mine.sql:8: partition: must be none, daily, monthly, not 'weekly'"),
        ("2020-02-01", "2020-02-31", "mine.sql:9: first_partition: must be a day as YYYY-MM-DD, not '2020-02-31'"),
        ("Array(Int16), d", "Array(Int17), d", "mine.sql:11: parameters.least: 'Array(Int17)' is not a type of param"),
        ("[1, -2]", "[1, 40000]", "mine.sql:11: parameters.least: must be between -32768 and 32767, not 40000"),
        ("least: {", "partition_x: {", "mine.sql:10: parameters: partition_x is given by the partition"),
        ("-- cell: cell\n", "", "mine.sql:1: the format geoparquet needs to know the cells: say cell or flow"),
        ("-- cell: cell", "-- flow: [a]", "mine.sql:12: flow: must be a list of two columns, [origin, destination]"),
        ("combine: mean", "combine: median", "mine.sql:14: measures.n.combine: must be 'auto', 'sum' or 'mean'"),
        ("has({least:Array(Int16)}", "has({leas:Array(Int16)}", "mine.sql:17: the parameter 'leas' is not declared; d"),
        ("{least:Array(Int16)}", "{least:Int16}", "mine.sql:17: the parameter 'least' is declared as Array(Int16), "),
        (" AND has({least:Array(Int16)}, 1)", "", "mine.sql:11: parameters.least: the query does not use it"),
        ("hour >= {partition_start:Date} AND ", "", "mine.sql:8: partition: the query does not use {partition_start"),
    ],
)  # fmt: skip
def test_a_bad_header_is_named_with_its_line(before: str, after: str, fault: str) -> None:
    assert before in GOOD
    with pytest.raises(ExportError) as error:
        mine(GOOD.replace(before, after))
    assert str(error.value).startswith(fault)
    assert "\n" not in str(error.value)


def test_a_file_without_a_header() -> None:
    with pytest.raises(ExportError, match=r"^mine\.sql:1: has no header"):
        mine("SELECT 1\n-- title: too late\n")


STATEMENTS = {
    "SELECT\n    1,\n    2 FRM trips WHERE 1": r"mine\.sql:7: Syntax error",
    "SELECT 1; DROP TABLE trips": r"mine\.sql:5: Syntax error",
    "DROP TABLE trips": r"mine\.sql:5: Only a SELECT can be run here",
    "SHOW TABLES": r"mine\.sql:5: Only a SELECT can be run here",
    "INSERT INTO trips SELECT * FROM trips": r"mine\.sql:5: Only a statement that returns rows",
    "SELECT 1 INTO OUTFILE 'x'": r"mine\.sql:5: Only a statement that returns rows",
    "SELECT 1 FORMAT CSV": r"mine\.sql:5: Only a statement that returns rows",
    "SELECT 1,\n  file('/etc/passwd')": r"mine\.sql:5: The warehouse is read-only here",
    "": r"mine\.sql:1: Empty query",
}
HEADER = "-- title: Mine\n-- description: d\n-- formats: [csv]\n-- reads: [trips]\n"


@pytest.fixture(scope="module")
def faults() -> dict[str, ExportError | None]:
    """What the engine says of statements; it is started once."""
    texts = {statement: HEADER + statement for statement in STATEMENTS} | {"good": GOOD}
    shipped = list(shipped_queries())
    found = syntax_faults([*(mine(text) for text in texts.values()), *shipped])
    return dict(zip([*texts, *(query.name for query in shipped)], found, strict=True))


@pytest.mark.parametrize(("statement", "fault"), STATEMENTS.items())
def test_bad_sql(faults: dict[str, ExportError | None], statement: str, fault: str) -> None:
    assert re.match(fault, str(faults[statement]))
    assert "\n" not in str(faults[statement])


def test_good_sql(faults: dict[str, ExportError | None]) -> None:
    assert faults["good"] is None
    assert {name: faults[name] for name in ExportCatalog.load().queries if faults[name] is not None} == {}


def test_bad_sql_is_found_when_the_definitions_load(tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text(HEADER + "SELECT 1 FRM trips WHERE 1")
    (tmp_path / "notes.txt").write_text("not a query")
    with pytest.raises(ExportError, match=r"mine\.sql:5: Syntax error") as error:
        build_definitions(PipelineResource(overrides={"h3_exports": str(tmp_path)}))
    assert str(error.value).startswith(str(tmp_path))


def test_the_users_own_query_counts(tmp_path: Path) -> None:
    (tmp_path / "coverage.sql").write_text(GOOD)
    (tmp_path / "mine.sql").write_text(GOOD.replace("Mine", "Another"))
    catalog = ExportCatalog.load(tmp_path)
    assert catalog.get("coverage").header.title == "Mine"
    assert catalog.get("coverage").replaces_shipped
    assert not catalog.get("mine").replaces_shipped
    assert set(catalog.queries) == {query.name for query in shipped_queries()} | {"mine"}
    with pytest.raises(ExportError, match=r"no export 'mines'; did you mean 'mine'"):
        catalog.get("mines")


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"H3_EXPORTS: cannot read the folder .*absent: No such file"):
        ExportCatalog.load(tmp_path / "absent")
    (tmp_path / "Mine.sql").write_text(GOOD)
    with pytest.raises(ExportError, match=r"Mine\.sql: an export's name is lower-case letters"):
        ExportCatalog.load(tmp_path)


def test_nothing_is_parsed_by_the_engine_for_the_shipped_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("an engine was started"))
    load_exports(Settings(h3_exports=None))
