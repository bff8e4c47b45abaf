"""Helpers of the tests: content in, what the task engine made of it out."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from backports import zstd

from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.processing.engine import TaskEngine, open_task_engine
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import process_upload
from h3_pipeline.processing.task import ProcessingTask
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket

Content = str | bytes | Path


@dataclass(frozen=True)
class Processed:
    """An upload that was accepted, and what was written about it."""

    manifest: Manifest
    sample: list[dict[str, Any]]
    bucket: Bucket

    @property
    def trips(self) -> pd.DataFrame:
        """The clean CSV as pandas reads it; times as texts, cells as numbers."""
        return read_clean(self.bucket, self.manifest.processed_key)

    @property
    def refused(self) -> pd.DataFrame:
        """The refused rows, every column as text but for ``row_number``; none is an empty frame."""
        if self.manifest.rejected_key is None:
            return pd.DataFrame(columns=["row_number", "reason", "raw"])
        return read_refused(self.bucket, self.manifest.rejected_key)


@dataclass(frozen=True)
class Processing:
    """Uploads content and processes it with the task engine."""

    bucket: Bucket
    task: TaskEngine

    def __call__(
        self,
        content: Content,
        key: str = "trips.csv",
        *,
        feeds: str | None = None,
        resolution: int = 10,
        max_reject_ratio: float = 0.5,
        on_stage: Callable[[str], None] = lambda stage: None,
    ) -> Processed:
        """Put content below ``uploads/`` and process it.

        Raises:
            UploadRefused: As `process_upload`.
        """
        put(self.bucket, key, content)
        return self.process_again(
            key, feeds=feeds, resolution=resolution, max_reject_ratio=max_reject_ratio, on_stage=on_stage
        )

    def process_again(
        self,
        key: str,
        *,
        feeds: str | None = None,
        resolution: int = 10,
        max_reject_ratio: float = 0.5,
        on_stage: Callable[[str], None] = lambda stage: None,
    ) -> Processed:
        """Process what is below ``uploads/`` already."""
        task = processing_task(
            self.bucket, self.task, feeds=feeds, resolution=resolution, max_reject_ratio=max_reject_ratio
        )
        processed = process_upload(key, task, on_stage=on_stage)
        return Processed(processed.manifest, list(processed.sample), self.bucket)


def processing_task(
    bucket: Bucket,
    engine: TaskEngine,
    *,
    feeds: str | None = None,
    resolution: int = 10,
    max_reject_ratio: float = 0.5,
    handovers: Handovers | None = None,
) -> ProcessingTask:
    """What uploads are processed with."""
    return ProcessingTask(bucket, engine, FeedCatalog.load(feeds), resolution, max_reject_ratio, handovers)


def put(bucket: Bucket, key: str, content: Content) -> None:
    """Put content below ``uploads/``."""
    if isinstance(content, Path):
        bucket.upload(content, prefixes.upload_object(key))
    else:
        body = content.encode() if isinstance(content, str) else content
        bucket.write(prefixes.upload_object(key), body, "text/csv")


def process_all(bucket: Bucket, home: Path, uploads: Mapping[str, Content], **options: Any) -> dict[str, Manifest]:
    """Process uploads by key, in a task engine that is closed again, so that a warehouse can be opened."""
    with open_task_engine(home, bucket.access) as task:
        process = Processing(bucket, task)
        return {key: process(content, key, **options).manifest for key, content in uploads.items()}


TIMED = ("seconds", "processed_bytes", "processed_etag")


def same(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without what differs from run to run."""
    return {name: value for name, value in manifest.items() if name not in TIMED}


def read_clean(bucket: Bucket, object_key: str) -> pd.DataFrame:
    """A clean CSV as pandas reads it."""
    text = zstd.decompress(bucket.read(object_key))
    cells = {"origin_h3": "UInt64", "destination_h3": "UInt64"}
    return pd.read_csv(
        io.BytesIO(text),
        float_precision="round_trip",
        dtype={**cells, "region": str, "datasource": str},
        keep_default_na=False,
        na_values={
            name: [""]
            for name in (
                "ended_at",
                "destination_lat",
                "destination_lng",
                "destination_h3",
                "distance_km",
                "passenger_count",
                "fare_amount",
                "total_amount",
            )
        },
    )


def read_refused(bucket: Bucket, object_key: str) -> pd.DataFrame:
    """The refused rows of an upload."""
    text = zstd.decompress(bucket.read(object_key))
    return pd.read_csv(io.BytesIO(text), dtype={"reason": str, "raw": str}, keep_default_na=False)
