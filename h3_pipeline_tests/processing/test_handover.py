"""Trips handed over to the embedded warehouse: the same as the clean CSV, and never trusted without it."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import process_upload
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import handovers, open_warehouse
from h3_pipeline_tests.reliability.checksums import checksums
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.uploads import processing_task, put

# a blank line inside, so that numbers of records and of rows differ; one that is refused
CONTENT = trips_csv({"2024-01": 40, "2024-02": 30}, bad=2).replace("\n", "\n\n", 5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load(h3_pipeline_home=tmp_path / "home")


def processed(settings: Settings, bucket: Bucket, left: Handovers | None, key: str = "a.csv") -> Manifest:
    put(bucket, key, CONTENT)
    if left:
        left.prepare()
    with open_task_engine(settings.home, bucket.access) as task:
        return process_upload(key, processing_task(bucket, task, handovers=left)).manifest


def test_what_is_handed_over_is_what_the_clean_csv_says(settings: Settings, bucket: Bucket, tmp_path: Path) -> None:
    left = handovers(settings)
    assert left
    manifest = processed(settings, bucket, left)
    file = left.find(manifest)
    assert file
    with open_warehouse(settings, bucket.access) as warehouse:
        warehouse.load(manifest)
        taken = checksums(warehouse.engine)
    assert not file.exists()
    assert list(left.folder.iterdir()) == []
    with open_warehouse(Settings.load(h3_pipeline_home=tmp_path / "other"), bucket.access) as warehouse:
        warehouse.load(manifest)
        assert checksums(warehouse.engine) == taken


def test_a_server_is_handed_nothing() -> None:
    assert handovers(Settings.load(clickhouse_host="127.0.0.1")) is None


def test_without_it_the_clean_csv_is_read(settings: Settings, bucket: Bucket) -> None:
    left = handovers(settings)
    assert left
    manifest = processed(settings, bucket, left)
    left.remove(manifest)
    with open_warehouse(settings, bucket.access) as warehouse:
        assert warehouse.load(manifest).rows["trips"] == manifest.rows_loaded == 70


def test_that_of_another_version_is_not_taken(settings: Settings, bucket: Bucket) -> None:
    left = handovers(settings)
    assert left
    manifest = processed(settings, bucket, left)
    assert left.find(replace(manifest, processed_etag="another")) is None


def test_one_with_other_rows_stops_the_load(settings: Settings, bucket: Bucket) -> None:
    left = handovers(settings)
    assert left
    manifest = processed(settings, bucket, left)
    with (
        open_warehouse(settings, bucket.access) as warehouse,
        pytest.raises(WarehouseError, match=r"has 70 rows, its manifest says 71"),
    ):
        warehouse.load(replace(manifest, rows_loaded=71))


def test_what_no_run_came_back_for_is_removed(tmp_path: Path) -> None:
    left = Handovers(tmp_path / "handovers")
    left.prepare()
    old, young = left.folder / "old.native", left.folder / "young.native"
    old.touch()
    young.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    left.prepare()
    assert list(left.folder.iterdir()) == [young]
