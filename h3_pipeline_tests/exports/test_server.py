"""Exports from a server over HTTP: streamed, read-only, and the files not on this disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from h3_pipeline.errors import ExportError, WarehouseError
from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.catalog import ExportCatalog, Query
from h3_pipeline.exports.publication import latest
from h3_pipeline.exports.runner import Exported, explain_queries, run_export
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.servers.clickhouse_http import clickhouse_server

HEADER = """\
-- title: Mine
-- description: Numbers
-- formats: [parquet, csv]
-- reads: [trips]
-- parameters:
--   rows: {type: UInt32, default: 300000, description: How many}
--   text: {type: String, default: "it's {x}", description: Something that needs quoting}
"""
GOOD = f"""{HEADER}\
SELECT number, hex(sipHash64(number)) AS hash, {{text:String}} AS text FROM numbers({{rows:UInt32}}) ORDER BY number
"""

Run = Callable[[str], Exported]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("server")
    with clickhouse_server(folder / "data", password="secret") as server:
        yield Settings(
            h3_pipeline_home=folder / "home",
            clickhouse_host=server.host,
            clickhouse_http_port=server.port,
            clickhouse_password="secret",
        )


@pytest.fixture
def run(settings: Settings, bucket: Bucket) -> Run:
    def export(text: str) -> Exported:
        bound = bind(Query.parse("mine", text, "mine.sql"), {}, None, settings.h3_rollup_resolutions)
        return run_export(bound, settings=settings, bucket=bucket)

    return export


def test_a_result_is_streamed_and_read_back(run: Run, bucket: Bucket, tmp_path: Path) -> None:
    exported = run(GOOD)
    assert not exported.damaged
    assert exported.folder is None
    manifest = latest(bucket, exported.place)
    assert manifest is not None
    target = tmp_path / "mine.parquet"
    with target.open("wb") as file:
        bucket.download(manifest.files[0].key, file)
    table = pyarrow.parquet.read_table(target)
    assert table["number"].to_pylist() == list(range(300_000)) == list(range(manifest.rows))
    assert set(table["text"].to_pylist()) == {"it's {x}"}


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("INSERT INTO trips (upload) VALUES ({text:String}, {rows:UInt32})", r"^mine\.sql:8: Only a SELECT can be run"),
        ("DROP TABLE trips -- \n/* {text:String} {rows:UInt32} */", r"^mine\.sql:8: Only a SELECT can be run"),
        ("SELECT {text:String}, {rows:UInt32} FROM url('http://127.0.0.1:1/', CSV, 'a Int8')", "read-only here"),
        ("SELECT {text:String}, {rows:UInt32} SETTINGS readonly = 0", "read-only here"),
        ("SELECT {text:String}, {rows:UInt32}, missing FROM trips", r"mine\.sql:8: Unknown expression"),
    ],
)
def test_a_query_can_only_read(run: Run, settings: Settings, statement: str, fault: str) -> None:
    with pytest.raises(ExportError, match=fault):
        run(HEADER + statement)
    assert run(HEADER + "SELECT count(), {text:String}, {rows:UInt32} FROM trips").recounted == 1


def test_the_warehouse_explains_every_shipped_query(settings: Settings) -> None:
    queries = list(ExportCatalog.load().queries.values())
    explain_queries(queries, settings)
    bad = Query.parse("bad", HEADER + "SELECT {text:String}, {rows:UInt32} FROM absent", "bad.sql")
    with pytest.raises(ExportError, match=r"^bad\.sql:8: Unknown table"):
        explain_queries([*queries, bad], settings)


def test_a_server_that_is_not_there_is_not_the_querys_fault(settings: Settings, bucket: Bucket) -> None:
    gone = settings.model_copy(update={"clickhouse_http_port": 1})
    bound = bind(Query.parse("mine", GOOD, "mine.sql"), {}, None, settings.h3_rollup_resolutions)
    with pytest.raises(WarehouseError, match="cannot be used"):
        run_export(bound, settings=gone, bucket=bucket)
