"""No credential is written anywhere: not to SQL, to a log, to Dagster's storage, to a traceback, to query_log.

One real life of the pipeline: a tick of the daemon, a run with a good and a bad upload, runs that fail
because a login or the bucket is wrong, a person's query. Then everything that it left is searched.
"""

import io
import logging
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from h3_pipeline.definitions import build_definitions
from h3_pipeline.ingestion import ingest
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.read_only import query_table
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.dagster_project.daemon import sensor_daemon_on
from h3_pipeline_tests.servers.clickhouse_http import clickhouse_server

PASSWORD = "pass-word-of-the-warehouse"
WRONG_PASSWORD = "pass-word-that-is-not-taken"
WRONG_KEY = "secret-key-that-is-not-taken"

_QUERY_LOG = "<query_log><database>system</database><table>query_log</table></query_log>"


@dataclass(frozen=True)
class Left:
    """What the life of the pipeline left.

    Attributes:
        secrets: What must not be in it.
        files: Content of every file below the home and Dagster's folder.
        said: What was written to stdout, stderr and any logger.
        query_log: Every row of the server's log of queries.
    """

    secrets: list[str]
    files: dict[str, bytes]
    said: str
    query_log: str


def execute(job: str, instance: DagsterInstance, config: dict[str, Any] | None = None) -> ExecuteInProcessResult:
    definition = build_definitions().resolve_job_def(job)
    return definition.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


@pytest.fixture(scope="module")
def left(new_bucket: Callable[[], Bucket], tmp_path_factory: pytest.TempPathFactory) -> Left:
    bucket = new_bucket()
    access = bucket.access
    folder = tmp_path_factory.mktemp("life")
    (folder / "dagster").mkdir()
    configuration = tmp_path_factory.mktemp("server") / "config.xml"
    configuration.write_text(f"<clickhouse>{_QUERY_LOG}{named_collection_configuration(access)}</clickhouse>")
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    root = logging.getLogger()
    with (
        clickhouse_server(
            configuration.with_name("data"), password=PASSWORD, chdb_options={"config-file": str(configuration)}
        ) as server,
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(heard),
        redirect_stderr(heard),
    ):
        for name, value in {
            "H3_PIPELINE_HOME": str(folder / "home"),
            "S3_ENDPOINT_URL": str(access.endpoint_url),
            "S3_BUCKET": access.name,
            "AWS_ACCESS_KEY_ID": str(access.access_key),
            "AWS_SECRET_ACCESS_KEY": str(access.secret_key),
            "CLICKHOUSE_HOST": server.host,
            "CLICKHOUSE_HTTP_PORT": str(server.port),
            "CLICKHOUSE_PASSWORD": PASSWORD,
        }.items():
            patch.setenv(name, value)
        root.addHandler(handler)
        level = root.level
        root.setLevel(logging.INFO)
        try:
            bucket.write("uploads/good.csv", trips_csv(3).encode(), "text/csv")
            bucket.write("uploads/bad.csv", b"x,y\n1,2\n", "text/csv")
            with sensor_daemon_on(folder / "dagster") as daemon:
                daemon.tick()
                report = ingest(["good.csv", "bad.csv"], bucket=bucket, instance=daemon.instance)
                assert {each.status for each in report.uploads} == {"loaded", "refused"}
                with pytest.MonkeyPatch.context() as wrong:
                    wrong.setenv("CLICKHOUSE_PASSWORD", WRONG_PASSWORD)
                    uploads = {"ops": {"retract": {"config": {"uploads": ["good.csv"]}}}}
                    assert not execute("retract_uploads", daemon.instance, uploads).success
                with pytest.MonkeyPatch.context() as wrong:
                    wrong.setenv("AWS_SECRET_ACCESS_KEY", WRONG_KEY)
                    assert not execute("prune_partitions", daemon.instance).success
                    daemon.tick()
                    assert daemon.errors()
            settings = Settings.load()
            print(repr(settings), settings.model_dump_json(), repr(bucket.access))
            query_table(settings, "SELECT * FROM trips", max_rows=1, on_wait=print)
            with open_warehouse(settings, access) as warehouse:
                warehouse.engine.command("SYSTEM FLUSH LOGS")
                log = str(warehouse.engine.rows("SELECT * FROM system.query_log"))
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    secrets = [PASSWORD, WRONG_PASSWORD, WRONG_KEY, str(access.secret_key), str(access.access_key)]
    return Left(secrets, files, heard.getvalue(), log)


def test_dagsters_storage_and_the_home(left: Left) -> None:
    found = [
        (name, secret) for name, content in left.files.items() for secret in left.secrets if secret.encode() in content
    ]
    assert found == []
    searched = b"".join(left.files.values())
    for evidence in (b"good.csv", b"uploads_sensor", b"WarehouseError", b"StorageError", b"unknown_header"):
        assert evidence in searched


def test_logs_and_tracebacks(left: Left) -> None:
    assert [secret for secret in left.secrets if secret in left.said] == []
    assert "Traceback" in left.said
    assert "SecretStr" in left.said


def test_sql_and_query_log(left: Left) -> None:
    assert [secret for secret in left.secrets if secret in left.query_log] == []
    assert "s3(trips_bucket" in left.query_log
    assert "DELETE" in left.query_log or "ATTACH PARTITION" in left.query_log
