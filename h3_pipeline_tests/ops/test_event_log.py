"""The event log of a local home: the files of Dagster's own class, and who waits for them to change is told."""

from pathlib import Path
from queue import Queue

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    BackfillPolicy,
    DagsterInstance,
    EventLogEntry,
    StaticPartitionsDefinition,
    asset,
    job,
    materialize,
    op,
)

from h3_pipeline.ops.event_log import LastingSqliteEventLog
from h3_pipeline_tests.ops.instances import dagsters, ours

_ASSET = AssetKey("thing")


@op
def make_thing(context) -> None:
    context.log.info("made")
    context.log_event(AssetMaterialization(_ASSET, tags={"dagster/data_version": "1"}))


@job
def things() -> None:
    make_thing()


_PARTITIONS = ["a", "b", "c"]
_RANGE = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}


@asset(partitions_def=StaticPartitionsDefinition(_PARTITIONS), backfill_policy=BackfillPolicy.single_run())
def parts() -> None:
    """Made all at once."""


@pytest.fixture(autouse=True)
def no_home_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def _told(instance: DagsterInstance, run_id: str) -> list[str]:
    return [entry.message for entry in instance.all_logs(run_id)]


@pytest.mark.parametrize(("writer", "reader"), [(ours, dagsters), (dagsters, ours)])
def test_either_class_reads_what_the_other_wrote(tmp_path: Path, writer, reader) -> None:
    with writer(tmp_path) as instance:
        run_id = things.execute_in_process(instance=instance).run_id
        instance.report_runless_asset_event(AssetMaterialization(_ASSET))
        told = _told(instance, run_id)
    with reader(tmp_path) as instance:
        assert _told(instance, run_id) == told
        assert len(instance.fetch_materializations(_ASSET, limit=10).records) == 2
        assert things.execute_in_process(instance=instance).success
        assert len(instance.fetch_materializations(_ASSET, limit=10).records) == 3
    assert "made" in "\n".join(told)


def test_events_of_many_partitions_are_those_that_dagster_writes_one_by_one(tmp_path: Path) -> None:
    told = {}
    for writer in (ours, dagsters):
        home = tmp_path / writer.__name__
        home.mkdir()
        with writer(home) as instance:
            run_id = materialize([parts], instance=instance, tags=_RANGE).run_id
            events = [entry.dagster_event for entry in instance.all_logs(run_id) if entry.dagster_event]
            told[writer] = sorted((event.event_type_value, str(event.partition)) for event in events)
            assert instance.get_materialized_partitions(AssetKey("parts")) == set(_PARTITIONS)
            for partition in _PARTITIONS:
                planned = instance.event_log_storage.get_latest_planned_materialization_info(
                    AssetKey("parts"), partition
                )
                assert planned is not None
                assert planned.run_id == run_id
            [record] = instance.get_asset_records([AssetKey("parts")])
            [newest] = instance.fetch_materializations(AssetKey("parts"), limit=1).records
            assert record.asset_entry.last_materialization_record == newest
            assert record.asset_entry.last_run_id == run_id
    assert told[ours] == told[dagsters]


def test_the_home_has_it(tmp_path: Path) -> None:
    with ours(tmp_path) as instance:
        assert isinstance(instance.event_log_storage, LastingSqliteEventLog)


def test_who_watches_a_run_is_told_of_its_events(tmp_path: Path) -> None:
    heard: Queue[EventLogEntry] = Queue()
    with ours(tmp_path) as instance:
        run = instance.create_run_for_job(things)
        instance.watch_event_logs(run.run_id, None, lambda entry, _cursor: heard.put(entry))
        instance.report_engine_event("something happened", run)
        while heard.get(timeout=60).message != "something happened":
            pass
