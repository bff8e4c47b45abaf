"""An upload as something the engine can read: straight from the bucket, or unpacked to disk.

The engine reads most uploads from the bucket itself. It cannot read zip and bzip2, and takes some
keys for patterns. What it unpacks is unpacked here first, into nothing: it would silently stop at
the end of a truncated zstd stream, and has no limit to what a small object may become.
"""

import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from backports import zstd

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.archive import csv_member
from h3_pipeline.sql import literal
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.storage.named_collection import s3_table
from h3_pipeline.trips.select import LINE_STRUCTURE, Reading, structure
from h3_pipeline.trips.upload import Compression, UploadDescription

MAX_UNPACKED_BYTES = 100 * 1024**3
"""Most bytes that a packed upload may unpack to on disk."""

MAX_UNPACKED_RATIO = 200
"""Most bytes that a packed byte may unpack to: trip files reach 20, archives made to harm 1,000."""

_CHUNK = 4 * 1024 * 1024
_RATIO_COUNTS_FROM = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Table expressions over an upload.

    Attributes:
        records: Its CSV records, every field as text.
        lines: Its physical lines, one column ``line``.
    """

    records: str
    lines: str

    def of(self, reading: Reading) -> str:
        """What a way of reading needs."""
        return self.lines if reading is Reading.LINES else self.records


@contextmanager
def readable(upload: UploadDescription, stored: StoredObject, bucket: Bucket, folder: Path) -> Iterator[Source]:
    """Make an upload readable for the engine.

    Args:
        upload: How to read it.
        stored: The object's identity.
        bucket: Where it is.
        folder: Folder on disk for what must be unpacked; cleaned up afterwards.

    Raises:
        UploadRefused: The upload cannot be unpacked, or unpacks to too much.
    """
    check_packed(upload, stored, bucket)
    if reads_from_bucket(upload, stored):
        yield in_bucket(upload, [stored])
        return
    unpacked_by_us = upload.compression in _UNPACKED_HERE
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacked-") as name:
        copy = Path(name) / "upload"
        _copy(upload, stored, bucket, copy)
        compression = "none" if unpacked_by_us else upload.compression.value
        yield Source(
            f"file({literal(str(copy))}, 'CSV', {literal(structure(upload))}, {literal(compression)})",
            f"file({literal(str(copy))}, 'LineAsString', {literal(LINE_STRUCTURE)}, {literal(compression)})",
        )


def reads_from_bucket(upload: UploadDescription, stored: StoredObject) -> bool:
    """Whether the engine can read an upload from the bucket itself."""
    return upload.compression not in _UNPACKED_HERE and not prefixes.names_a_pattern(stored.key)


def in_bucket(upload: UploadDescription, objects: Sequence[StoredObject]) -> Source:
    """Uploads as the engine reads them from the bucket itself.

    Args:
        upload: How to read all of them.
        objects: Their objects; a key of several has no comma.
    """
    keys = [stored.key for stored in objects]
    compression = upload.compression.value
    return Source(
        s3_table(*keys, csv_format="CSV", structure=structure(upload), compression=compression),
        s3_table(*keys, csv_format="LineAsString", structure=LINE_STRUCTURE, compression=compression),
    )


def _copy(upload: UploadDescription, stored: StoredObject, bucket: Bucket, target: Path) -> None:
    packed = target.with_name("packed")
    with packed.open("wb") as file:
        bucket.download(stored.key, file)
    try:
        match upload.compression:
            case Compression.ZIP:
                _unpack_zip(packed, stored, target)
            case Compression.BZIP2:
                with bz2.open(packed) as content:
                    _pour(content, target, stored.size)
            case _:
                packed.rename(target)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
            raise
        raise _damaged("archive", error) from error
    finally:
        packed.unlink(missing_ok=True)


def _unpack_zip(packed: Path, stored: StoredObject, target: Path) -> None:
    with zipfile.ZipFile(packed) as archive, archive.open(csv_member(archive.namelist())) as content:
        _pour(content, target, stored.size)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _pour(content: _Readable | IO[bytes], target: Path, packed_bytes: int) -> None:
    unpacked = 0
    with target.open("wb") as file:
        while chunk := content.read(_CHUNK):
            unpacked += len(chunk)
            _refuse_bomb(unpacked, packed_bytes)
            file.write(chunk)


def _refuse_bomb(unpacked: int, packed: int) -> None:
    too_much = unpacked > MAX_UNPACKED_BYTES
    too_dense = unpacked > _RATIO_COUNTS_FROM and unpacked > packed * MAX_UNPACKED_RATIO
    if too_much or too_dense:
        raise UploadRefused(
            "archive_too_large",
            f"The archive of {packed:,} bytes unpacks to more than {unpacked:,} bytes; "
            "upload the file in smaller parts, or not packed",
        )


_CHECKED: Mapping[Compression, Callable[[IO[bytes]], _Readable]] = {
    Compression.GZIP: partial(gzip.open, mode="rb"),
    Compression.XZ: lzma.open,
    Compression.ZSTD: zstd.open,
}
_UNPACKED_HERE = (Compression.ZIP, Compression.BZIP2)
_DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, zstd.ZstdError)


def check_packed(upload: UploadDescription, stored: StoredObject, bucket: Bucket) -> None:
    """Unpack what the engine would unpack, into nothing: a few hundredths of the time that judging it takes.

    Raises:
        UploadRefused: It is damaged, or unpacks to too much.
    """
    compression = upload.compression
    if compression not in _CHECKED:
        return
    unpacked = 0
    packed = io.BufferedReader(_ObjectFile(bucket, stored), _CHUNK)
    try:
        content = _CHECKED[compression](packed)
        while chunk := content.read(_CHUNK):
            unpacked += len(chunk)
            _refuse_bomb(unpacked, stored.size)
    except _DAMAGED as error:
        raise _damaged(f"{compression} file", error) from error


def _damaged(what: str, error: Exception) -> UploadRefused:
    return UploadRefused("truncated_archive", f"The {what} is damaged or cut off ({error}); upload the file again")


class _ObjectFile(io.RawIOBase):
    """One version of an object as a file that is read from its beginning to its end, without a copy on disk."""

    def __init__(self, bucket: Bucket, stored: StoredObject) -> None:
        self._bucket = bucket
        self._stored = stored
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        length = min(len(buffer), self._stored.size - self._at)
        data = self._bucket.read(self._stored.key, start=self._at, length=length, etag=self._stored.etag)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
