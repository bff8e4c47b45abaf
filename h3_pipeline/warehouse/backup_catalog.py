"""What lies below ``backups/``: which backups there are, what each holds, and which are to go.

    backups/<database>/<name>/data/…          what the engine wrote
    backups/<database>/<name>/objects.csv.gz  key, size and ETag of each of these objects
    backups/<database>/<name>/manifest.json   written last: without it, there is no backup
    backups/<database>/drills/<time>-….json   what became of each restore drill

A name says when a backup was taken and on which full one it rests, ``20261122T020000.000Z-full`` or
``20261123T020000.000Z-on-20261122T020000.000Z``. So all that must be known of a backup before it is
read is known from the listing, even where its objects went to an archive.
"""

import csv
import gzip
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import total_ordering
from typing import Any, Self

from h3_pipeline.errors import WarehouseError
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import ArchivedObject, Bucket, StoredObject
from h3_pipeline.warehouse.backup_content import TableContent

FULL = "full"
INCREMENTAL = "incremental"

BASE_MAX_AGE = timedelta(days=6, hours=12)
"""A full backup older than this gets no more incremental ones.

The bucket's rules archive ``backups/`` after 7 days, and the engine reads the base to write on it.
With a backup each night, every seventh is full.
"""

ABANDONED_AFTER = timedelta(days=1)
"""Remains of a backup that never got its manifest are removed after so long: it may be under way."""

_MANIFEST = "manifest.json"
_OBJECTS = "objects.csv.gz"
_DRILLS = "drills"
_STAMP = "%Y%m%dT%H%M%S.%f"
_NAME = re.compile(r"(?P<taken>\d{8}T\d{6}\.\d{3})Z-(?:full|on-(?P<base>\d{8}T\d{6}\.\d{3})Z)")
_DRILL = re.compile(r"(?P<at>\d{8}T\d{6}\.\d{3})Z-(?P<outcome>good|failed)\.json")


@total_ordering
@dataclass(frozen=True, slots=True)
class BackupName:
    """A backup's name.

    Attributes:
        taken_at: When its content was what the warehouse held, UTC, to the millisecond.
        base_taken_at: The same of the full backup that it rests on; None for a full one.
    """

    taken_at: datetime
    base_taken_at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a name; None for what is none."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        return cls(_time(found["taken"]), _time(found["base"]) if found["base"] else None)

    def __str__(self) -> str:
        suffix = f"on-{stamp(self.base_taken_at)}" if self.base_taken_at else FULL
        return f"{stamp(self.taken_at)}-{suffix}"

    def __lt__(self, other: "BackupName") -> bool:
        return self.taken_at < other.taken_at

    @property
    def kind(self) -> str:
        """``full`` or ``incremental``."""
        return INCREMENTAL if self.base_taken_at else FULL

    @property
    def base(self) -> "BackupName | None":
        """The full backup that it rests on."""
        return BackupName(self.base_taken_at) if self.base_taken_at else None

    @property
    def chain(self) -> "BackupName":
        """The full backup that it rests on, or itself."""
        return self.base or self


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup holds.

    Attributes:
        name: Its name.
        kind: ``full`` or ``incremental``.
        base: Name of the full backup that it rests on, or None.
        database: Database that was backed up.
        taken_at: When its content was what the warehouse held, UTC.
        seconds: From the lock to the manifest.
        locked_seconds: How long no upload could be published.
        objects: Number of objects that the engine wrote.
        size: Their bytes; an incremental one holds what its base does not.
        restored_size: Bytes on disk after a restore.
        engine_version: ClickHouse's version.
        code_version: This project's.
        migrations: Migrations that its tables have, in order.
        tables: Rows and checksum of each table.
        publications: Number of months of uploads by their state in the ledger.
    """

    name: str
    kind: str
    base: str | None
    database: str
    taken_at: datetime
    seconds: float
    locked_seconds: float
    objects: int
    size: int
    restored_size: int
    engine_version: str
    code_version: str
    migrations: Sequence[str]
    tables: Mapping[str, TableContent]
    publications: Mapping[str, int]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: It is not a manifest.
        """
        fields = dict(document)
        fields["taken_at"] = datetime.fromisoformat(fields["taken_at"])
        fields["tables"] = {name: TableContent(**content) for name, content in fields["tables"].items()}
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """The manifest as a JSON object."""
        return asdict(self) | {"taken_at": self.taken_at.isoformat()}


class NoBackup(WarehouseError):
    """There is no backup to restore."""


class NoInventory(WarehouseError):
    """The list of a backup's objects is missing or damaged."""


class BackupCatalog:
    """The backups of one database.

    Args:
        bucket: Where they are.
        database: The database.
    """

    def __init__(self, bucket: Bucket, database: str) -> None:
        self.bucket = bucket
        self.database = database
        self.prefix = f"{prefixes.BACKUPS}{database}/"

    def folder(self, name: BackupName) -> str:
        """Prefix of all objects of a backup."""
        return f"{self.prefix}{name}/"

    def data(self, name: BackupName) -> str:
        """Prefix of the objects that the engine writes."""
        return f"{self.folder(name)}data/"

    def good(self) -> list[BackupName]:
        """Backups that are complete, and whose base is, oldest first."""
        complete = {name for name in self._names() if self.bucket.head(self.folder(name) + _MANIFEST)}
        return sorted(name for name in complete if name.chain in complete)

    def newest(self, not_after: datetime | None = None) -> BackupName:
        """The newest good backup.

        Args:
            not_after: Its content must not be later than this.

        Raises:
            NoBackup: There is none.
        """
        good = self.good()
        fitting = [name for name in good if not_after is None or name.taken_at <= not_after]
        if fitting:
            return fitting[-1]
        if good:
            raise NoBackup(
                f"No backup below {self.prefix} is as old as {not_after:%Y-%m-%d %H:%M:%S} UTC; the oldest is of "
                f"{good[0].taken_at:%Y-%m-%d %H:%M:%S} UTC, see `h3-pipeline backup --list`"
            )
        raise NoBackup(f"{self.bucket} has no backup below {self.prefix}; `h3-pipeline backup` takes one")

    def base_for(self, taken_at: datetime) -> BackupName | None:
        """The full backup on which an incremental one taken now may rest."""
        full = [name for name in self.good() if name.kind == FULL]
        return full[-1] if full and taken_at - full[-1].taken_at < BASE_MAX_AGE else None

    def manifest(self, name: BackupName) -> BackupManifest:
        """What a good backup holds.

        Raises:
            WarehouseError: Its manifest is damaged.
            StorageError: It cannot be read.
        """
        key = self.folder(name) + _MANIFEST
        try:
            document = self.bucket.read_json(key)
            if document is None:
                raise NoBackup(f"There is no backup {name}: {key} is not there")
            return BackupManifest.from_json(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WarehouseError(f"{key} is damaged ({error}); restore another backup with --at") from error

    def written(self, name: BackupName) -> list[StoredObject]:
        """Objects that the engine wrote for a backup, as they are now."""
        return list(self.bucket.list(self.data(name)))

    def seal(self, name: BackupName, manifest: BackupManifest, objects: Iterable[StoredObject]) -> None:
        """Make a backup one: its objects are noted, then its manifest is written."""
        self.bucket.write(self.folder(name) + _OBJECTS, _inventory_bytes(objects), "application/gzip")
        self.bucket.write_json(self.folder(name) + _MANIFEST, manifest.to_json())

    def inventory(self, name: BackupName) -> dict[str, tuple[int, str]]:
        """Size and ETag, by key, of each object that the engine wrote for a backup.

        Raises:
            NoInventory: The list is missing or damaged.
            StorageError: It cannot be read.
        """
        key = self.folder(name) + _OBJECTS
        if self.bucket.head(key) is None:
            raise NoInventory(f"{key} is missing")
        try:
            text = gzip.decompress(self.bucket.read(key)).decode()
            return {row[0]: (int(row[1]), row[2]) for row in csv.reader(io.StringIO(text))}
        except (OSError, EOFError, ValueError, IndexError) as error:
            raise NoInventory(f"{key} is damaged: {error}") from error

    def archived(self, name: BackupName) -> list[ArchivedObject]:
        """Objects that must be thawed before a backup can be restored, its base's among them."""
        return [stored for each in _with_base(name) for stored in self.bucket.archived(self.folder(each))]

    def remove(self, names: Iterable[BackupName]) -> None:
        """Remove backups, or what is left of them; the manifests go first, so that none is a backup half-way.

        Those that rest on others go before them.
        """
        for name in sorted(names, reverse=True):
            self.bucket.delete(self.folder(name) + _MANIFEST)
            self.bucket.delete_all([stored.key for stored in self.bucket.list(self.folder(name))])

    def outdated(self, keep_chains: int) -> list[BackupName]:
        """Good backups that do not belong to the newest ``keep_chains`` full ones and what rests on them."""
        good = self.good()
        kept = sorted({name.chain for name in good})[-keep_chains:]
        return [name for name in good if name.chain not in kept]

    def abandoned(self, now: datetime) -> list[BackupName]:
        """What is left of backups that were broken off, or whose base is gone, once it is old enough."""
        good = set(self.good())
        return [name for name in self._names() if name not in good and now - name.taken_at > ABANDONED_AFTER]

    def note_drill(self, at: datetime, *, good: bool, report: Mapping[str, Any]) -> None:
        """Note what became of a restore drill."""
        self.bucket.write_json(f"{self.prefix}{_DRILLS}/{stamp(at)}-{'good' if good else 'failed'}.json", report)

    def newest_good_drill(self) -> datetime | None:
        """When the newest drill was that ended well."""
        drills = self.bucket.list(f"{self.prefix}{_DRILLS}/")
        found = [_DRILL.fullmatch(stored.key.rsplit("/", 1)[-1]) for stored in drills]
        return max((_time(drill["at"]) for drill in found if drill and drill["outcome"] == "good"), default=None)

    def _names(self) -> list[BackupName]:
        names = (BackupName.parse(folder) for folder in self.bucket.folders(self.prefix))
        return sorted(name for name in names if name)


def stamp(at: datetime) -> str:
    """A time as names have it."""
    return f"{at.astimezone(UTC).strftime(_STAMP)[:-3]}Z"


def _time(text: str) -> datetime:
    return datetime.strptime(text, _STAMP).replace(tzinfo=UTC)


def _with_base(name: BackupName) -> list[BackupName]:
    return [name, name.base] if name.base else [name]


def _inventory_bytes(objects: Iterable[StoredObject]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows((stored.key, stored.size, stored.etag) for stored in objects)
    return gzip.compress(text.getvalue().encode(), mtime=0)
