"""The tables and views over all shards, as one engine makes them, and what views give that add up several shards.

The engine reads the cluster from its configuration, but has no server that another could ask. So the shards are
databases here, and their union is read in place of the distributed tables.
"""

from collections.abc import Callable, Iterator

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.everywhere import (
    TABLES,
    everywhere,
    everywhere_is_current,
    everywhere_statements,
    keep_everywhere,
)
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import LOADED_TABLES, Placement
from h3_pipeline.warehouse.sharding import SHARDING_KEY, group_by_shard, shards_of
from h3_pipeline.warehouse.templates import render_migration
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.uploads import process_all

SHARDS = 3
# they share hours and cells, so that views have to add up rows of several shards
UPLOADS = {f"{name}.csv": trips_csv(40, first_minute=10 * place) for place, name in enumerate("abcdef")}

_CLUSTER = "<remote_servers><trips_cluster>{}</trips_cluster></remote_servers>".format(
    "".join(
        f"<shard><internal_replication>true</internal_replication>"
        f"<replica><host>127.0.0.{number + 1}</host><port>9000</port></replica></shard>"
        for number in range(SHARDS)
    )
)
_MACROS = "<macros><shard>1</shard><replica>ch-1</replica></macros>"


@pytest.fixture(scope="module")
def manifests(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    return process_all(bucket, tmp_path_factory.mktemp("processing"), UPLOADS)


@pytest.fixture(scope="module")
def engine(
    bucket: Bucket, manifests: dict[str, Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClickHouse]:
    configuration = named_collection_configuration(bucket.access) + _CLUSTER + _MACROS
    with open_embedded(tmp_path_factory.mktemp("shards") / "engine", configuration=configuration) as engine:
        yield engine


@pytest.fixture(scope="module")
def warehouse(engine: ClickHouse, manifests: dict[str, Manifest]) -> Callable[[str], Warehouse]:
    def make(database: str) -> Warehouse:
        placement = Placement(database)
        migrate(engine, placement)
        return Warehouse(engine, placement, (8, 6))

    return make


def test_tables_and_views_over_all_shards(engine: ClickHouse, warehouse: Callable[[str], Warehouse]) -> None:
    placement = warehouse("ddl").placement
    assert not everywhere_is_current(engine, placement)
    keep_everywhere(engine, placement, cluster="trips_cluster")
    assert everywhere_is_current(engine, placement)
    over_all = everywhere(placement).database
    made = engine.rows(f"SELECT name, uuid FROM system.tables WHERE database = '{over_all}' ORDER BY name")
    keep_everywhere(engine, placement, cluster="trips_cluster")
    assert engine.rows(f"SELECT name, uuid FROM system.tables WHERE database = '{over_all}' ORDER BY name") == made
    assert {name for name, _ in made} == {*TABLES, "cell_hourly_view", "flow_hourly_view"}
    for table in TABLES:
        text = engine.value(f"SHOW CREATE TABLE {over_all}.{table}")
        assert f"Distributed('trips_cluster', 'ddl', '{table}', {SHARDING_KEY})" in text
    for table in LOADED_TABLES[1:]:
        assert f"FROM {over_all}.{table} " in engine.value(f"SHOW CREATE VIEW {over_all}.{table}_view").replace(
            "\n", " "
        )


def test_on_a_cluster_with_replicas_every_statement_is_for_all_servers(engine: ClickHouse) -> None:
    """No server here takes ON CLUSTER: the engine's parser tells that they are what they should be."""
    statements = everywhere_statements(Placement("p", "trips_cluster"), cluster="trips_cluster")
    assert len(statements) == 1 + len(TABLES) + 4
    for statement in statements:
        parsed = engine.value("SELECT formatQuerySingleLine({sql:String})", {"sql": statement})
        assert "ON CLUSTER trips_cluster" in parsed, parsed


def test_a_question_about_one_upload_is_planned_on_one_shard(
    engine: ClickHouse, warehouse: Callable[[str], Warehouse]
) -> None:
    placement = warehouse("plans").placement
    keep_everywhere(engine, placement, cluster="trips_cluster")
    settings = {"optimize_skip_unused_shards": 1, "force_optimize_skip_unused_shards": 2}
    shards = shards_of(engine, "trips_cluster")
    [shard] = group_by_shard(engine, shards, ["a.csv"])
    for table in TABLES:
        question = f"SELECT count() FROM {everywhere(placement).table(table)} WHERE upload = 'a.csv'"
        # it is asked over a network that is not there: the error names the only server that is asked
        with pytest.raises(Exception, match=f"{shard.host}:9000") as error:
            engine.rows(question, settings=settings)
        assert all(f"{other.host}:9000" not in str(error.value) for other in shards if other != shard)


def test_each_upload_is_on_one_shard_and_all_shards_make_the_whole(
    engine: ClickHouse, warehouse: Callable[[str], Warehouse], manifests: dict[str, Manifest]
) -> None:
    whole = warehouse("whole")
    for manifest in manifests.values():
        whole.load(manifest)
    shards = {shard: warehouse(f"shard_{shard.number}") for shard in shards_of(engine, "trips_cluster")}
    groups = group_by_shard(engine, list(shards), manifests)
    assert len(groups) > 1
    for shard, keys in groups.items():
        for key in keys:
            shards[shard].load(manifests[key])
    key = "b.csv"
    own = next(shards[shard] for shard, keys in groups.items() if key in keys)
    own.load(manifests[key])
    own.retract(key)
    own.load(manifests[key])
    for view, migration in (("cell_hourly", "0004_cell_hourly_view"), ("flow_hourly", "0005_flow_hourly_view")):
        union = render_migration(
            migration,
            table=lambda _, view=view: f"`whole`.`{view}_of_all_shards`",
            qualified=lambda table: f"merge(REGEXP('^shard_'), '^{table}$')",
        )
        engine.command(union)
        found, expected = (
            engine.rows(f"SELECT * FROM whole.{name} ORDER BY ALL")
            for name in (f"{view}_of_all_shards", f"{view}_view")
        )
        assert len(expected) > 10
        assert found == expected
