"""Production on one machine, every process for real: what is killed is taken over, and nothing is done twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import pytest

from h3_pipeline.local.postgres import PostgresServer, local_postgres
from h3_pipeline.ops.launchers.process import PROCESS_TAG
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline_tests.integration.site import REPOSITORY, Site, eventually, production_site
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from h3_pipeline_tests.servers.faults import Fault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PASSWORD = "only for tests"
ADD = """mutation Add($repository: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: "uploads", partitionKey: $key) {
    __typename } }"""
FIRST_STATEMENT = "geoToH3"
"""The first statement of whoever opens the warehouse; who hangs in it holds the pool, and no lease yet."""


@dataclass
class Database:
    """Dagster's database, which can be away for a while."""

    folder: Path
    server: PostgresServer
    stack: ExitStack

    def stop(self) -> None:
        self.stack.close()

    def start(self) -> None:
        self.server = self.stack.enter_context(local_postgres(self.folder, port=self.server.port, durable=False))


@pytest.fixture(scope="module")
def database(postgres_folder: Path) -> Iterator[Database]:
    """A server of the test's own, which it may stop."""
    with ExitStack() as stack:
        folder = postgres_folder / "integration"
        server = stack.enter_context(local_postgres(folder, durable=False))
        yield Database(folder, server, stack)


@pytest.fixture(scope="module")
def bucket(new_bucket: Callable[[], Bucket]) -> Bucket:
    return new_bucket()


@pytest.fixture(scope="module")
def warehouse(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    folder = tmp_path_factory.mktemp("warehouse")
    configuration = folder / "config.xml"
    configuration.write_text(f"<clickhouse>{named_collection_configuration(bucket.access)}</clickhouse>")
    with clickhouse_server(
        folder / "data", password=PASSWORD, chdb_options={"config-file": str(configuration)}
    ) as server:
        yield server


@pytest.fixture(scope="module")
def site(
    database: Database, bucket: Bucket, warehouse: ClickHouseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    access = bucket.access
    assert access.endpoint_url
    assert access.access_key
    assert access.secret_key
    environment = {
        "S3_ENDPOINT_URL": access.endpoint_url,
        "S3_BUCKET": access.name,
        "AWS_ENDPOINT_URL_S3": access.endpoint_url,
        "AWS_ACCESS_KEY_ID": access.access_key,
        "AWS_SECRET_ACCESS_KEY": access.secret_key,
        "AWS_REGION": access.region,
        "AWS_DEFAULT_REGION": access.region,
        "DAGSTER_COMPUTE_LOGS_BUCKET": access.name,
        "CLICKHOUSE_HOST": warehouse.host,
        "CLICKHOUSE_HTTP_PORT": str(warehouse.port),
        "CLICKHOUSE_PASSWORD": PASSWORD,
        "H3_ROLLUP_RESOLUTIONS": "7",
    }
    with production_site(tmp_path_factory.mktemp("site"), database.server, environment) as running:
        eventually("the webserver's health", lambda: healthy(running))
        eventually("the code server's code in it", running.loaded)
        yield running


def healthy(site: Site) -> bool:
    answer = site.get("/health")
    return answer is not None and answer.status == 200


def rows(warehouse: ClickHouseServer) -> dict[str, int]:
    """Rows in ``trips``, by upload."""
    with clickhouse_connect.get_client(
        host=warehouse.host, port=warehouse.port, password=PASSWORD, database="h3_pipeline"
    ) as client:
        return dict(client.query("SELECT upload, count() FROM trips GROUP BY upload").result_rows)


def upload(bucket: Bucket, name: str, trips: int, first: int) -> None:
    bucket.write(f"uploads/{name}", trips_csv({"2024-01": trips, "2024-02": trips}, first=first).encode(), "text/csv")


def worker(run: dict) -> int:
    """Id of a run's process."""
    return int(run["tags"][PROCESS_TAG].partition(":")[0])


def test_a_worker_and_the_daemon_are_killed(site: Site, bucket: Bucket, warehouse: ClickHouseServer) -> None:
    # a run takes neighbours of the list of partitions: with a stranger between them, each gets a run of its own
    for name in ("city/a.csv", "stranger.csv", "city/b.csv"):
        result = site.ask(ADD, repository=REPOSITORY, key=name)["addDynamicPartition"]
        assert result["__typename"] == "AddDynamicPartitionSuccess"
    upload(bucket, "city/a.csv", 30, 1)
    upload(bucket, "city/b.csv", 20, 2)
    warehouse.inject(Fault.delay(FIRST_STATEMENT, 280))
    first = site.start_daemon("daemon-1")

    def both_work() -> bool:
        first.check()
        return [run["status"] for run in site.runs()] == ["STARTED", "STARTED"]

    eventually("two runs at once", both_work)
    runs = site.runs()
    assert {run["tags"]["dagster/partition"] for run in runs} == {"city/a.csv", "city/b.csv"}
    assert len({worker(run) for run in runs}) == 2
    assert {(run["tags"]["h3_pipeline/feed"], run["tags"]["h3_pipeline/size"]) for run in runs} == {("city", "small")}
    health = site.get("/health")
    assert health
    assert health.json()["daemon"]["status"] == "ok"
    assert health.json()["warehouse"]["status"] == "ok"

    first.kill()
    # one of them waits in the warehouse, with the pool's only place
    eventually("a run in the warehouse", lambda: warehouse.faults() == [])
    loading = eventually("its step", lambda: [run for run in site.runs() if "load_uploads" in run["steps"]])
    victim = next(run for run in loading if run["steps"]["load_uploads"] == "IN_PROGRESS")
    os.kill(worker(victim), signal.SIGKILL)
    second = site.start_daemon("daemon-2")

    def all_done() -> bool:
        second.check()
        return sorted(run["status"] for run in site.runs()) == ["FAILURE", "SUCCESS", "SUCCESS"]

    eventually("the killed run's failure and the others' success", all_done)
    runs = site.runs()
    failed = next(run for run in runs if run["status"] == "FAILURE")
    retry = next(run for run in runs if run["parentRunId"])
    assert failed["runId"] == victim["runId"] == retry["parentRunId"]
    assert retry["tags"]["dagster/partition"] == victim["tags"]["dagster/partition"]
    # what was done is not done again, and nothing else ran
    assert "process_uploads" not in retry["steps"]
    assert len(runs) == 3
    assert rows(warehouse) == {"city/a.csv": 60, "city/b.csv": 40}
    assert list(bucket.list("compute-logs/"))  # what the runs printed, for the UI
    assert PASSWORD not in second.log.read_text()


def test_the_database_is_away(site: Site, bucket: Bucket, warehouse: ClickHouseServer, database: Database) -> None:
    before = len(site.runs())
    database.stop()
    answer = eventually("a health page", lambda: site.get("/health"))
    assert answer.status == 503
    assert answer.json()["instance_storage"]["status"] == "down"
    assert answer.json()["warehouse"]["status"] == "ok"
    assert database.server.password not in answer.data.decode()
    assert database.server.password not in site.log()
    upload(bucket, "city/c.csv", 10, 3)
    database.start()
    eventually("health after the database is back", lambda: healthy(site))

    def loaded() -> bool:
        site.processes["daemon-2"].check()
        return [run["status"] for run in site.runs()[before:]] == ["SUCCESS"]

    eventually("the run of what came meanwhile", loaded)
    assert rows(warehouse) == {"city/a.csv": 60, "city/b.csv": 40, "city/c.csv": 20}
    assert [run["tags"]["dagster/partition"] for run in site.runs()[before:]] == ["city/c.csv"]
