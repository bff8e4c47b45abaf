"""Backups of a warehouse behind HTTP: through the publishing lease, while another client loads."""

from __future__ import annotations

import pytest

from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.warehouse.backup import take_backup
from h3_pipeline.warehouse.backup_catalog import BackupCatalog
from h3_pipeline.warehouse.backup_restore import drill, restore_backup
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.reliability.checksums import checksums
from h3_pipeline_tests.reliability.conftest import Served, served  # noqa: F401 - the fixture
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.servers.clickhouse_http import error_fault
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.uploads import process_all


@pytest.fixture(scope="module")
def uploads(served: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:  # noqa: F811
    contents = {"a.csv": trips_csv({"2024-01": 60}), "b.csv": trips_csv({"2024-01": 20, "2024-02": 10}, first=1)}
    return process_all(served.bucket, tmp_path_factory.mktemp("processing"), contents)


def test_backup_drill_restore(served: Served, uploads: dict[str, Manifest]) -> None:  # noqa: F811
    settings = served.settings(h3_rollup_resolutions=(7,))
    bucket, access = served.bucket, served.bucket.access
    with open_warehouse(settings, access) as warehouse, open_warehouse(settings, access) as other:
        warehouse.load(uploads["a.csv"])
        before = checksums(warehouse.engine)

        def load_meanwhile(stage: str) -> None:
            if stage == "snapshot taken":
                other.load(uploads["b.csv"])

        full = take_backup(warehouse, bucket, on_stage=load_meanwhile).manifest
        after = checksums(warehouse.engine)
        assert full.tables["trips"].rows == before["trips"][0] != after["trips"][0]
        assert take_backup(warehouse, bucket).manifest.base == full.name
        assert drill(warehouse, bucket).good
        restored = restore_backup(warehouse, bucket, at=full.taken_at, overwrite=True)
        assert checksums(warehouse.engine) == before
        assert "b.csv" in restored.not_in_backup
        # leases are nobody's data: the lock works as before, and so does loading
        other.load(uploads["b.csv"])
        assert checksums(warehouse.engine) == after
        restore_backup(warehouse, bucket, overwrite=True)
        assert checksums(warehouse.engine) == after
        rows = warehouse.engine.rows(
            "SELECT name FROM system.databases WHERE startsWith(name, {database:String})",
            {"database": settings.clickhouse_database},
        )
        assert [name for (name,) in rows] == [settings.clickhouse_database]


def test_a_server_that_fails_half_way(served: Served, uploads: dict[str, Manifest]) -> None:  # noqa: F811
    """An answer that was lost does not matter; an exchange that broke off is completed by whoever comes next."""
    server = served.faults
    settings = served.settings(h3_rollup_resolutions=(7,))
    bucket, access = served.bucket, served.bucket.access
    with open_warehouse(settings, access) as warehouse:
        warehouse.load(uploads["a.csv"])
        before = checksums(warehouse.engine)
        server.inject(Fault.reset("^BACKUP", after=True))
        taken = take_backup(warehouse, bucket)
        assert server.faults() == []
        assert BackupCatalog(bucket, settings.clickhouse_database).good()[-1].taken_at == taken.manifest.taken_at
        server.inject(error_fault("^BACKUP", 497, "ACCESS_DENIED"))
        with pytest.raises(QueryError, match="injected by the test"):
            take_backup(warehouse, bucket)
        warehouse.retract("a.csv")
        server.inject(Fault.reset("^RESTORE", after=True), Fault.reset("^EXCHANGE", after=True))
        server.inject(error_fault("^EXCHANGE TABLES .*publications", 497, "ACCESS_DENIED"))
        with pytest.raises(WarehouseError, match="injected by the test"):
            restore_backup(warehouse, bucket, overwrite=True)
        assert server.faults() == []
    with open_warehouse(settings, access) as warehouse:
        assert checksums(warehouse.engine) == before
        warehouse.load(uploads["a.csv"])
        assert checksums(warehouse.engine) == before
