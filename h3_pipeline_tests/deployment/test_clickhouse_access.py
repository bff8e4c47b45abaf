"""Users with least rights: the pipeline's own work done with each role's grants, and everything else refused.

The embedded engine cannot keep users made by SQL. So the statements of `sql/access.sql` are read by its parser, and the
grants of each role, word for word, become those of the one user that it has.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.local.object_store import local_object_store
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.warehouse.backup import take_backup
from h3_pipeline.warehouse.backup_restore import drill, restore_backup
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement
from h3_pipeline_tests.deployment.clickhouse_node import (
    CLUSTER,
    access_statements,
    engine_of,
    fill_in_access,
    grants_of_role,
)
from h3_pipeline_tests.uploads import Processing
from infra.clickhouse.user_data import USERS

RESOLUTIONS = (9, 8, 7, 6, 5)
PLACEMENT = Placement(CLUSTER.database)
TRIPS = b"region,origin_coord,destination_coord,datetime,datasource\n" + b"".join(
    b"Prague,POINT (14.4%03d 50.0),POINT (14.43 50.04),2018-0%d-01 09:03:40,funny_car\n" % (n, 1 + n % 3)
    for n in range(120)
)
ACCESS_DENIED = 497


@dataclass(frozen=True)
class World:
    """A bucket with a processed upload, and an engine for each role on one and the same data."""

    bucket: Bucket
    manifest: Manifest
    open: Callable[[str], AbstractContextManager[ClickHouse]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    with pytest.MonkeyPatch.context() as patch, local_object_store(folder / "store") as store:
        bucket = Bucket(BucketAccess("trips", store.region, store.endpoint_url, store.access_key, store.secret_key))
        bucket.create()
        with open_task_engine(folder / "home", bucket.access) as task:
            manifest = Processing(bucket, task)(TRIPS).manifest
        # in place of the instance's role: where use_environment_credentials looks as well
        patch.setenv("AWS_ACCESS_KEY_ID", store.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
        # nobody answers for an instance's role here
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        variables = {"H3_BUCKET_URL": bucket.access.url, "H3_BUCKET_HOST": "127.0.0.1"}

        def open_as(role: str) -> AbstractContextManager[ClickHouse]:
            grants = grants_of_role(f"h3_{role}")
            assert grants
            return engine_of(folder / "warehouse", grants=grants, profile=role, variables=variables)

        with open_as("loader") as engine:
            migrate(engine, PLACEMENT)
            Warehouse(engine, PLACEMENT, RESOLUTIONS).load(manifest)
        yield World(bucket, manifest, open_as)


def denied(engine: ClickHouse, statement: str) -> bool:
    """Whether the engine refuses a statement for want of a privilege, and for nothing else."""
    try:
        engine.command(statement)
    except QueryError as error:
        if error.code == ACCESS_DENIED or "ACCESS_DENIED" in error.detail:
            return True
        raise
    return False


def test_every_statement_is_read_by_the_engine(world: World) -> None:
    statements = access_statements()
    with world.open("reader") as engine:
        for statement in statements:
            assert engine.value("SELECT formatQuerySingleLine({sql:String})", {"sql": statement})
    made = {user for statement in statements for user in re.findall(r"^CREATE USER IF NOT EXISTS (\w+)", statement)}
    assert made == set(USERS)
    # run by every server, and again by every successor
    assert all(re.match(r"GRANT|CREATE (ROLE|USER|QUOTA) IF NOT EXISTS", statement) for statement in statements)


def test_passwords_are_not_in_the_statements() -> None:
    passwords = {user: f"password of {user}" for user in USERS}
    text, again = fill_in_access(passwords), fill_in_access(passwords)
    assert "password of" not in text
    assert "@" not in text
    assert text != again  # salted


def test_the_loader_does_the_pipelines_work(world: World) -> None:
    with world.open("loader") as engine:
        warehouse = Warehouse(engine, PLACEMENT, RESOLUTIONS)
        assert migrate(engine, PLACEMENT) == []
        loaded = warehouse.load(world.manifest)
        assert loaded.rows["trips"] == world.manifest.rows_loaded == 120
        assert warehouse.retract(world.manifest.upload) == 120
        assert warehouse.load(world.manifest).rows == loaded.rows
        # a lease, as it is held on a server
        lease = PLACEMENT.table("publish_lease_1")
        engine.command(f"CREATE TABLE {lease} (nothing UInt8) ENGINE = Null COMMENT 'a'")
        engine.command(f"ALTER TABLE {lease} MODIFY COMMENT 'b'")
        engine.command(f"DROP TABLE IF EXISTS {lease} SYNC")
        # an export
        engine.command(
            "INSERT INTO FUNCTION s3(trips_bucket, filename = 'exports/n.csv', format = 'CSV') SELECT count() FROM "
            + PLACEMENT.table("trips")
        )


def test_the_loader_does_nothing_else(world: World) -> None:
    with world.open("loader") as engine:
        for statement in (
            "DROP DATABASE h3_pipeline",
            "CREATE DATABASE another",
            "TRUNCATE TABLE h3_pipeline.trips",
            "ALTER TABLE h3_pipeline.trips ADD COLUMN x UInt8",
            "ALTER TABLE h3_pipeline.trips UPDATE region = '' WHERE 1",
            "SELECT * FROM system.users",
            "CREATE USER another",
            "GRANT SELECT ON *.* TO default",
            "SELECT * FROM url('http://127.0.0.1/', 'CSV', 'a String')",
            "SELECT * FROM file('/etc/passwd', 'LineAsString', 'a String')",
            "BACKUP DATABASE h3_pipeline TO S3(trips_bucket, 'backups/x')",
            "SYSTEM SHUTDOWN",
        ):
            assert denied(engine, statement), statement


def test_the_reader_reads_and_nothing_else(world: World) -> None:
    with world.open("reader") as engine:
        assert engine.value("SELECT count() FROM h3_pipeline.trips") == 120
        assert engine.value("SELECT sum(departures) FROM h3_pipeline.cell_hourly_view WHERE resolution = 9") == 120
        assert engine.rows("SHOW TABLES FROM h3_pipeline")
        for statement in (
            "INSERT INTO h3_pipeline.schema_migrations VALUES ('a', 'b', now())",
            "DROP TABLE h3_pipeline.trips",
            "ALTER TABLE h3_pipeline.trips DELETE WHERE 1",
            "CREATE TABLE h3_pipeline.another (a UInt8) ENGINE = Null",
            "SELECT * FROM s3(trips_bucket, filename = 'processed/trips.csv')",
            "INSERT INTO FUNCTION s3(trips_bucket, filename = 'exports/x.csv') SELECT 1",
            "SELECT * FROM system.users",
            "BACKUP TABLE h3_pipeline.trips TO S3(trips_bucket, 'backups/x')",
        ):
            assert denied(engine, statement), statement
        engine.command("SELECT 1 SETTINGS max_execution_time = 1000")
        for settings in ("readonly = 0", "max_execution_time = 100000", "max_memory_usage_for_user = 0"):
            with pytest.raises(QueryError, match=r"READONLY|SETTING_CONSTRAINT_VIOLATION"):
                engine.command(f"SELECT 1 SETTINGS {settings}")


def test_the_backup_user_takes_restores_and_tries_backups(world: World) -> None:
    with world.open("backup") as engine:
        warehouse = Warehouse(engine, PLACEMENT, RESOLUTIONS)
        taken = take_backup(warehouse, world.bucket)
        assert drill(warehouse, world.bucket).good
        restore_backup(warehouse, world.bucket, overwrite=True)
        assert engine.value("SELECT count() FROM h3_pipeline.trips") == 120
        assert taken.manifest.kind == "full"
        for statement in (
            "ALTER TABLE h3_pipeline.trips DELETE WHERE 1",
            "DROP DATABASE h3_pipeline",
            "CREATE DATABASE another",
            "SELECT * FROM system.users",
            "BACKUP DATABASE system TO S3(trips_bucket, 'backups/y')",
        ):
            assert denied(engine, statement), statement


def test_the_pipelines_login_has_what_its_jobs_need() -> None:
    statements = access_statements()
    assert "GRANT h3_loader, h3_backup TO loader" in statements
    assert {s for s in statements if s.endswith(" TO reader")} == {"GRANT h3_reader TO reader"}


def test_the_rotator_changes_passwords_of_our_users_only() -> None:
    granted = set(grants_of_role("h3_rotator"))
    assert granted == {f"GRANT ALTER USER ON {user}" for user in USERS}
