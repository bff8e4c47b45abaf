"""Several shards: each is a warehouse of its own, and together they hold what one would.

One engine stands for all of them: it reads the cluster from its configuration and makes the distributed tables, but
has no server that another could ask. So the shards are databases, and their union is read in place of those tables.
"""

from collections.abc import Callable, Iterator

import pytest

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import LOADED_TABLES, Placement
from h3_pipeline.warehouse.sharding import Sharding, ShardKey, create_everywhere
from h3_pipeline.warehouse.templates import render_migration
from h3_pipeline_tests.dagster_project.conftest import trips_csv
from h3_pipeline_tests.uploads import process_all

SHARDS = 3
UPLOADS = {f"{name}.csv": trips_csv(40, first_minute=100 * place) for place, name in enumerate("abcdef")}

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


@pytest.fixture(scope="module")
def whole(warehouse: Callable[[str], Warehouse], manifests: dict[str, Manifest]) -> Warehouse:
    """All uploads in one warehouse."""
    whole = warehouse("whole")
    for manifest in manifests.values():
        whole.load(manifest)
    return whole


@pytest.mark.parametrize("key", ShardKey)
def test_tables_and_views_over_all_shards(
    engine: ClickHouse, warehouse: Callable[[str], Warehouse], key: ShardKey
) -> None:
    placement = warehouse(f"ddl_{key.name.lower()}").placement
    made = create_everywhere(engine, placement, Sharding(SHARDS, key), cluster="trips_cluster")
    assert create_everywhere(engine, placement, Sharding(SHARDS, key), cluster="trips_cluster") == made
    assert engine.value("SELECT count() FROM system.clusters WHERE cluster = 'trips_cluster'") == SHARDS
    for table in LOADED_TABLES:
        everywhere = f"{table}_everywhere"
        local, distributed = (
            engine.rows(
                "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String}",
                {"database": placement.database, "table": name},
            )
            for name in (table, everywhere)
        )
        assert distributed == local
        text = engine.value(f"SHOW CREATE TABLE {placement.table(everywhere)}")
        assert f"Distributed('trips_cluster', '{placement.database}', '{table}'" in text
        assert (key.expression in text) == (table == "trips")
    for view in ("cell_hourly", "flow_hourly"):
        assert f"{view}_everywhere" in engine.value(f"SHOW CREATE VIEW {placement.table(view + '_everywhere_view')}")


def test_nobody_inserts_rollups_through_the_distributed_tables(
    engine: ClickHouse, warehouse: Callable[[str], Warehouse]
) -> None:
    placement = warehouse("ddl_insert").placement
    create_everywhere(engine, placement, Sharding(SHARDS), cluster="trips_cluster")
    with pytest.raises(QueryError, match="sharding key"):
        engine.command(
            f"INSERT INTO {placement.table('cell_hourly_everywhere')} SELECT * FROM {placement.table('cell_hourly')}"
        )


def test_each_upload_is_on_one_shard_and_all_shards_make_the_whole(
    engine: ClickHouse, warehouse: Callable[[str], Warehouse], whole: Warehouse, manifests: dict[str, Manifest]
) -> None:
    sharding = Sharding(SHARDS)
    shards = [warehouse(f"shard_{number}") for number in range(SHARDS)]
    for key, manifest in manifests.items():
        shards[sharding.shard_of(engine, key)].load(manifest)
    used = [shard for shard in shards if engine.value(f"SELECT count() FROM {shard.placement.table('trips')}")]
    assert len(used) > 1
    # what is replaced, and what is retracted, touches its own shard alone
    key = "b.csv"
    own = shards[sharding.shard_of(engine, key)]
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


def test_by_region_every_trip_is_on_exactly_one_shard(engine: ClickHouse, whole: Warehouse) -> None:
    sharding = Sharding(SHARDS, ShardKey.REGION)
    table = whole.placement.table("trips")
    conditions = [sharding.condition(shard) for shard in range(SHARDS)]
    sums = ", ".join(f"countIf({condition})" for condition in conditions)
    times = " + ".join(f"({condition})" for condition in conditions)
    [counts] = engine.rows(f"SELECT {sums} FROM {table}")
    assert sum(counts) == 40 * len(UPLOADS)
    assert engine.value(f"SELECT countIf({times} != 1) FROM {table}") == 0
    # a question about one cell needs one shard: planning it is refused where the key does not tell which
    placement = Placement("ddl_region")
    cell = engine.value(f"SELECT any(origin_h3) FROM {table}")
    plan = (
        f"EXPLAIN SELECT count() FROM {placement.table('trips_everywhere')} WHERE origin_h3 = {cell} "
        "SETTINGS optimize_skip_unused_shards = 1, force_optimize_skip_unused_shards = 2"
    )
    engine.rows(plan)
    with pytest.raises(QueryError, match=r"Sharding key .* is not used"):
        engine.rows(plan.replace("origin_h3 =", "row_number ="))


def test_an_upload_has_no_shard_of_its_own_by_region(engine: ClickHouse) -> None:
    with pytest.raises(ValueError, match="spreads an upload over all shards"):
        Sharding(SHARDS, ShardKey.REGION).shard_of(engine, "a.csv")
