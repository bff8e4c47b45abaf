"""Where an export's files lie in the bucket, and how readers find the newest ones.

Every version has a folder of its own, which is never written to again; ``latest.json`` beside the
versions names the newest one that is whole, and is written last::

    exports/NAME/[partition=2024-03-01/][parameters=1f2e3d4c/]VERSION/NAME.csv.zst
                                                             VERSION/manifest.json
    exports/NAME/[partition=2024-03-01/][parameters=1f2e3d4c/]latest.json
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, StoredObject

MANIFEST = "manifest.json"
LATEST = "latest.json"

ABANDONED_AFTER = timedelta(days=1)
"""A version without a manifest is being written, or was given up; after so long, given up."""

_VERSION = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")


@dataclass(frozen=True, slots=True)
class Place:
    """What one series of versions is about.

    Attributes:
        name: The export.
        partition: First day of its day or month, ``YYYY-MM-DD``; None where there are no partitions.
        parameters: Short digest of parameters that differ from the defaults; None where none does.
    """

    name: str
    partition: str | None = None
    parameters: str | None = None

    @property
    def folder(self) -> str:
        """Path below ``exports/``, with a slash at its end."""
        parts = [
            self.name,
            *([f"partition={self.partition}"] if self.partition else []),
            *([f"parameters={self.parameters}"] if self.parameters else []),
        ]
        return "/".join(parts) + "/"

    @property
    def prefix(self) -> str:
        """Prefix of all its objects."""
        return prefixes.EXPORTS + self.folder

    @property
    def latest_key(self) -> str:
        """The object that names the newest version."""
        return self.prefix + LATEST

    def key(self, version: str, filename: str) -> str:
        """Key of one file of a version."""
        return f"{self.prefix}{version}/{filename}"


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of a version.

    Attributes:
        format: As headers call it, e.g. ``csv.zst`` or ``geoparquet``.
        key: Whole object key.
        bytes: Its size.
        sha256: Digest of its bytes.
    """

    format: str
    key: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """The record beside the files of a version.

    Attributes:
        name: The export.
        title: What it is called.
        version: Folder of the version; later ones sort later.
        created_at: When the query began, ISO 8601 in UTC.
        partition: First day of the day or month that it is about, or None.
        query: The query's file, header and all.
        parameters: Values of all its parameters.
        rows: Rows of the result.
        columns: Names and ClickHouse types of the files' columns, in order.
        checksum: Of the rows, in whatever order.
        files: The files.
        sources: The uploads whose rows the tables held, with their versions, and a digest of all publications.
        code_version: Version of this project that wrote it.
        run_id: Dagster run, or ``''``.
        seconds: How long it took.
    """

    name: str
    title: str
    version: str
    created_at: str
    partition: str | None
    query: str
    parameters: Mapping[str, Any]
    rows: int
    columns: Sequence[Mapping[str, str]]
    checksum: str
    files: Sequence[ExportFile]
    sources: Mapping[str, Any]
    code_version: str
    run_id: str = ""
    seconds: float = field(default=0.0)

    def to_json(self) -> dict[str, Any]:
        """The manifest as a JSON document."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """A manifest from its JSON document; unknown keys of later versions are ignored."""
        known = {name: document[name] for name in cls.__slots__ if name in document}
        return cls(**{**known, "files": [ExportFile(**file) for file in document["files"]]})


def new_version(at: datetime) -> str:
    """A name for a version that began at some time; no other has it."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"


def publish(bucket: Bucket, place: Place, manifest: ExportManifest) -> bool:
    """Make a version whose files are in the bucket the newest one.

    Returns:
        Whether it is; a version that began later is not put aside.
    """
    bucket.write_json(place.key(manifest.version, MANIFEST), manifest.to_json())
    current = bucket.read_json(place.latest_key)
    if current and str(current.get("version", "")) > manifest.version:
        return False
    bucket.write_json(
        place.latest_key,
        {
            "name": manifest.name,
            "version": manifest.version,
            "created_at": manifest.created_at,
            "partition": manifest.partition,
            "rows": manifest.rows,
            "manifest": place.key(manifest.version, MANIFEST),
            "files": {file.format: file.key for file in manifest.files},
        },
    )
    return True


def latest(bucket: Bucket, place: Place) -> ExportManifest | None:
    """The newest version's manifest; None where there is none yet."""
    current = bucket.read_json(place.latest_key)
    document = bucket.read_json(current["manifest"]) if current else None
    return ExportManifest.from_json(document) if document else None


def prune(bucket: Bucket, place: Place, keep: int) -> list[str]:
    """Remove old versions, and what was left of versions that were given up.

    Args:
        bucket: The bucket.
        place: Whose versions.
        keep: How many whole versions stay; the one that ``latest.json`` names stays in any case.

    Returns:
        The versions removed.
    """
    current = bucket.read_json(place.latest_key) or {}
    objects: dict[str, list[StoredObject]] = {}
    for stored in bucket.list(place.prefix):
        version = stored.key.removeprefix(place.prefix).split("/", 1)[0]
        if _VERSION.match(version):
            objects.setdefault(version, []).append(stored)
    whole = [name for name, found in objects.items() if any(each.key.endswith(f"/{MANIFEST}") for each in found)]
    surplus = set(sorted(whole)[: max(len(whole) - keep, 0)])
    abandoned = {
        name
        for name, found in objects.items()
        if name not in whole and datetime.now(UTC) - max(each.modified_at for each in found) > ABANDONED_AFTER
    }
    removed = sorted((surplus | abandoned) - {current.get("version")})
    for version in removed:
        # without its manifest first, so that what a kill leaves is given up too
        for stored in sorted(objects[version], key=lambda each: not each.key.endswith(f"/{MANIFEST}")):
            bucket.delete(stored.key)
    return removed


def sha256(file: Path) -> str:
    """Digest of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
