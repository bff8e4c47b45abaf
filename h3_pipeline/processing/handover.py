"""Trips that a task hands over to a warehouse on the same machine, so that they need not be parsed again.

The clean CSV below ``processed/`` is what counts. A file here holds the same rows in the engine's own
format, and is found by the ETag of that CSV: without it, or with another one, the CSV is read.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.sql import literal
from h3_pipeline.trips.columns import TRIP_COLUMNS

HANDED_OVER_COLUMNS: tuple[str, ...] = tuple(column.name for column in TRIP_COLUMNS)
"""Columns of a file: those of ``trips``."""

FILES_AT_ONCE = 100
"""Files that one statement reads."""

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


def batched(files: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """Split files, in order."""
    return (files[start : start + size] for start in range(0, len(files), size))
