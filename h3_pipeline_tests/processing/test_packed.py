"""Compression is told by content; each gives the same trips, and half of an archive gives none."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
from collections.abc import Callable

import pandas as pd
import pytest
from backports import zstd

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.describe import HEAD_BYTES
from h3_pipeline_tests.uploads import Processing


def plain_file() -> bytes:
    """More than the bytes that a description is made from, however it is packed."""
    chance = random.Random(7)
    rows = [
        f"2024-01-{chance.randrange(1, 29):02d}T{chance.randrange(24):02d}:00:00Z,"
        f"{chance.uniform(-80, 80):.7f},{chance.uniform(-180, 180):.7f},{chance.getrandbits(512):x}"
        for _ in range(17_000)
    ]
    return "\n".join(["started_at,origin_lat,origin_lng,note", *rows, ""]).encode()


def zipped(*names: str) -> Callable[[bytes], bytes]:
    def pack(content: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, content)
        return file.getvalue()

    return pack


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bz2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "zip": zipped("trips.csv"),
}
STREAMS = tuple(name for name in PACKINGS if name != "zip")
"""Those of which several may stand one after another."""


def pack_in_parts(name: str) -> bytes:
    pack = PACKINGS[name]
    return pack(PLAIN[:1_000_003]) + pack(PLAIN[1_000_003:]) if name in STREAMS else pack(PLAIN)


PLAIN = plain_file()
PACKED = {name: pack_in_parts(name) for name in PACKINGS}


@pytest.fixture(scope="module")
def expected(process: Processing) -> pd.DataFrame:
    processed = process(PLAIN, "plain")
    assert processed.manifest.dialect["compression"] == "none"
    assert processed.manifest.rows_loaded == 17_000
    return processed.trips


@pytest.mark.parametrize("name", PACKINGS)
def test_the_same_trips_whatever_the_packing_and_the_name(
    process: Processing, expected: pd.DataFrame, name: str
) -> None:
    assert len(PACKED[name]) > HEAD_BYTES
    processed = process(PACKED[name], "some file.txt")
    assert processed.manifest.dialect["compression"] == name
    pd.testing.assert_frame_equal(processed.trips, expected)


@pytest.mark.parametrize("name", PACKINGS)
@pytest.mark.parametrize("lost", [4, 100_000])
def test_an_archive_that_is_cut_off_is_refused(process: Processing, name: str, lost: int) -> None:
    with pytest.raises(UploadRefused, match="upload the file again") as caught:
        process(PACKED[name][:-lost])
    assert caught.value.code == "truncated_archive"


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zip"])
def test_an_archive_that_is_damaged_late_is_refused(process: Processing, name: str) -> None:
    damaged = bytearray(PACKED[name])
    damaged[-60_000:-50_000] = bytes(10_000)
    with pytest.raises(UploadRefused) as caught:
        process(bytes(damaged))
    assert caught.value.code == "truncated_archive"


def test_an_archive_of_two_files_is_refused_however_large_the_first(process: Processing) -> None:
    with pytest.raises(UploadRefused) as caught:
        process(zipped("a.csv", "b.csv")(PLAIN))
    assert caught.value.code == "archive_members"


@pytest.mark.parametrize("name", PACKINGS)
def test_an_archive_that_unpacks_to_far_more_than_trips_do_is_refused(process: Processing, name: str) -> None:
    header, lines = (
        b"started_at,origin_lat,origin_lng,note\n",
        b"2024-01-01T00:00:00Z,40.7,-74.0,\n" * (1024 * 1024 // 33),
    )
    pack, times = PACKINGS[name], 66
    bomb = pack(header + lines) + pack(lines) * times if name in STREAMS else pack(header + lines * times)
    with pytest.raises(UploadRefused) as caught:
        process(bomb)
    assert caught.value.code == "archive_too_large"
