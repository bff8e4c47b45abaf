"""What an upload is packed in, told by its content, and its first bytes unpacked."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from backports import zstd

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds import archive
from h3_pipeline.trips.upload import Compression

DECOMPRESSED_BYTES = 4 * 1024 * 1024
"""No more than this is unpacked, so that a small file which unpacks to a huge one costs nothing."""

_CHUNK = 64 * 1024

_MAGIC = (
    (Compression.GZIP, re.compile(rb"\x1f\x8b")),
    (Compression.ZSTD, re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")),
    (Compression.BZIP2, re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")),
    (Compression.XZ, re.compile(rb"\xfd7zXZ\x00")),
    (Compression.ZIP, re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)")),
)

_OPENERS: dict[Compression, Callable[[IO[bytes]], Any]] = {
    Compression.GZIP: gzip.open,
    Compression.ZSTD: zstd.open,
    Compression.BZIP2: bz2.open,
    Compression.XZ: partial(lzma.open, format=lzma.FORMAT_XZ),
}

_OTHER_PACKINGS = (
    ("7-Zip", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("RAR", re.compile(rb"Rar!\x1a\x07")),
    ("LZ4", re.compile(rb"\x04\x22\x4d\x18")),
    ("compress (.Z)", re.compile(rb"\x1f\x9d")),
    ("tar", re.compile(rb"(?s).{257}ustar")),
)

_NOT_CSV = (
    ("a Parquet file", re.compile(rb"PAR1\x15")),
    ("an Avro file", re.compile(rb"Obj\x01")),
    ("an Excel workbook", re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    ("a PDF document", re.compile(rb"%PDF-")),
)


@dataclass(frozen=True, slots=True)
class Content:
    """The first bytes of an upload, unpacked.

    Attributes:
        compression: What the upload is packed in.
        archive_member: Name of the file inside a zip archive, else None.
        data: First bytes of the CSV text, at most `DECOMPRESSED_BYTES` if it was packed.
        complete: Whether ``data`` is all of the text.
    """

    compression: Compression
    archive_member: str | None
    data: bytes
    complete: bool


def detect_compression(head: bytes) -> Compression:
    """Tell the compression from the first bytes."""
    return next((kind for kind, magic in _MAGIC if magic.match(head)), Compression.NONE)


def unpack(head: bytes, *, complete: bool) -> Content:
    """Unpack the first bytes of an upload.

    Args:
        head: First bytes of the object, as stored.
        complete: Whether they are the whole object.

    Raises:
        UploadRefused: ``empty``, ``truncated_archive``, ``corrupt_archive``, ``nested_archive``,
            ``archive_members``, ``encrypted_archive``, ``unsupported_compression`` or ``not_csv``.
    """
    if not head:
        raise UploadRefused("empty", "The file is empty; upload it again")
    _refuse_other_formats(head)
    compression = detect_compression(head)
    member: str | None = None
    if compression is Compression.NONE:
        return Content(compression, None, head, complete)
    if compression is Compression.ZIP:
        member, data, ended = archive.unpack_zip(head, complete=complete, limit=DECOMPRESSED_BYTES)
    else:
        data, ended = _decompress(head, compression)
        if complete and not ended and len(data) < DECOMPRESSED_BYTES:
            raise UploadRefused(
                "truncated_archive",
                f"The {compression} data breaks off after {len(data):,} unpacked bytes; upload the file again",
            )
    if complete and ended and not data:
        raise UploadRefused("empty", f"The {compression} file unpacks to an empty file; pack it again")
    inner = detect_compression(data)
    packing = _first_match(_OTHER_PACKINGS, data) if inner is Compression.NONE else str(inner)
    if packing:
        raise UploadRefused(
            "nested_archive", f"The file is {packing} inside {compression}; unpack it and compress the CSV itself, once"
        )
    _refuse_other_formats(data)
    return Content(compression, member, data, complete and ended)


def _decompress(head: bytes, compression: Compression) -> tuple[bytes, bool]:
    """Unpacked bytes, and whether they go to the end of the packed data."""
    chunks: list[bytes] = []
    size = 0
    try:
        with _OPENERS[compression](io.BytesIO(head)) as file:
            while size < DECOMPRESSED_BYTES:
                chunk = file.read1(min(_CHUNK, DECOMPRESSED_BYTES - size))
                if not chunk:
                    return b"".join(chunks), True
                chunks.append(chunk)
                size += len(chunk)
    except EOFError:  # the data breaks off, as the head of a larger object does
        pass
    except (OSError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise UploadRefused(
            "corrupt_archive", f"The {compression} data is damaged ({error}); pack the file and upload it again"
        ) from None
    return b"".join(chunks), False


def _refuse_other_formats(data: bytes) -> None:
    form = _first_match(_NOT_CSV, data)
    if form:
        raise UploadRefused("not_csv", f"The file is {form}; export it as CSV and upload that")
    packing = _first_match(_OTHER_PACKINGS, data)
    if packing:
        raise UploadRefused(
            "unsupported_compression",
            f"The file is packed with {packing}; use gzip, zstd, bzip2, xz or a zip archive with one CSV",
        )


def _first_match(patterns: tuple[tuple[str, re.Pattern[bytes]], ...], data: bytes) -> str | None:
    return next((name for name, pattern in patterns if pattern.match(data)), None)
