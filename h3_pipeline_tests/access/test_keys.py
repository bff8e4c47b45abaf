"""No key leads out of its prefix."""

from collections.abc import Callable

import pytest
from dagster import DagsterInstance

from h3_pipeline.errors import StorageError
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.dagster_project.conftest import instance, pipeline, pipeline_bucket, put, trips_csv
from h3_pipeline_tests.dagster_project.ticks import look, requested
from h3_pipeline_tests.uploads import Processing

__all__ = ["instance", "pipeline", "pipeline_bucket", "put"]

GOOD = "started_at,origin_lat,origin_lng\n2024-01-01T00:00:00Z,40.7,-74.0\n"
CLIMBING = [
    "%2e%2e/%2e%2e/rejected/a.csv",
    "..%2F..%2Fexports%2Fa.csv",
    "/a.csv",
    "//exports/a.csv",
    "....//....//a.csv",
    "a/%2e%2e%2fb.csv",
    "~/a.csv",
    "$(HOME)/a.csv",
]


def test_what_is_written_about_an_upload_lies_below_its_prefixes(process: Processing) -> None:
    for key in CLIMBING:
        before = {stored.key for stored in process.bucket.list("")}
        manifest = process(GOOD, key).manifest
        assert manifest.rows_loaded == 1
        for written in {stored.key for stored in process.bucket.list("")} - before:
            prefix, *segments = written.split("/")
            assert prefix in ("uploads", "processed"), written
            assert not {"", ".", ".."} & set(segments[:-1]), written


@pytest.mark.parametrize("key", ["../processed/a.csv", "a/../../processed/a.csv", "./a.csv", "..", "/../x"])
def test_the_names_that_are_made_of_a_climbing_key_do_not_climb(key: str) -> None:
    for name in (
        prefixes.processed_object,
        prefixes.rejected_object,
        prefixes.manifest_object,
        prefixes.refusal_object,
    ):
        assert not {"", ".", ".."} & set(name(key).split("/")), name(key)


def test_a_climbing_key_is_asked_for_as_it_is_and_the_store_refuses_it(bucket: Bucket) -> None:
    """Neither client resolves the dots, which would read another object."""
    bucket.write("rejected/theirs.csv", b"secret", "text/csv")
    for key in ("uploads/../rejected/theirs.csv", "uploads/a/../../rejected/theirs.csv"):
        with pytest.raises(StorageError, match=r"cannot read uploads/.*\.\./rejected") as error:
            bucket.read(key)
        assert "secret" not in str(error.value)


def test_an_upload_called_like_an_object_elsewhere_is_not_taken_for_it(
    pipeline: PipelineResource,
    pipeline_bucket: Bucket,
    instance: DagsterInstance,
    put: Callable[[str, str], None],
) -> None:
    """Who may write below uploads/ must not have the rest of the bucket read or loaded by it."""
    pipeline_bucket.write("processed/theirs.csv", trips_csv(2).encode(), "text/csv")
    put("s3:processed/theirs.csv", trips_csv(1))
    put("s3:rejected/mine.csv", trips_csv(1))
    assert requested(look(instance, pipeline), instance) == [["s3:rejected/mine.csv"]]
    assert prefixes.upload_object("s3:rejected/mine.csv") == "uploads/s3:rejected/mine.csv"
