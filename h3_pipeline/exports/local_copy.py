"""Exports as files on this machine's disk, where a person can open them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from h3_pipeline.exports.publication import Place

LATEST = "latest"


def local_folder(home: Path, place: Place) -> Path:
    """Where the newest version's files are, once there are any."""
    return home / "exports" / place.folder / LATEST


def keep_copy(home: Path, place: Place, version: str, files: Sequence[Path], keep: int) -> Path:
    """Move a version's files to the disk's exports and make them the newest ones, in one step.

    Args:
        home: Folder of all local state; the files must be on the same disk.
        place: What the version is about.
        version: Its name.
        files: Its files; they are moved.
        keep: How many versions stay.

    Returns:
        The folder ``latest``.
    """
    folder = home / "exports" / place.folder
    target, draft = folder / version, folder / f".{version}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for file in files:
        file.replace(draft / file.name)
    draft.replace(target)
    link = folder / f".{LATEST}-{version}"
    link.symlink_to(version, target_is_directory=True)
    link.replace(folder / LATEST)
    versions = sorted(path for path in folder.glob("[0-9]*T*Z-*") if path.is_dir())
    for old in versions[: max(len(versions) - keep, 0)]:
        shutil.rmtree(old, ignore_errors=True)
    return folder / LATEST
