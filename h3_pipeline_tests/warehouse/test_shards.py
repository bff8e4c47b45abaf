"""Uploads spread over three servers: each is a shard, loaded, replaced and retracted as one server is.

No server here can ask another: ClickHouse's own protocol is not spoken. So what all shards hold is added up by the
tests, and reading over all is tried where the cluster has one shard, which the engine reads without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult

from h3_pipeline.cli.doctor import doctor
from h3_pipeline.cli.retract import retract
from h3_pipeline.cli.status import status
from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.definitions import build_definitions
from h3_pipeline.errors import WarehouseError
from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.publication import latest
from h3_pipeline.exports.runner import run_export
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.resources import PipelineResource
from h3_pipeline.settings import Settings
from h3_pipeline.stack import load_exports
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.connect import Shards, open_server, open_shard, open_warehouse
from h3_pipeline.warehouse.read_only import query_table
from h3_pipeline.warehouse.sharding import Shard
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from h3_pipeline_tests.servers.conftest import free_ports
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.uploads import process_all

PASSWORD = "only for tests"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
UPLOADS = {f"{name}.csv": trips_csv(20, first_minute=100 * place) for place, name in enumerate("abcdef")}
SMALLER = trips_csv(7)

_databases = count(1)


def cluster(name: str, *hosts: str) -> str:
    """A cluster in a server's configuration; the weight of its shards is 1."""
    shards = "".join(f"<shard><replica><host>{host}</host><port>9000</port></replica></shard>" for host in hosts)
    return f"<{name}>{shards}</{name}>"


HEAVY = (
    "<heavy><shard><weight>3</weight><replica><host>127.0.0.1</host><port>9000</port></replica></shard>"
    "<shard><replica><host>127.0.0.2</host><port>9000</port></replica>"
    "<replica><host>127.0.0.3</host><port>9000</port></replica></shard></heavy>"
)


@dataclass(frozen=True)
class Cluster:
    """Three servers, and what tells which."""

    servers: tuple[ClickHouseServer, ...]
    bucket: Bucket
    manifests: dict[str, Manifest]
    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Variables for a warehouse of its own, spread over the three."""
        access = self.bucket.access
        return {
            "H3_PIPELINE_HOME": str(self.home),
            "S3_ENDPOINT_URL": str(access.endpoint_url),
            "S3_BUCKET": access.name,
            "AWS_ACCESS_KEY_ID": str(access.access_key),
            "AWS_SECRET_ACCESS_KEY": str(access.secret_key),
            "CLICKHOUSE_HOST": self.servers[0].host,
            "CLICKHOUSE_HTTP_PORT": str(self.servers[0].port),
            "CLICKHOUSE_PASSWORD": PASSWORD,
            "CLICKHOUSE_DATABASE": f"trips_{next(_databases)}",
            "CLICKHOUSE_CLUSTER": "three",
            "CLICKHOUSE_REPLICATED": "0",
            "CLICKHOUSE_SHARDING": "upload",
            "H3_ROLLUP_RESOLUTIONS": "8,6",
            **more,
        }


@pytest.fixture(scope="module")
def three(new_bucket: Callable[[], Bucket], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    bucket = new_bucket()
    made = process_all(bucket, tmp_path_factory.mktemp("processing"), UPLOADS)
    folder = tmp_path_factory.mktemp("shards")
    clusters = cluster("three", *HOSTS) + cluster("one", HOSTS[0]) + HEAVY
    configuration = folder / "config.xml"
    configuration.write_text(
        f"<clickhouse>{named_collection_configuration(bucket.access)}"
        # by its own port a server knows which replica it is itself
        f"<tcp_port>9000</tcp_port><remote_servers>{clusters}</remote_servers></clickhouse>"
    )
    (port,) = free_ports(1)
    with ExitStack() as running:
        servers = [
            running.enter_context(
                clickhouse_server(
                    folder / f"data-{host}",
                    password=PASSWORD,
                    chdb_options={"config-file": str(configuration)},
                    host=host,
                    port=port,
                )
            )
            for host in HOSTS
        ]
        yield Cluster(tuple(servers), bucket, made, folder / "home")


@pytest.fixture
def settings(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a new warehouse over all three; the environment says the same."""
    for name, value in three.environment().items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def load(settings: Settings, three: Cluster, *keys: str) -> dict[Shard, list[str]]:
    """Load uploads as a loader does: each shard's on its own server, all shards at once."""
    groups = Shards(settings).group(keys)

    def publish(shard: Shard) -> None:
        with open_shard(settings, shard, three.bucket.access) as warehouse:
            for key in groups[shard]:
                warehouse.load(three.manifests[key])

    with ThreadPoolExecutor(len(groups)) as publishers:
        list(publishers.map(publish, groups))
    return groups


def everything(settings: Settings, three: Cluster, table: str) -> list[list[tuple[Any, ...]]]:
    """Rows of a table, by shard."""
    found = []
    for shard in Shards(settings).all:
        with open_shard(settings, shard, three.bucket.access) as warehouse:
            rows = warehouse.engine.rows(f"SELECT * FROM {table} ORDER BY ALL")
            found.append([tuple(row) for row in rows])
    return found


def rows_by_upload(settings: Settings, three: Cluster) -> dict[int, dict[str, int]]:
    """Rows in ``trips`` by shard and upload."""
    found = {}
    for shard in Shards(settings).all:
        with open_shard(settings, shard, three.bucket.access) as warehouse:
            found[shard.number] = warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload")
    return found


def test_shards_are_those_of_the_cluster(settings: Settings) -> None:
    assert Shards(settings).all == tuple(Shard(number, host) for number, host in enumerate(HOSTS, 1))
    heavy = settings.model_copy(update={"clickhouse_cluster": "heavy"})
    # publishers meet at the first replica
    assert Shards(heavy).all == (Shard(1, "127.0.0.1", 3), Shard(2, "127.0.0.2", 1))
    unknown = settings.model_copy(update={"clickhouse_cluster": "nine"})
    with pytest.raises(WarehouseError, match=r"^CLICKHOUSE_CLUSTER: ClickHouse at .* knows no cluster 'nine'"):
        Shards(unknown)


def test_the_key_alone_says_which(settings: Settings) -> None:
    keys = [f"city {number}/it's.csv" for number in range(400)]
    groups = Shards(settings).group(keys)
    assert sorted(key for group in groups.values() for key in group) == sorted(keys)
    assert [len(group) for group in groups.values()] == pytest.approx([133] * 3, abs=35)
    for shard, group in groups.items():
        assert group == [key for key in keys if key in group]
        assert Shards(settings).group(reversed(group)) == {shard: group[::-1]}
    heavy = Shards(settings.model_copy(update={"clickhouse_cluster": "heavy"}))
    assert {shard.number: len(group) for shard, group in heavy.group(keys).items()} == pytest.approx(
        {1: 300, 2: 100}, abs=35
    )
    assert Shards(settings).group([]) == {}


def test_without_sharding_nothing_is_asked() -> None:
    nowhere = Settings.load(clickhouse_host="127.0.0.9", clickhouse_cluster="three")
    assert Shards(nowhere).group(["a", "b"]) == {Shard(1): ["a", "b"]}
    assert Shards(nowhere).group([]) == {}


def test_all_shards_together_hold_what_one_server_would(settings: Settings, three: Cluster) -> None:
    groups = load(settings, three, *UPLOADS)
    assert len(groups) > 1
    assert rows_by_upload(settings, three) == {
        shard.number: dict.fromkeys(groups.get(shard, []), 20) for shard in Shards(settings).all
    }
    alone = settings.model_copy(
        update={"clickhouse_sharding": "off", "clickhouse_database": f"{settings.clickhouse_database}_alone"}
    )
    with open_warehouse(alone, three.bucket.access) as whole:
        for manifest in three.manifests.values():
            whole.load(manifest)
    # the uploads share no hour, so that rows of the views are not added up over the shards
    for table in ("trips", "cell_hourly_view", "flow_hourly_view"):
        shards = everything(settings, three, table)
        assert sum(map(bool, shards)) == len(groups)
        [expected] = everything(alone, three, table)
        assert len(expected) >= 20
        assert sorted(map(str, chain(*shards))) == sorted(map(str, expected))


def test_a_replacement_and_a_retraction_touch_their_own_shard_alone(
    settings: Settings, three: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    groups = load(settings, three, *UPLOADS)
    before = rows_by_upload(settings, three)
    key = "b.csv"
    own = next(shard for shard, keys in groups.items() if key in keys)
    smaller = process_all(three.bucket, tmp_path, {key: SMALLER})
    for server in three.servers:
        server.clear_statements()
    load(settings, Cluster(three.servers, three.bucket, smaller, three.home), key)
    assert rows_by_upload(settings, three) == {**before, own.number: {**before[own.number], key: 7}}
    written = {
        server.host
        for server in three.servers
        if any(statement.query.startswith(("ALTER", "INSERT")) for statement in server.statements())
    }
    assert written == {own.host}
    assert retract([f"uploads/{key}"]) == 0
    del before[own.number][key]
    assert rows_by_upload(settings, three) == before
    with pytest.raises(WarehouseError, match=r"^never\.csv is not in the warehouse"):
        retract(["never.csv"])
    process_all(three.bucket, tmp_path, {key: UPLOADS[key]})


def test_two_publishers_of_one_shard_wait_for_each_other(settings: Settings, three: Cluster) -> None:
    groups = Shards(settings).group(UPLOADS)
    shard, keys = max(groups.items(), key=lambda group: len(group[1]))
    assert len(keys) > 1
    server = next(server for server in three.servers if server.host == shard.host)
    waited: list[str] = []

    def wait(said: str) -> None:
        waited.append(said)
        server.let_go()

    def publish(key: str) -> None:
        with open_shard(settings, shard, three.bucket.access, on_wait=wait) as warehouse:
            warehouse.load(three.manifests[key])

    with open_shard(settings, shard, three.bucket.access):
        pass  # the tables are there before both begin
    server.inject(Fault.hold("ATTACH PARTITION"))  # until the other one waits
    with ThreadPoolExecutor(2) as publishers:
        list(publishers.map(publish, keys[:2]))
    assert server.faults() == []
    assert rows_by_upload(settings, three)[shard.number] == dict.fromkeys(keys[:2], 20)
    assert waited
    assert waited[0].startswith(f"Another process is publishing to ClickHouse at http://{shard.host}:")


def run(job: str, instance: DagsterInstance, **config: Any) -> ExecuteInProcessResult:
    definitions = build_definitions(PipelineResource())
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, run_config=config or None
    )


def test_jobs_go_through_all_shards(settings: Settings, three: Cluster) -> None:
    groups = load(settings, three, *UPLOADS)
    with DagsterInstance.ephemeral() as instance:
        retracted = run(
            "retract_uploads", instance, ops={"retract": {"config": {"uploads": ["a.csv", "uploads/b.csv"]}}}
        )
        assert retracted.success
        assert retracted.output_for_node("retract") == {"a.csv": 20, "b.csv": 20}
        left = rows_by_upload(settings, three)
        assert sorted(key for rows in left.values() for key in rows) == ["c.csv", "d.csv", "e.csv", "f.csv"]
        reconciled = run("reconcile_warehouse", instance)
        evaluations = {each.check_name: each for each in reconciled.get_asset_check_evaluations()}
        assert len(evaluations) == 3
        assert all(each.passed for each in evaluations.values())
        records = evaluations["cell_hourly_reconciles"].metadata["by resolution"].records  # type: ignore[union-attr]
        assert {(record.data["shard"], record.data["resolution"]) for record in records} == {
            (shard, resolution) for shard in (1, 2, 3) for resolution in (8, 6)
        }
        assert sum(record.data["trips"] for record in records if record.data["resolution"] == 8) == 4 * 20
        # one that is on two shards is found
        own, keys = next(iter(groups.items()))
        key = next(key for key in keys if key not in {"a.csv", "b.csv"})
        other = next(shard for shard in Shards(settings).all if shard != own)
        with open_shard(settings, other, three.bucket.access) as warehouse:
            warehouse.load(three.manifests[key])
        again = {each.check_name: each for each in run("reconcile_warehouse", instance).get_asset_check_evaluations()}
        assert {name for name, each in again.items() if not each.passed} == {"uploads_are_accounted_for"}
        differences = again["uploads_are_accounted_for"].metadata["differences"].records  # type: ignore[union-attr]
        assert [record.data for record in differences] == [{"upload": key, "loaded": 20, "in trips": 40}]


def test_status_and_doctor_tell_of_all_shards(
    settings: Settings, three: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    load(settings, three, *UPLOADS)
    assert status(as_json=False) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if ".csv" in line] == sorted(UPLOADS)
    [trips] = [line for line in shown.splitlines() if line.strip().startswith("trips")]
    assert trips.split()[1] == "120"
    doctor()
    shown = " ".join(capsys.readouterr().out.split())
    for number, host in enumerate(HOSTS, 1):
        assert f"shard {number} on {host}: ClickHouse" in shown


def test_what_works_on_one_server_alone_says_so(settings: Settings, three: Cluster) -> None:
    with (
        pytest.raises(WarehouseError, match=r"^The warehouse has 3 shards, and this works on a single one only"),
        open_warehouse(settings, three.bucket.access),
    ):
        pass


def test_reading_makes_the_tables_of_every_shard(settings: Settings, three: Cluster) -> None:
    database = f"{settings.clickhouse_database}_everywhere"
    with open_server(settings) as engine:
        assert engine.value("SELECT currentDatabase()") == database
        assert engine.rows("SELECT DISTINCT engine FROM system.tables WHERE database = currentDatabase()") == [
            ("Distributed",),
            ("View",),
        ]
        text = engine.value("SHOW CREATE TABLE trips")
        assert f"Distributed('three', '{settings.clickhouse_database}', 'trips', cityHash64(upload))" in text
        # all shards are asked: one that does not answer is an error, and no smaller number
        with pytest.raises(QueryError, match=r"127\.0\.0\.[23]:9000"):
            engine.rows("SELECT count() FROM trips")
    for server, shard in zip(three.servers, Shards(settings).all, strict=True):
        assert shard.host == server.host
        with open_shard(settings, shard, None) as warehouse:
            found = warehouse.engine.value(
                "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'trips'",
                {"database": settings.clickhouse_database},
            )
            assert found == 1
    for server in three.servers:
        server.clear_statements()
    with open_server(settings):
        pass
    assert not any("CREATE" in statement.query for server in three.servers for statement in server.statements())


def test_tables_over_all_follow_the_tables_of_a_shard(settings: Settings) -> None:
    with open_server(settings) as engine:
        table = f"{settings.clickhouse_database}.trips"
        engine.command(f"ALTER TABLE {table} ADD COLUMN colour String")
        assert not engine.value("SELECT hasColumnInTable(currentDatabase(), 'trips', 'colour')")
    with open_server(settings) as engine:
        columns = [row[0] for row in engine.rows("DESCRIBE TABLE trips")]
        assert columns[-1] == "colour"


def test_queries_and_exports_read_over_all(settings: Settings, three: Cluster) -> None:
    settings = settings.model_copy(update={"clickhouse_cluster": "one"})
    load(settings, three, *UPLOADS)
    sql = "SELECT count(), uniqExact(upload) FROM trips"
    assert query_table(settings, sql, max_rows=1, on_wait=print).rows == [["120", "6"]]
    with open_server(settings) as engine:
        local = settings.clickhouse_database
        for view in ("cell_hourly_view", "flow_hourly_view"):
            over_all = engine.rows(f"SELECT * FROM {view} ORDER BY ALL")
            assert len(over_all) > 20
            assert over_all == engine.rows(f"SELECT * FROM {local}.{view} ORDER BY ALL")
    query = load_exports(settings).queries["busiest_cells"]
    bound = bind(query, {}, None, settings.h3_rollup_resolutions)
    exported = run_export(bound, settings=settings, bucket=three.bucket)
    assert not exported.damaged
    manifest = latest(three.bucket, exported.place)
    assert manifest is not None
    assert manifest.rows > 0
    assert manifest.sources["count"] == len(UPLOADS)
