"""What a person's query reaches on this machine: the tables, and nothing else. See warehouse/test_read_only.py."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse import read_only
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.read_only import Reader, open_reader

SENTINEL = "sentinel-of-the-environment"

OUTSIDE = [
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT * FROM FILE('{secret}', LineAsString)",
    "SELECT * FROM fileCluster('default', '{secret}', 'LineAsString')",
    "SELECT * FROM url('file://{secret}', 'LineAsString')",
    "SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM s3Cluster('default', 'http://127.0.0.1:1/b/k', 'LineAsString')",
    "SELECT * FROM gcs('http://127.0.0.1:1/b/k', 'LineAsString')",
    "SELECT * FROM iceberg('http://127.0.0.1:1/b/k')",
    "SELECT * FROM deltaLake('http://127.0.0.1:1/b/k')",
    "SELECT * FROM hudi('http://127.0.0.1:1/b/k')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:1', 'c', 'b')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:1/f', 'LineAsString')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:1', 'd', 't', 'u', 'p', 'a Int8')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
    "SELECT * FROM sqlite('{secret}', 't')",
    "SELECT * FROM jdbc('d', 's', 't')",
    "SELECT * FROM odbc('d', 's', 't')",
    "SELECT * FROM remoteSecure('127.0.0.1:1', system.one)",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM clusterAllReplicas('default', system.one)",
    "SELECT * FROM executable('id', TSV, 'a String')",
    "SELECT * FROM Python(SENTINEL)",
    "SELECT * FROM dictionary('nothing')",
    "SELECT * FROM s3(trips_bucket, filename = 'uploads/a.csv')",
    "SELECT file('{secret}')",
    "SELECT FILE('{secret}')",
    "SELECT arrayMap(path -> file(path), ['{secret}'])",
    "SELECT catboostEvaluate('{secret}', 1)",
    "INSERT INTO FUNCTION file('{target}', CSV, 'a Int8') SELECT 1",
    "CREATE TABLE t ENGINE = File(CSV, '{secret}')",
    "CREATE DICTIONARY d (a Int8) PRIMARY KEY a SOURCE(FILE(PATH '{secret}' FORMAT CSV)) LIFETIME(0) LAYOUT(FLAT())",
    "CREATE FUNCTION f AS () -> file('{secret}')",
    "ATTACH TABLE t FROM '{secret}' (a Int8) ENGINE = File(CSV)",
    "ATTACH DATABASE d ENGINE = Filesystem('/')",
    "SELECT * FROM other.hidden",
    "SELECT * FROM merge('other', '.*')",
    "SHOW TABLES FROM other WHERE file('{secret}') = ''",
    "SELECT getSetting('readonly') SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SET max_execution_time = 0",
    "SELECT 1 INTO OUTFILE '{target}' TRUNCATE",
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Iterator[Reader]:
    """The engine as a person's query meets it, on a warehouse that was at work on a bucket."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", SENTINEL)
        patch.setenv("CLICKHOUSE_PASSWORD", SENTINEL)
        home = tmp_path_factory.mktemp("home")
        settings = Settings.load(h3_pipeline_home=home)
        with open_warehouse(settings, bucket.access) as warehouse:
            warehouse.engine.command("CREATE DATABASE other")
            warehouse.engine.command("CREATE TABLE other.hidden ENGINE = MergeTree ORDER BY () AS SELECT 'xyzzy' AS a")
            bucket.write("uploads/a.csv", b"a\n1\n", "text/csv")
            found = warehouse.engine.rows("SELECT * FROM s3(trips_bucket, filename = 'uploads/a.csv')")
            assert found == [(1,)]
        with open_reader(settings, on_wait=print) as opened:
            yield opened


def test_nothing_outside_the_tables(reader: Reader, tmp_path: Path) -> None:
    secret, target = tmp_path / "secret.txt", tmp_path / "target.csv"
    secret.write_text("xyzzy\n")
    let_through: list[tuple[str, object]] = []
    for text in OUTSIDE:
        statement = text.format(secret=secret, target=target)
        try:
            answer = reader.rows(reader.checked(statement))
        except (QueryError, WarehouseError) as refusal:
            if "xyzzy" in str(refusal):
                let_through.append((statement, "in the refusal"))
        else:
            let_through.append((statement, answer))
    assert let_through == []
    assert not target.exists()


def test_no_system_table_tells_a_secret(reader: Reader, bucket: Bucket) -> None:
    secrets = [SENTINEL, str(bucket.access.secret_key), str(bucket.access.access_key), "xyzzy"]
    assert os.environ["CLICKHOUSE_PASSWORD"] == SENTINEL
    told, read = [], 0
    for (table,) in reader.rows("SELECT name FROM system.tables WHERE database = 'system' ORDER BY name"):
        try:
            answer = str(reader.rows(f"SELECT * FROM system.{table} LIMIT 5000"))
        except (QueryError, WarehouseError):
            continue  # not for readers, it needs a condition, or a part that the engine does not have
        read += 1
        told += [(table, secret) for secret in secrets if secret in answer]
    assert told == []
    assert read > 50


@pytest.mark.parametrize("name", ["max_execution_time", "max_memory_usage", "max_result_rows", "max_result_bytes"])
def test_limits_are_in_force(reader: Reader, name: str) -> None:
    [[limit]] = reader.rows(f"SELECT getSetting('{name}')")
    assert limit == read_only._LIMITS[name]
