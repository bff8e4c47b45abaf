import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from backports import zstd

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.archive import csv_member, zip_chunks, zip_members
from h3_pipeline.feeds.compression import DECOMPRESSED_BYTES, unpack
from h3_pipeline.trips.upload import Compression

CSV = b"started_at,start_lat,start_lng\n" + b"".join(
    b"2014-04-%02d 10:%02d:00,40.%04d,-73.%04d\n" % (i % 28 + 1, i % 60, i * 37 % 9999, i * 91 % 9999)
    for i in range(5000)
)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, streamed: bool = False) -> bytes:
    buffer = io.BytesIO()
    if streamed:  # sizes then follow the data, as they do when a server zips on the fly
        buffer.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lambda data: lzma.compress(data, preset=1),
    Compression.ZIP: lambda data: zipped(("trips.csv", data)),
}
packers = pytest.mark.parametrize("compression", PACKERS)
streams = pytest.mark.parametrize("compression", [kind for kind in PACKERS if kind is not Compression.ZIP])


def refusal(head: bytes, *, complete: bool = True) -> tuple[str, str]:
    with pytest.raises(UploadRefused) as caught:
        unpack(head, complete=complete)
    return caught.value.code, str(caught.value)


@packers
def test_whole_files(compression: Compression):
    content = unpack(PACKERS[compression](CSV), complete=True)
    assert (content.compression, content.data, content.complete) == (compression, CSV, True)
    assert content.archive_member == ("trips.csv" if compression is Compression.ZIP else None)


def test_what_is_not_packed_is_taken_as_it_is():
    content = unpack(CSV[:100], complete=False)
    assert (content.compression, content.data, content.complete) == (Compression.NONE, CSV[:100], False)


@packers
def test_the_head_of_a_larger_file(compression: Compression):
    numbers = random.Random(1)  # so that it packs badly: zstd and bzip2 pack blocks of up to 900 kB
    data = CSV + b"".join(b"%d\n" % numbers.getrandbits(64) for _ in range(100_000))
    packed = PACKERS[compression](data)
    content = unpack(packed[: len(packed) * 2 // 3], complete=False)
    assert content.compression is compression
    assert not content.complete
    assert len(content.data) > 1000
    assert data.startswith(content.data)


@packers
def test_truncated(compression: Compression):
    packed = PACKERS[compression](CSV)
    for cut in (len(packed) // 2, len(packed) - 3):
        code, message = refusal(packed[:cut])
        assert code == "truncated_archive"
        assert "upload the file again" in message


@packers
def test_nested(compression: Compression):
    for inner in PACKERS.values():
        code, message = refusal(PACKERS[compression](inner(CSV)))
        assert code == "nested_archive"
        assert f"inside {compression}" in message


def test_tar_inside_gzip_is_nested_too():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("trips.csv")
        info.size = len(CSV)
        tar.addfile(info, io.BytesIO(CSV))
    assert refusal(buffer.getvalue()) == (
        "nested_archive",
        "The file is tar inside gzip; unpack it and compress the CSV itself, once",
    )


@streams
def test_several_streams_one_after_the_other(compression: Compression):
    pack = PACKERS[compression]
    content = unpack(pack(CSV[:5000]) + pack(CSV[5000:]), complete=True)
    assert content.data == CSV
    assert content.complete


@packers
def test_damaged(compression: Compression):
    packed = bytearray(PACKERS[compression](CSV))
    middle = len(packed) // 2
    packed[middle : middle + 50] = b"\xff" * 50
    assert refusal(bytes(packed))[0] == "corrupt_archive"


@packers
def test_a_bomb_is_not_unpacked(compression: Compression):
    packed = PACKERS[compression](CSV + b"\n" * (3 * DECOMPRESSED_BYTES))
    content = unpack(packed, complete=True)
    assert len(content.data) == DECOMPRESSED_BYTES
    assert not content.complete


@packers
def test_nothing_inside(compression: Compression):
    assert refusal(PACKERS[compression](b""))[0] == "empty"


def test_nothing_at_all():
    assert refusal(b"") == ("empty", "The file is empty; upload it again")


@pytest.mark.parametrize(
    ("head", "code", "says"),
    [
        (b"PAR1\x15\x04\x15", "not_csv", "Parquet"),
        (gzip.compress(b"PAR1\x15\x04\x15", mtime=0), "not_csv", "Parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", "not_csv", "Excel"),
        (zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>")), "not_csv", "Excel"),
        (b"%PDF-1.7\n", "not_csv", "PDF"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "unsupported_compression", "7-Zip"),
        (b"\x04\x22\x4d\x18\x64\x40", "unsupported_compression", "LZ4"),
        (zipped(("trips.csv", CSV), method=zipfile.ZIP_LZMA), "unsupported_compression", "method 14"),
        (zipped(("trips.csv", CSV), method=zipfile.ZIP_BZIP2), "unsupported_compression", "method 12"),
    ],
)
def test_other_formats_are_named(head: bytes, code: str, says: str):
    found, message = refusal(head)
    assert found == code
    assert says in message


class TestZip:
    @pytest.mark.parametrize("complete", [True, False])
    @pytest.mark.parametrize("streamed", [True, False])
    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    def test_what_macos_adds_and_folders_are_ignored(self, complete: bool, streamed: bool, method: int):
        packed = zipped(
            ("2014/", b""),
            ("__MACOSX/2014/._april.csv", b"\0\5\x16\7"),
            ("2014/.DS_Store", b"\0\0\0\1Bud1"),
            ("2014/april.csv", CSV),
            streamed=streamed,
            method=method,
        )
        content = unpack(packed, complete=complete)
        assert content.archive_member == "2014/april.csv"
        assert content.data[: len(CSV)] == CSV

    def test_one_csv_beside_other_files(self):
        packed = zipped(("README.txt", b"read me"), ("trips.CSV", CSV))
        assert unpack(packed, complete=True).archive_member == "trips.CSV"
        assert unpack(packed, complete=False).archive_member == "trips.CSV"

    def test_a_sole_file_of_any_name(self):
        assert unpack(zipped(("trips.txt", CSV)), complete=True).archive_member == "trips.txt"

    def test_a_stored_member_of_which_the_head_has_a_part(self):
        packed = zipped(("trips.csv", CSV), method=zipfile.ZIP_STORED)
        content = unpack(packed[:10_000], complete=False)
        assert not content.complete
        assert len(content.data) > 9000
        assert CSV.startswith(content.data)

    @pytest.mark.parametrize("complete", [True, False])
    def test_two_csvs(self, complete: bool):
        code, message = refusal(zipped(("a.csv", CSV), ("b.csv", CSV)), complete=complete)
        assert code == "archive_members"
        assert "'a.csv', 'b.csv'" in message

    @pytest.mark.parametrize("packed", [zipped(), zipped(("folder/", b""))])
    def test_no_file(self, packed: bytes):
        assert refusal(packed)[0] == "archive_members"
        assert refusal(packed, complete=False)[0] == "archive_members"

    @pytest.mark.parametrize("complete", [True, False])
    def test_encrypted(self, complete: bool):
        packed = bytearray(zipped(("trips.csv", CSV)))
        packed[6] |= 1  # the flag in the local header
        packed[packed.rindex(b"PK\1\2") + 8] |= 1  # and in the directory
        assert refusal(bytes(packed), complete=complete)[0] == "encrypted_archive"

    def test_the_directory_is_read_in_ranges(self):
        packed = zipped(("big.csv", CSV * 20), ("other.csv", CSV), method=zipfile.ZIP_STORED)
        read: list[tuple[int, int]] = []

        def read_range(start: int, length: int) -> bytes:
            read.append((start, length))
            return packed[start : start + length]

        assert zip_members(read_range, len(packed)) == ["big.csv", "other.csv"]
        assert sum(length for _, length in read) < len(packed) // 10

    def test_a_member_is_unpacked_in_pieces(self):
        data = CSV * 20
        packed = zipped(("readme.txt", b"read me"), ("trips.csv", data))
        pieces = list(zip_chunks(lambda start, length: packed[start : start + length], len(packed), "trips.csv"))
        assert len(pieces) > 1
        assert b"".join(pieces) == data

    def test_a_member_that_cannot_be_unpacked(self):
        packed = zipped(("trips.csv", CSV))
        middle = len(packed) // 2
        damaged = packed[:middle] + b"\xff" * 20 + packed[middle + 20 :]
        for archive, code in ((damaged, "corrupt_archive"), (packed[:-30], "truncated_archive")):
            with pytest.raises(UploadRefused) as caught:
                list(
                    zip_chunks(lambda start, length, of=archive: of[start : start + length], len(archive), "trips.csv")
                )
            assert caught.value.code == code

    def test_a_directory_that_is_not_there(self):
        packed = zipped(("trips.csv", CSV))[:-60]
        with pytest.raises(UploadRefused) as caught:
            zip_members(lambda start, length: packed[start : start + length], len(packed))
        assert caught.value.code == "truncated_archive"

    def test_many_names_are_shortened(self):
        with pytest.raises(UploadRefused, match=r"holds 100 files \('0.csv', .*'4.csv' …\)"):
            csv_member([f"{i}.csv" for i in range(100)])
