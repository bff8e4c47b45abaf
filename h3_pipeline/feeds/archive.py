"""Zip archives: which member is the CSV, and its first bytes.

The directory of a zip archive is at its end. Of a large upload only the beginning is at hand, and
the local headers in it, one before each member, are what there is to go by; `zip_members` reads
the directory for whoever can read a range of the object.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from h3_pipeline.errors import UploadRefused

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED, _SIZES_FOLLOW, _UTF8_NAME = 0x1, 0x8, 0x800
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_UNKNOWN_SIZE = 0xFFFFFFFF
_CSV_SUFFIXES = (".csv", ".tsv")
_CHUNK = 1024 * 1024
_LOOK_BEYOND = 16 * 1024 * 1024
"""Most bytes to unpack in search of the member after one whose size is not stated."""


def csv_member(names: Iterable[str]) -> str:
    """Choose the CSV among the names in an archive.

    Folders and what macOS adds are ignored. If several files are left, one of them must end in
    ``.csv`` or ``.tsv``, and only one.

    Raises:
        UploadRefused: ``archive_members``, if there is no such file or more than one; ``not_csv``
            for an Excel workbook, which is a zip archive too.
    """
    files = [name for name in names if not _is_ignored(name)]
    if "[Content_Types].xml" in files:
        raise UploadRefused("not_csv", "The file is an Excel workbook; save it as CSV and upload that")
    chosen = files if len(files) == 1 else [name for name in files if name.lower().endswith(_CSV_SUFFIXES)]
    if len(chosen) == 1:
        return chosen[0]
    shown = ", ".join(repr(name) for name in files[:5]) + (" …" if len(files) > 5 else "")
    found = f"holds {len(files)} files ({shown})" if files else "holds no file"
    raise UploadRefused("archive_members", f"The zip archive {found}; pack each CSV on its own")


def zip_members(read_range: Callable[[int, int], bytes], size: int) -> list[str]:
    """Read the names of all members from an archive's directory.

    Args:
        read_range: Gives the object's bytes for an offset and a length.
        size: Size of the object in bytes.

    Raises:
        UploadRefused: ``truncated_archive``, if the archive has no directory.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(_RangeFile(read_range, size))) as archive:
            return archive.namelist()
    except zipfile.BadZipFile as error:
        raise _truncated(error) from None


def zip_chunks(read_range: Callable[[int, int], bytes], size: int, member: str) -> Iterator[bytes]:
    """Unpack a member of an archive, piece by piece, for an engine that cannot.

    Args:
        read_range: Gives the object's bytes for an offset and a length.
        size: Size of the object in bytes.
        member: The member's name, as `csv_member` gives it.

    Raises:
        UploadRefused: ``truncated_archive`` or ``corrupt_archive``, perhaps after some pieces.
    """
    try:
        archive = zipfile.ZipFile(io.BufferedReader(_RangeFile(read_range, size), _CHUNK))
    except zipfile.BadZipFile as error:
        raise _truncated(error) from None
    try:
        with archive, archive.open(member) as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise _corrupt(error) from None


def unpack_zip(head: bytes, *, complete: bool, limit: int) -> tuple[str, bytes, bool]:
    """Unpack the first bytes of the CSV in an archive.

    Args:
        head: First bytes of the archive.
        complete: Whether they are all of it.
        limit: Most bytes to unpack.

    Returns:
        The member's name, its first bytes, and whether these go to its end.

    Raises:
        UploadRefused: ``archive_members``, ``encrypted_archive``, ``unsupported_compression``,
            ``truncated_archive``, ``corrupt_archive`` or ``not_csv``.
    """
    return _unpack_whole(head, limit) if complete else _unpack_part(head, limit)


def _unpack_whole(archive: bytes, limit: int) -> tuple[str, bytes, bool]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            name = csv_member(opened.namelist())
            info = opened.getinfo(name)
            _refuse_unreadable(name, info.flag_bits, info.compress_type)
            with opened.open(info) as member:
                data = member.read(limit)
            return name, data, len(data) >= info.file_size
    except EOFError as error:
        raise _truncated(error) from None
    except (zipfile.BadZipFile, zlib.error) as error:
        if zipfile.is_zipfile(io.BytesIO(archive)):  # it has its directory, so nothing is cut off
            raise _corrupt(error) from None
        raise _truncated(error) from None


@dataclass(frozen=True, slots=True)
class _LocalMember:
    name: str
    flags: int
    method: int
    start: int
    packed_size: int | None


def _unpack_part(head: bytes, limit: int) -> tuple[str, bytes, bool]:
    members = {member.name: member for member in _local_members(head)}
    if not members:
        raise UploadRefused(
            "archive_members", f"The zip archive's first {len(head):,} bytes name no file; pack one CSV on its own"
        )
    chosen = members[csv_member(members)]
    _refuse_unreadable(chosen.name, chosen.flags, chosen.method)
    end = None if chosen.packed_size is None else chosen.start + chosen.packed_size
    packed = head[chosen.start : end]
    if chosen.method == _STORED:
        return chosen.name, packed[:limit], end is not None and end <= len(head) and len(packed) <= limit
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise _corrupt(error) from None
    return chosen.name, data, unpacker.eof


def _local_members(head: bytes) -> Iterator[_LocalMember]:
    """The members whose local headers lie in the archive's first bytes."""
    offset = 0
    while 0 <= offset <= len(head) - _LOCAL_HEADER.size:
        signature, _, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL_HEADER.unpack_from(head, offset)
        if signature != _SIGNATURE:
            return
        name_start = offset + _LOCAL_HEADER.size
        start = name_start + name_size + extra_size
        if start > len(head):
            return
        name = head[name_start : name_start + name_size].decode(
            "utf-8" if flags & _UTF8_NAME else "cp437", errors="replace"
        )
        sized = not flags & _SIZES_FOLLOW and packed != _UNKNOWN_SIZE
        yield _LocalMember(name, flags, method, start, packed if sized else None)
        offset = start + packed if sized else _after(head, start, flags, method)


def _after(head: bytes, start: int, flags: int, method: int) -> int:
    """Offset of the next local header after a member whose size is not stated, or -1."""
    if method == _DEFLATED and not flags & _ENCRYPTED:
        unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            unpacker.decompress(head[start:], _LOOK_BEYOND)
        except zlib.error:
            return -1
        if not unpacker.eof:
            return -1
        start = len(head) - len(unpacker.unused_data)
    return head.find(_SIGNATURE, start)


def _is_ignored(name: str) -> bool:
    path = PurePosixPath(name)
    return name.endswith("/") or "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _refuse_unreadable(name: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise UploadRefused(
            "encrypted_archive", f"{name!r} in the zip archive is encrypted; pack it without a password"
        )
    if method not in (_STORED, _DEFLATED):
        raise UploadRefused(
            "unsupported_compression",
            f"{name!r} in the zip archive uses compression method {method}; pack it with method Deflate, or use gzip",
        )


def _truncated(error: Exception) -> UploadRefused:
    return UploadRefused("truncated_archive", f"The zip archive is incomplete ({error}); upload the file again")


def _corrupt(error: Exception) -> UploadRefused:
    return UploadRefused("corrupt_archive", f"The zip archive is damaged ({error}); pack the file and upload it again")


class _RangeFile(io.RawIOBase):
    """A file that can be read and searched, over a function that reads ranges."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range = read_range
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        data = self._read_range(self._at, length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
