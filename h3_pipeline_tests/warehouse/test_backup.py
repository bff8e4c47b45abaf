"""Backups of the embedded warehouse: what comes back is what was there, and what is damaged is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.backup import take_backup
from h3_pipeline.warehouse.backup_catalog import (
    ABANDONED_AFTER,
    BASE_MAX_AGE,
    BackupCatalog,
    BackupManifest,
    BackupName,
    NoBackup,
)
from h3_pipeline.warehouse.backup_content import contents
from h3_pipeline.warehouse.backup_operation import Progress
from h3_pipeline.warehouse.backup_restore import BackupDamaged, WouldOverwrite, drill, restore_backup
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline_tests.reliability.checksums import Checksums, checksums, leftovers
from h3_pipeline_tests.reliability.programs import back_up, restore, trips_csv, warehouse_program
from h3_pipeline_tests.reliability.zygote import Zygote, zygote
from h3_pipeline_tests.uploads import process_all

RESOLUTIONS = (8, 6)
"""Enough to tell one from another; each costs a part a month, and a dozen objects."""


@dataclass(frozen=True)
class Scene:
    """A warehouse with ``a.csv`` in a full backup, and ``b.csv`` besides in an incremental one.

    Attributes:
        home: Its folder; tests take a copy.
        first: What it held when the full backup was taken.
        both: What it held when the incremental one was taken, and holds.
        newer: What it would hold after ``newer.csv`` was loaded over ``a.csv`` of the full backup.
    """

    bucket: Bucket
    home: Path
    uploads: dict[str, Manifest]
    full: BackupManifest
    incremental: BackupManifest
    progress: list[Progress]
    first: Checksums
    both: Checksums
    newer: Checksums

    @property
    def catalog(self) -> BackupCatalog:
        return BackupCatalog(self.bucket, "h3_pipeline")

    def copy(self, target: Path) -> Path:
        shutil.copytree(self.home / "warehouse", target / "warehouse", symlinks=True)
        return target


@contextmanager
def opened(home: Path, bucket: Bucket, **settings: object) -> Iterator[Warehouse]:
    own = Settings.load(h3_pipeline_home=home, h3_rollup_resolutions=RESOLUTIONS, **settings)
    with open_warehouse(own, bucket.access) as warehouse:
        yield warehouse


@pytest.fixture(scope="module")
def scene(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    uploads = process_all(
        bucket,
        tmp_path_factory.mktemp("processing"),
        {
            "a.csv": trips_csv({"2024-01": 240}, bad=2),
            "b.csv": trips_csv({"2024-01": 40}, first=1),
            "newer.csv": trips_csv({"2024-02": 95}, first=2),
        },
    )
    uploads["newer.csv"] = replace(uploads["newer.csv"], upload="a.csv")
    home = tmp_path_factory.mktemp("scene")
    progress: list[Progress] = []
    with opened(home, bucket) as warehouse:
        warehouse.load(uploads["a.csv"])
        first = checksums(warehouse.engine)
        full = take_backup(warehouse, bucket, on_progress=progress.append).manifest
        warehouse.load(uploads["b.csv"])
        both = checksums(warehouse.engine)
        incremental = take_backup(warehouse, bucket).manifest
    ahead = tmp_path_factory.mktemp("ahead")
    shutil.copytree(home / "warehouse", ahead / "warehouse", symlinks=True)
    with opened(ahead, bucket) as warehouse:
        warehouse.retract("b.csv")
        warehouse.load(uploads["newer.csv"])
        newer = checksums(warehouse.engine)
    assert len({str(state) for state in (first, both, newer)}) == 3
    return Scene(bucket, home, uploads, full, incremental, progress, first, both, newer)


def databases(warehouse: Warehouse) -> set[str]:
    rows = warehouse.engine.rows("SELECT name FROM system.databases WHERE startsWith(name, 'h3_pipeline')")
    return {str(name) for (name,) in rows}


class TestTake:
    def test_the_manifest_says_what_the_tables_held(self, scene: Scene) -> None:
        manifest = scene.full
        assert manifest.tables["trips"].rows == scene.first["trips"][0] == 240
        assert manifest.publications == {"published": 3}
        assert (manifest.tables["publications"].rows, manifest.tables["load_history"].rows) == (3, 1)
        assert set(manifest.tables) == {
            "trips",
            "cell_hourly",
            "flow_hourly",
            "publications",
            "load_history",
            "schema_migrations",
        }
        assert manifest == scene.catalog.manifest(scene.catalog.good()[0])
        name = BackupName.parse(manifest.name)
        assert name
        written = scene.catalog.written(name)
        assert (manifest.objects, manifest.size) == (len(written), sum(stored.size for stored in written))

    def test_an_incremental_one_holds_what_its_base_does_not(self, scene: Scene) -> None:
        full, incremental = scene.full, scene.incremental
        assert (full.kind, full.base) == ("full", None)
        assert (incremental.kind, incremental.base) == ("incremental", full.name)
        assert incremental.tables["trips"].rows == scene.both["trips"][0] == full.tables["trips"].rows + 40
        assert incremental.size < full.size
        assert incremental.tables["trips"].checksum != full.tables["trips"].checksum

    def test_progress_comes_from_the_engine(self, scene: Scene) -> None:
        assert scene.progress
        done = [progress.done for progress in scene.progress]
        assert done == sorted(done)
        assert all(0 <= progress.done <= progress.total for progress in scene.progress)

    def test_checksums_follow_the_rows_and_not_how_they_are_stored(self, scene: Scene, tmp_path: Path) -> None:
        with opened(scene.copy(tmp_path), scene.bucket) as warehouse:
            engine, tables = warehouse.engine, list(scene.incremental.tables)
            before = contents(engine, "h3_pipeline", tables)
            assert before == scene.incremental.tables
            for table in tables:
                engine.command(f"OPTIMIZE TABLE {table} FINAL")
            assert contents(engine, "h3_pipeline", tables) == before
            assert engine.value("SELECT count() FROM trips WHERE ended_at IS NULL") == 0
            engine.command(
                "ALTER TABLE trips UPDATE ended_at = NULL WHERE upload = 'a.csv' AND row_number = 1",
                settings={"mutations_sync": 2},
            )
            assert engine.value("SELECT count() FROM trips WHERE ended_at IS NULL") == 1
            after = contents(engine, "h3_pipeline", tables)
            assert after["trips"].rows == before["trips"].rows
            assert {table for table in tables if after[table] != before[table]} == {"trips"}


class TestRestore:
    def test_a_destroyed_database_comes_back_and_loading_goes_on(self, scene: Scene, tmp_path: Path) -> None:
        home = scene.copy(tmp_path)
        shutil.rmtree(home / "warehouse")
        with opened(home, scene.bucket) as warehouse:
            restored = restore_backup(warehouse, scene.bucket)
            assert restored.manifest == scene.incremental
            assert checksums(warehouse.engine) == scene.both
            assert leftovers(warehouse.engine) == []
            assert databases(warehouse) == {"h3_pipeline"}
            # the ledger knows what is there: the same again changes nothing, the newer one replaces
            warehouse.load(scene.uploads["a.csv"])
            assert checksums(warehouse.engine) == scene.both
            warehouse.retract("b.csv")
            assert checksums(warehouse.engine) == scene.first
            warehouse.load(scene.uploads["newer.csv"])
            assert checksums(warehouse.engine) == scene.newer

    def test_to_a_time_over_what_is_there(self, scene: Scene, tmp_path: Path) -> None:
        with opened(scene.copy(tmp_path), scene.bucket) as warehouse:
            with pytest.raises(WouldOverwrite, match=r"trips \(280\).*--overwrite") as refusal:
                restore_backup(warehouse, scene.bucket)
            assert "\n" not in str(refusal.value)
            assert checksums(warehouse.engine) == scene.both
            between = scene.incremental.taken_at - timedelta(milliseconds=1)
            restored = restore_backup(warehouse, scene.bucket, at=between, overwrite=True)
            assert restored.manifest == scene.full
            assert restored.not_in_backup == ["b.csv", "newer.csv"]
            assert checksums(warehouse.engine) == scene.first

    def test_to_another_database(self, scene: Scene, tmp_path: Path) -> None:
        home = scene.copy(tmp_path)
        with opened(home, scene.bucket) as warehouse:
            restored = restore_backup(warehouse, scene.bucket, at=scene.full.taken_at, to="looking_back")
            assert restored.database == "looking_back"
            assert checksums(warehouse.engine) == scene.both  # names without a database are still the live one's
            with pytest.raises(WouldOverwrite, match="looking_back"):
                restore_backup(warehouse, scene.bucket, to="looking_back")
        with opened(home, scene.bucket, clickhouse_database="looking_back") as warehouse:
            assert checksums(warehouse.engine) == scene.first

    def test_before_the_first_backup_there_is_none(self, scene: Scene, tmp_path: Path) -> None:
        with opened(tmp_path, scene.bucket) as warehouse:
            with pytest.raises(NoBackup, match="the oldest is of"):
                restore_backup(warehouse, scene.bucket, at=datetime(2001, 1, 1, tzinfo=UTC))
            with pytest.raises(NoBackup, match="`h3-pipeline backup` takes one"):
                BackupCatalog(scene.bucket, "never_backed_up").newest()


class TestDamage:
    @pytest.fixture
    def spoil(self, scene: Scene) -> Iterator[Callable[[str, bytes | None], None]]:
        """Overwrites or removes an object; afterwards it is as it was."""
        whole: dict[str, bytes] = {}

        def change(key: str, body: bytes | None) -> None:
            whole[key] = scene.bucket.read(key)
            if body is None:
                scene.bucket.delete(key)
            else:
                scene.bucket.write(key, body, "application/octet-stream")

        yield change
        for key, body in whole.items():
            scene.bucket.write(key, body, "application/octet-stream")

    def objects(self, scene: Scene, name: str, ending: str) -> list[str]:
        return [stored.key for stored in scene.bucket.list(f"backups/h3_pipeline/{name}/") if ending in stored.key]

    def flipped(self, scene: Scene, key: str) -> bytes:
        body = bytearray(scene.bucket.read(key))
        body[len(body) // 2] ^= 1
        return bytes(body)

    def test_of_any_kind_makes_the_drill_red_and_harms_nothing(
        self, scene: Scene, spoil: Callable[[str, bytes | None], None], tmp_path: Path
    ) -> None:
        """In the backup, in its base, in the engine's list of files, in our own."""
        trips = self.objects(scene, scene.full.name, "/trips/202401")
        base_data = next(key for key in trips if key.endswith("data.bin"))
        own = self.objects(scene, scene.incremental.name, "/flow_hourly/")[0]
        listing = self.objects(scene, scene.incremental.name, "data/.backup")[0]
        inventory = self.objects(scene, scene.incremental.name, "objects.csv.gz")[0]
        with opened(scene.copy(tmp_path), scene.bucket) as warehouse:
            for key, body in (
                (base_data, self.flipped(scene, base_data)),
                (base_data, None),
                (own, scene.bucket.read(own)[:-1]),
                (listing, self.flipped(scene, listing)),
            ):
                before = scene.bucket.read(key)
                spoil(key, body)
                report = drill(warehouse, scene.bucket)
                assert not report.good, key
                assert key in report.problem
                assert "\n" not in report.problem
                assert scene.catalog.newest_good_drill() is None
                if body is not None and key == base_data:
                    with pytest.raises(BackupDamaged):
                        restore_backup(warehouse, scene.bucket, overwrite=True)
                scene.bucket.write(key, before, "application/octet-stream")
            assert checksums(warehouse.engine) == scene.both
            assert databases(warehouse) == {"h3_pipeline"}
            # a lost list of objects hides nothing that a restore needs, but somebody must hear of it
            before = scene.bucket.read(inventory)
            spoil(inventory, None)
            assert inventory in drill(warehouse, scene.bucket).problem
            restore_backup(warehouse, scene.bucket, overwrite=True)
            scene.bucket.write(inventory, before, "application/gzip")
            report = drill(warehouse, scene.bucket)
            assert (report.good, report.problem, report.backup) == (True, "", scene.incremental.name)
            assert report.rows["trips"] == scene.both["trips"][0]
            assert scene.catalog.newest_good_drill() is not None
            assert checksums(warehouse.engine) == scene.both
            assert databases(warehouse) == {"h3_pipeline"}

    def test_another_content_than_was_backed_up(
        self, scene: Scene, spoil: Callable[[str, bytes | None], None], tmp_path: Path
    ) -> None:
        """Were the engine to give other rows without noticing, the checksums would tell."""
        key = self.objects(scene, scene.full.name, "manifest.json")[0]
        spoil(key, scene.bucket.read(key).replace(scene.full.tables["trips"].checksum.encode(), b"0123456789abcdef"))
        with opened(scene.copy(tmp_path), scene.bucket) as warehouse:
            with pytest.raises(BackupDamaged, match="trips has 240 rows with checksum"):
                restore_backup(warehouse, scene.bucket, at=scene.full.taken_at, overwrite=True)
            assert checksums(warehouse.engine) == scene.both


@pytest.fixture(scope="module")
def child() -> Iterator[Zygote]:
    with zygote() as one:
        yield one


class TestKilled:
    """By SIGKILL, in a process of its own."""

    def test_during_a_backup(self, scene: Scene, child: Zygote, tmp_path: Path) -> None:
        good = scene.catalog.good()
        home = scene.copy(tmp_path)
        program = warehouse_program(home, scene.bucket.access, [back_up()], home / "answer.json", RESOLUTIONS)
        ended = child.run(program, kill_at=BACKUP_STAGES.index("under way"))
        assert (ended.killed, ended.stages) == (True, BACKUP_STAGES)
        assert scene.catalog.good() == good
        with opened(home, scene.bucket) as warehouse:
            assert checksums(warehouse.engine) == scene.both
            assert databases(warehouse) > {"h3_pipeline"}
            # the next run: what the last one left is gone, and its remains below backups/ are nobody's
            taken = take_backup(warehouse, scene.bucket)
            assert databases(warehouse) == {"h3_pipeline"}
            assert checksums(warehouse.engine) == scene.both
        (new,) = scene.catalog.good()[len(good) :]
        assert str(new) == taken.manifest.name
        scene.catalog.remove([new])

    @pytest.mark.parametrize("stage", ["under way", "restored flow_hourly"])
    def test_during_a_restore_over_live_tables(self, scene: Scene, child: Zygote, tmp_path: Path, stage: str) -> None:
        home = scene.copy(tmp_path)
        operations = [restore(scene.full.taken_at.isoformat())]
        program = warehouse_program(home, scene.bucket.access, operations, home / "answer.json", RESOLUTIONS)
        ended = child.run(program, kill_at=RESTORE_STAGES.index(stage))
        assert (ended.killed, ended.stages) == (True, RESTORE_STAGES[: RESTORE_STAGES.index(stage) + 1])
        begun = "exchange due" in ended.stages
        # whoever opens the warehouse next finds all of the old or all of the new, and can go on
        with opened(home, scene.bucket) as warehouse:
            assert checksums(warehouse.engine) == (scene.first if begun else scene.both)
            assert leftovers(warehouse.engine) == []
            assert (databases(warehouse) == {"h3_pipeline"}) == begun
            warehouse.load(scene.uploads["b.csv"])
            assert checksums(warehouse.engine) == scene.both
            restore_backup(warehouse, scene.bucket, at=scene.full.taken_at, overwrite=True)
            assert checksums(warehouse.engine) == scene.first
            assert databases(warehouse) == {"h3_pipeline"}


BACKUP_STAGES = ["open", "locked", "snapshot taken", "counted", "under way"]
RESTORE_STAGES = [
    "open",
    "under way",
    "restored beside",
    "verified",
    "exchange",
    "exchange due",
    "restored cell_hourly",
    "restored flow_hourly",
]


class TestCatalog:
    """Which backups there are and which are to go, told by their names alone."""

    NOW = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)

    @pytest.fixture
    def catalog(self, scene: Scene, request: pytest.FixtureRequest) -> BackupCatalog:
        return BackupCatalog(scene.bucket, request.node.name)

    def add(self, catalog: BackupCatalog, scene: Scene, days: float, base: float | None = None) -> BackupName:
        """A backup that was taken so many days ago."""
        at, base_at = self.NOW - timedelta(days=days), None if base is None else self.NOW - timedelta(days=base)
        name = BackupName(at, base_at)
        catalog.bucket.write(f"{catalog.data(name)}.backup", b"x", "text/xml")
        catalog.seal(name, replace(scene.full, name=str(name)), catalog.written(name))
        return name

    def test_names_are_read_back(self) -> None:
        for name in (BackupName(self.NOW), BackupName(self.NOW, self.NOW - timedelta(days=1))):
            assert BackupName.parse(str(name)) == name
        assert BackupName.parse("drills") is None

    def test_whole_chains_go_and_never_the_newest(self, catalog: BackupCatalog, scene: Scene) -> None:
        oldest = [self.add(catalog, scene, 20), self.add(catalog, scene, 19, 20), self.add(catalog, scene, 14.5, 20)]
        middle = [self.add(catalog, scene, 13), self.add(catalog, scene, 12, 13)]
        newest = [self.add(catalog, scene, 6), self.add(catalog, scene, 1, 6)]
        assert catalog.good() == oldest + middle + newest
        assert catalog.outdated(3) == []
        assert catalog.outdated(2) == oldest
        assert catalog.outdated(1) == oldest + middle
        catalog.remove(catalog.outdated(1))
        assert catalog.good() == newest
        assert {stored.key.split("/")[2] for stored in catalog.bucket.list(catalog.prefix)} == set(map(str, newest))

    def test_a_base_is_full_and_younger_than_the_archive_rule(self, catalog: BackupCatalog, scene: Scene) -> None:
        assert catalog.base_for(self.NOW) is None
        full = self.add(catalog, scene, 8)
        self.add(catalog, scene, 3, 8)
        assert catalog.base_for(full.taken_at + BASE_MAX_AGE - timedelta(seconds=1)) == full
        assert catalog.base_for(full.taken_at + BASE_MAX_AGE) is None
        assert timedelta(days=7) - BASE_MAX_AGE >= timedelta(hours=6)

    def test_remains_are_no_backup_and_go_when_nobody_can_be_writing(
        self, catalog: BackupCatalog, scene: Scene
    ) -> None:
        kept = self.add(catalog, scene, 5)
        orphan = self.add(catalog, scene, 4, 4.5)  # its base is gone
        broken_off = BackupName(self.NOW - timedelta(days=2))
        under_way = BackupName(self.NOW - ABANDONED_AFTER + timedelta(minutes=1))
        for name in (broken_off, under_way):
            catalog.bucket.write(f"{catalog.data(name)}data/part", b"x", "text/plain")
        assert catalog.good() == [kept]
        assert catalog.newest() == kept
        assert catalog.abandoned(self.NOW) == [orphan, broken_off]

    def test_taking_one_removes_what_is_superfluous(self, scene: Scene, tmp_path: Path) -> None:
        with opened(tmp_path, scene.bucket, clickhouse_database="pruned") as warehouse:
            first = take_backup(warehouse, scene.bucket, keep_chains=1)
            second = take_backup(warehouse, scene.bucket, keep_chains=1)
            assert (first.removed, second.removed) == ([], [])
            assert second.manifest.base == first.manifest.name
            third = take_backup(warehouse, scene.bucket, keep_chains=1, full=True)
            assert third.removed == [first.manifest.name, second.manifest.name]
            assert drill(warehouse, scene.bucket).backup == third.manifest.name
