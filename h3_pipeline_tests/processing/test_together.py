"""Uploads processed together: the same results as one by one, and whoever does not fit in is left to go alone."""

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from h3_pipeline.clickhouse.client import QueryError
from h3_pipeline.errors import StorageError, UploadRefused
from h3_pipeline.processing import together
from h3_pipeline.processing.engine import TaskEngine
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.judged import SCRATCH_DATABASE
from h3_pipeline.processing.process import process_upload
from h3_pipeline.processing.results import ProcessedUpload
from h3_pipeline.processing.task import ProcessingTask
from h3_pipeline.processing.together import process_together, side_by_side
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.storage.named_collection import s3_targets
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.uploads import Content, processing_task, put, same

CLEAN = trips_csv({"2024-01": 30})
OTHER = trips_csv({"2024-02": 700, "2024-03": 30}, first=3, bad=2)
BLANK_LINES = CLEAN.replace("\n2024-01-01T03", "\n\n  \n2024-01-01T03")
QUOTED = trips_csv({"2024-01": 12}, first=9, bad=1).replace("Prague", '"Pra""gue, the\ncity"', 9)
ALONE = trips_csv({"2024-05": 5}).replace(",", ";")


@pytest.fixture
def handovers(tmp_path: Path) -> Handovers:
    left = Handovers(tmp_path / "handovers")
    left.prepare()
    return left


@pytest.fixture
def processing(bucket: Bucket, task: TaskEngine, handovers: Handovers) -> ProcessingTask:
    return processing_task(bucket, task, handovers=handovers)


def put_all(bucket: Bucket, uploads: Mapping[str, Content]) -> list[str]:
    for key, content in uploads.items():
        put(bucket, key, content)
    return list(uploads)


def written(processing: ProcessingTask, processed: ProcessedUpload) -> dict[str, Any]:
    """All that is left of an upload."""
    manifest = processed.manifest
    assert processing.handovers
    file = processing.handovers.find(manifest)
    assert file
    rows = processing.engine.clickhouse.rows(f"SELECT * FROM file('{file}') ORDER BY row_number")
    refused = manifest.rejected_key and zstd.decompress(processing.bucket.read(manifest.rejected_key))
    kept = processing.bucket.read_json(prefixes.manifest_object(manifest.upload))
    assert kept == asdict(manifest)
    return {
        "manifest": same(kept),
        "clean": zstd.decompress(processing.bucket.read(manifest.processed_key)),
        "refused": refused,
        "handed over": [tuple(row) for row in rows],
        "sample": list(processed.sample),
    }


def test_each_is_what_it_would_be_alone(processing: ProcessingTask) -> None:
    keys = put_all(
        processing.bucket,
        {
            "clean.csv": CLEAN,
            "a city/with 'quotes'.csv": OTHER,
            "100%25 ü.csv": BLANK_LINES,
            "packed.csv.gz": gzip.compress(OTHER.encode()),
            "packed too.csv": gzip.compress(CLEAN.encode()),
            "quoted 1.csv": QUOTED,
            "quoted 2.csv": QUOTED.replace("Pra", "Bra"),
        },
    )
    found = process_together(keys, processing)
    assert set(found) == set(keys)
    results = {key: written(processing, processed) for key, processed in found.items()}
    assert sum(len(result["handed over"]) for result in results.values()) == 30 + 730 + 30 + 730 + 30 + 12 + 12
    for key, result in results.items():
        assert result == written(processing, process_upload(key, processing)), key


def test_those_of_one_form_share_a_statement(processing: ProcessingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []
    monkeypatch.setattr(together, "_process", lambda uploads, *_: groups.append([each.key for each in uploads]) or {})
    keys = put_all(
        processing.bucket,
        {"a1": CLEAN, "q1": QUOTED, "a2": OTHER, "q2": QUOTED, "semicolons": ALONE, "a3": BLANK_LINES},
    )
    assert process_together(keys, processing) == {}
    assert groups == [["a1", "a2", "a3"], ["q1", "q2"]]
    groups.clear()
    monkeypatch.setattr(together, "MOST_BYTES", len(CLEAN) + len(OTHER))
    process_together(keys, processing)
    assert groups == [["a1", "a2"], ["q1", "q2"]]


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("with, comma.csv", CLEAN),
        ("pattern*.csv", CLEAN),
        ("all refused.csv", trips_csv({"2024-01": 1}, bad=9)),
        ("no rows.csv", CLEAN.split("\n")[0] + "\n"),
        ("unknown.csv", "a,b\n1,2\n"),
        ("cut off.csv.gz", gzip.compress(CLEAN.encode())[:-20]),
        ("no text.csv", CLEAN.encode() + b"2024-01-01T00:00:00Z,,50,14,50,14,\xff\xfe,1\n"),
        # what begins without quotes is read line by line, until one is met
        ("a quote far below.csv", CLEAN + CLEAN.split("\n", 1)[1] * 700 + '2024-01-01T00:00:00Z,,50,14,50,14,"Q",1\n'),
    ],
)
def test_others_are_not_held_up_by(processing: ProcessingTask, key: str, content: Content) -> None:
    put_all(processing.bucket, {"one.csv": CLEAN, key: content, "two.csv": OTHER})
    found = process_together(["one.csv", key, "never sent.csv", "two.csv"], processing)
    assert set(found) == {"one.csv", "two.csv"}
    assert processing.bucket.read_json(prefixes.manifest_object(key)) is None
    for processed in found.values():
        assert written(processing, processed)["handed over"]


def test_a_large_upload_goes_alone(processing: ProcessingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = put_all(processing.bucket, {"one.csv": CLEAN, "large.csv": OTHER, "two.csv": CLEAN})
    monkeypatch.setattr(together, "SMALL_BYTES", len(OTHER) - 1)
    assert set(process_together(keys, processing)) == {"one.csv", "two.csv"}


def at(stage: str, do: Callable[[], object]) -> Callable[[str], None]:
    return lambda name: do() and None if name == stage else None


def test_one_that_is_replaced_meanwhile_is_left(processing: ProcessingTask) -> None:
    keys = put_all(processing.bucket, {"one.csv": CLEAN, "two.csv": CLEAN, "three.csv": OTHER})
    found = process_together(keys, processing, on_stage=at("judge", lambda: put(processing.bucket, "two.csv", OTHER)))
    assert set(found) == {"one.csv", "three.csv"}
    assert process_upload("two.csv", processing).manifest.rows_loaded == 730


def test_where_a_statement_fails_all_are_left(processing: ProcessingTask) -> None:
    keys = put_all(processing.bucket, {"1st.csv": CLEAN, "2nd.csv": CLEAN, "3rd.csv": OTHER})
    gone = prefixes.upload_object("2nd.csv")
    assert process_together(keys, processing, on_stage=at("judge", lambda: processing.bucket.delete(gone))) == {}
    assert [processing.bucket.read_json(prefixes.manifest_object(key)) for key in keys] == [None] * 3
    with pytest.raises(UploadRefused, match="There is no object"):
        process_upload("2nd.csv", processing)
    assert process_upload("1st.csv", processing).manifest.rows_loaded == 30


def test_a_statement_that_fails_half_way_leaves_no_object(processing: ProcessingTask) -> None:
    keys = {number: f"processed/half way/{number}.csv.zst" for number in range(4)}
    target = s3_targets(keys, "half", csv_format="CSVWithNames", compression="zstd")
    rows = "SELECT intDiv(number, 50000) AS half, throwIf(number = {end:UInt64}) AS fault FROM numbers(200000)"
    blocks = {"max_block_size": 1000, "min_insert_block_size_rows": 1000, "max_threads": 1}
    engine = processing.engine.clickhouse
    with pytest.raises(QueryError, match="throwIf"):
        engine.command(f"INSERT INTO FUNCTION {target} {rows}", {"end": 199_999}, settings=blocks)
    assert list(processing.bucket.list("processed/half way/")) == []
    engine.command(f"INSERT INTO FUNCTION {target} {rows}", {"end": 200_000}, settings=blocks)
    assert [stored.key for stored in processing.bucket.list("processed/half way/")] == list(keys.values())


def test_batches_go_side_by_side(processing: ProcessingTask) -> None:
    keys = put_all(
        processing.bucket, {f"side {number}.csv": trips_csv({"2024-01": 20 + number}) for number in range(9)}
    )
    batches: list[Sequence[str]] = []

    def process(batch: Sequence[str], task: ProcessingTask) -> dict[str, ProcessedUpload]:
        assert task.engine.clickhouse is not processing.engine.clickhouse
        batches.append(batch)
        return process_together(batch, task)

    found = {key: upload for processed in side_by_side(keys, processing, process) for key, upload in processed.items()}
    assert list(found) == keys
    assert sorted(map(len, batches)) == [4, 5]
    for key in (keys[0], keys[-1]):
        assert written(processing, found[key]) == written(processing, process_upload(key, processing))
    scratch = "SELECT name FROM system.tables WHERE database = {database:String}"
    assert processing.engine.clickhouse.rows(scratch, {"database": SCRATCH_DATABASE}) == []


def test_what_fails_in_a_batch_fails_the_caller(processing: ProcessingTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_UPLOADS", 1)
    begun = []

    def process(batch: Sequence[str], task: ProcessingTask) -> dict[str, ProcessedUpload]:
        begun.append(batch)
        raise StorageError("the bucket is gone")

    with pytest.raises(StorageError, match="the bucket is gone"):
        list(side_by_side([str(number) for number in range(200)], processing, process))
    assert len(begun) < 200
