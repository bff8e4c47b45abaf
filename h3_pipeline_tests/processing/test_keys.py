"""Whatever a key looks like, its upload is the object that is read, and its results have names of their own."""

import pytest

from h3_pipeline.errors import UploadRefused
from h3_pipeline_tests.uploads import Processing

KEYS = [
    "a b,c'd\".csv",
    "ä 東京 😀+%20%2F.csv",
    "a*b?c{1,2}[3].csv",
    "a//b.csv",
    "/a.csv",
    "a#b&c=d\\e :: f.zip",
    "date=2024-01-01/region=x/a\tb.csv.trips.csv.zst",
]


def test_every_key(process: Processing) -> None:
    results = set()
    for number, key in enumerate(KEYS):
        rows = "2024-01-01T00:00:00Z,40.7,-74.0\n" * (number + 1)
        processed = process(f"started_at,origin_lat,origin_lng\n{rows}never,1,2\n", key)
        manifest = processed.manifest
        assert manifest.upload == key
        assert (manifest.rows_loaded, manifest.rows_rejected) == (number + 1, 1), key
        assert len(processed.trips) == number + 1, key
        assert processed.refused["row_number"].tolist() == [number + 2], key
        results |= {manifest.processed_key, manifest.rejected_key}
    assert len(results) == 2 * len(KEYS)


def test_a_key_that_looks_like_a_pattern_reads_no_other_object(process: Processing) -> None:
    good = "started_at,origin_lat,origin_lng\n2024-01-01T00:00:00Z,40.7,-74.0\n"
    process(good, "p1.csv")
    process(good, "p2.csv")
    for pattern in ("p*.csv", "p{1..2}.csv"):
        assert process(good, pattern).manifest.rows_in == 1


def test_an_object_that_is_not_there(process: Processing) -> None:
    process.bucket.write("uploads/other.csv", b"", "text/csv")
    process.bucket.delete("uploads/other.csv")
    with pytest.raises(UploadRefused, match=r"no object uploads/other\.csv") as caught:
        process.process_again("other.csv")
    assert caught.value.code == "not_found"
