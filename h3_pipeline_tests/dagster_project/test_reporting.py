"""What Dagster is told of many uploads at once, in SQLite and in PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetSpec,
    BackfillPolicy,
    DagsterInstance,
    MaterializeResult,
    StaticPartitionsDefinition,
    materialize,
    multi_asset,
)

from h3_pipeline.assets.reporting import describe_partitions, report, report_without_run
from h3_pipeline.local.dagster_home import EVENTS_AT_ONCE
from h3_pipeline.local.postgres import PostgresServer
from h3_pipeline.local.production import write_instance
from h3_pipeline_tests.ops.instances import ours

PARTITIONS = ["a.csv", "b.csv", "c.csv"]
RANGE = {"dagster/asset_partition_range_start": "a.csv", "dagster/asset_partition_range_end": "b.csv"}
TABLES = ("trips", "cell_hourly")


def told(asset: str, partition: str, **metadata: int) -> AssetMaterialization:
    return AssetMaterialization(AssetKey(asset), partition=partition, metadata=metadata, tags={"size": "small"})


@multi_asset(
    specs=[*(AssetSpec(name, skippable=True) for name in TABLES), AssetSpec("verdicts")],
    partitions_def=StaticPartitionsDefinition(PARTITIONS),
    backfill_policy=BackfillPolicy.single_run(),
)
def load(context: AssetExecutionContext) -> Iterator[MaterializeResult]:
    report(context, [told(table, key, rows=len(key)) for key in context.partition_keys for table in TABLES])
    describe_partitions(context, "verdicts", {key: {"of": key} for key in context.partition_keys})
    yield MaterializeResult(asset_key="verdicts")


@pytest.fixture(params=["sqlite", "postgres"])
def stored(
    request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterInstance]:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    if request.param == "sqlite":
        with ours(tmp_path) as instance:
            yield instance
        return
    database: PostgresServer = new_database()
    for name, value in {**database.environment(), **EVENTS_AT_ONCE}.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.from_config(str(write_instance(tmp_path).parent)) as instance:
        yield instance


def partitions(instance: DagsterInstance, asset: str) -> list[str | None]:
    return [record.partition_key for record in instance.fetch_materializations(AssetKey(asset), limit=10).records]


def newest(instance: DagsterInstance, asset: str) -> str | None:
    """By the row that Dagster keeps of an asset."""
    [record] = instance.get_asset_records([AssetKey(asset)])
    entry = record.asset_entry.last_materialization
    return entry and entry.get_dagster_event().partition


def test_each_asset_knows_all_its_partitions_and_the_newest(
    stored: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = stored.event_log_storage
    batches = []

    def store_event_batch(events) -> None:
        batches.append({str(event.get_dagster_event().asset_key) for event in events})
        type(storage).store_event_batch(storage, events)

    monkeypatch.setattr(storage, "store_event_batch", store_event_batch)
    run = materialize([load], instance=stored, tags=RANGE)
    assert run.success
    for table in TABLES:
        assert partitions(stored, table) == ["b.csv", "a.csv"]
        assert newest(stored, table) == "b.csv"
        assert batches.count({str(AssetKey(table))}) >= 1
        [entry, _] = stored.fetch_materializations(AssetKey(table), limit=2).records
        assert entry.run_id == run.run_id
        assert entry.asset_materialization is not None
        assert entry.asset_materialization.metadata["rows"].value == 5
    verdicts = stored.fetch_materializations(AssetKey("verdicts"), limit=10).records
    assert {
        each.partition_key: each.asset_materialization.metadata["of"].value
        for each in verdicts
        if each.asset_materialization
    } == {"a.csv": "a.csv", "b.csv": "b.csv"}


def test_what_belongs_to_no_run(stored: DagsterInstance) -> None:
    report_without_run(stored, [told("raw", key) for key in PARTITIONS])
    stored.report_runless_asset_event(told("raw", "d.csv"))
    ours, dagsters = stored.fetch_materializations(AssetKey("raw"), limit=2).records[::-1]
    assert partitions(stored, "raw") == ["d.csv", *reversed(PARTITIONS)]
    assert newest(stored, "raw") == "d.csv"
    assert (ours.run_id, ours.event_log_entry.job_name) == (dagsters.run_id, dagsters.event_log_entry.job_name)
    report_without_run(stored, [])
    assert len(partitions(stored, "raw")) == 4
