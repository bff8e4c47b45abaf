"""``upload``: files into the bucket, all of them checked before the first is sent."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from h3_pipeline.cli import screen
from h3_pipeline.errors import PipelineError
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket

MAX_KEY_BYTES = 1024
"""S3's limit for a whole object key."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A file and where it goes.

    Attributes:
        file: The file.
        key: Key below ``uploads/``.
        size: Bytes.
    """

    file: Path
    key: str
    size: int


def upload(files: Sequence[Path], to: str) -> int:
    """Put files below ``uploads/``."""
    sendings = plan(files, to)
    settings = Settings.load()
    with bucket_access(settings) as access:
        bucket = Bucket(access)
        send(bucket, sendings)
        for sending in sendings:
            screen.say(f"{prefixes.upload_object(sending.key)}  {screen.bytes_text(sending.size)}")
        screen.say(f"{screen.counted(len(sendings), 'file')} in {bucket}")
    return 0


def plan(files: Sequence[Path], to: str) -> list[Sending]:
    """Check files and name their objects.

    Args:
        files: The files.
        to: Prefix below ``uploads/``, with or without slashes at its ends.

    Raises:
        PipelineError: A file is not there or cannot be read, two would have one key, or a key is
            not possible.
    """
    prefix = to.strip("/")
    sendings: dict[str, Sending] = {}
    for file in files:
        size = _size(file)
        key = f"{prefix}/{file.name}" if prefix else file.name
        _check_key(key)
        if key in sendings:
            raise PipelineError(
                f"{sendings[key].file} and {file} would both become {prefixes.UPLOADS}{key}; "
                "rename one, or send them in two commands with different --to"
            )
        sendings[key] = Sending(file, key, size)
    return list(sendings.values())


def send(bucket: Bucket, sendings: Sequence[Sending]) -> None:
    """Send files, with a bar on a terminal.

    Raises:
        StorageError: The bucket did not take one.
    """
    total = sum(sending.size for sending in sendings)
    with screen.transfer(f"Uploading {screen.counted(len(sendings), 'file')}", total) as advance:
        for sending in sendings:
            bucket.upload(sending.file, prefixes.upload_object(sending.key), advance)


def _size(file: Path) -> int:
    try:
        if file.is_dir():
            raise PipelineError(f"{file} is a folder; name the files in it")
        if not file.exists():
            raise PipelineError(f"{file}: no such file")
        if not file.is_file():
            raise PipelineError(f"{file} is not a regular file; save it to one first")
        if not os.access(file, os.R_OK):
            raise PipelineError(f"{file} cannot be read: permission denied")
        return file.stat().st_size
    except OSError as error:
        raise PipelineError(f"{file}: {error.strerror}") from error


def _check_key(key: str) -> None:
    shown = ascii(key)
    try:
        length = len((prefixes.UPLOADS + key).encode())
    except UnicodeEncodeError:
        raise PipelineError(f"{shown} is not valid UTF-8, and a key has to be; rename the file") from None
    if length > MAX_KEY_BYTES:
        raise PipelineError(
            f"{prefixes.UPLOADS}{key[:60]}… has {length:,} bytes, and a key has at most {MAX_KEY_BYTES:,}; shorten it"
        )
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        raise PipelineError(f"{key!r} cannot be a key: a part of it between slashes is empty, '.' or '..'")
    if not key.isprintable():
        raise PipelineError(f"{shown} has a control character, and a key must not; rename the file")
    if prefixes.upload_object(key) != prefixes.UPLOADS + key:
        raise PipelineError(
            f"{key!r} begins like the name of an object outside {prefixes.UPLOADS}; choose another --to"
        )
