"""A pipeline with a home of its own, on an object store that the session shares."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from dagster import DagsterInstance

from h3_pipeline.local.object_store import ObjectStoreConnection
from h3_pipeline.resources import PipelineResource
from h3_pipeline.storage.bucket import Bucket, BucketAccess


@pytest.fixture
def pipeline_bucket(object_store: ObjectStoreConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, and an environment in which the pipeline uses it with a new home."""
    name = f"trips-{uuid4().hex[:12]}"
    for variable in list(os.environ):
        if variable.startswith(("H3_", "CLICKHOUSE_", "S3_", "AWS_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("H3_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("S3_ENDPOINT_URL", object_store.endpoint_url)
    monkeypatch.setenv("S3_BUCKET", name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", object_store.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", object_store.secret_key)
    bucket = Bucket(
        BucketAccess(
            name, object_store.region, object_store.endpoint_url, object_store.access_key, object_store.secret_key
        )
    )
    bucket.create()
    return bucket


@pytest.fixture
def pipeline(pipeline_bucket: Bucket) -> PipelineResource:
    return PipelineResource()


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def put(pipeline_bucket: Bucket) -> Callable[[str, str], None]:
    """Write an upload."""

    def write(key: str, text: str) -> None:
        pipeline_bucket.write(f"uploads/{key}", text.encode(), "text/csv")

    return write


HEADER = "started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,region"


def trips_csv(rows: int, *, first_minute: int = 0, bad: int = 0) -> str:
    """A file of the generic feed: ``rows`` good trips, then ``bad`` ones at null island."""
    lines = [HEADER]
    for row in range(rows):
        minute = first_minute + row
        clock = f"2024-03-{1 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}"
        lines.append(f"{clock}:00Z,{clock}:45Z,{50 + row / 1000:.4f},14.42,{50.01 + row / 1000:.4f},14.43,Prague")
    lines += ["2024-03-01T00:00:00Z,2024-03-01T00:10:00Z,0,0,50,14,Prague"] * bad
    return "\n".join(lines) + "\n"
