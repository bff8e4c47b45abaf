"""Trips that a task hands over to a warehouse on the same machine, so that they need not be parsed again.

The clean CSV below ``processed/`` is what counts. A file here holds the same rows in the engine's own
format, and is found by the ETag of that CSV: without it, or with another one, the CSV is read.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.sql import literal, mapped
from h3_pipeline.trips.columns import TRIP_COLUMNS

HANDED_OVER_COLUMNS: tuple[str, ...] = tuple(column.name for column in TRIP_COLUMNS)
"""Columns of a file: those of ``trips``."""

_STRUCTURE = ", ".join(f"{column.name} {column.type}" for column in TRIP_COLUMNS)
_ABANDONED_AFTER_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Handovers:
    """The files of one home.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    def file(self, processed_key: str, processed_etag: str) -> Path:
        """Where the trips of a clean CSV are, if they were handed over."""
        name = hashlib.sha256(f"{processed_key}\0{processed_etag}".encode()).hexdigest()
        return self.folder / f"{name}.native"

    def find(self, manifest: Manifest) -> Path | None:
        """The file with an upload's trips; None where there is none."""
        file = self.file(manifest.processed_key, manifest.processed_etag)
        return file if file.exists() else None

    def remove(self, manifest: Manifest) -> None:
        """Forget an upload's file."""
        self.file(manifest.processed_key, manifest.processed_etag).unlink(missing_ok=True)

    def prepare(self) -> None:
        """Make the folder, and remove what was left there by runs that never went on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        old = time.time() - _ABANDONED_AFTER_SECONDS
        for file in self.folder.iterdir():
            if file.stat().st_mtime < old:
                file.unlink(missing_ok=True)


def handed_over(files: Sequence[Path]) -> str:
    """Table expression over files."""
    names = files[0].name if len(files) == 1 else "{" + ",".join(file.name for file in files) + "}"
    return f"file({literal(str(files[0].parent / names))}, 'Native', {literal(_STRUCTURE)})"


def to_be_handed_over(files: Mapping[str, Path]) -> str:
    """Target of an ``INSERT`` of rows with `HANDED_OVER_COLUMNS`.

    Args:
        files: Where each upload's rows go, by its key; all in one folder and with one ending.
    """
    file = next(iter(files.values()))
    if len(files) == 1:
        return handed_over([file])
    anywhere = handed_over([file.with_stem("{_partition_id}")])
    stems = {upload: each.stem for upload, each in files.items()}
    return f"{anywhere} PARTITION BY {mapped('upload', stems, otherwise='')}"
