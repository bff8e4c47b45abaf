"""One warehouse with the real New York trips, loaded once for all tests of exports, and what they export."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import h3
import pandas as pd
import pytest

from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.catalog import ExportCatalog, Query
from h3_pipeline.exports.publication import ExportFile
from h3_pipeline.exports.runner import Exported, run_export
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.uploads import process_all, read_clean


@dataclass(frozen=True)
class NewYork:
    """A home whose warehouse holds the four files of yellow taxis' trips.

    Attributes:
        settings: Its settings.
        bucket: Its bucket.
        trips: The clean trips, as pandas reads them: an oracle apart from the warehouse.
    """

    settings: Settings
    bucket: Bucket
    trips: pd.DataFrame

    def export(
        self, query: str | Query, given: Mapping[str, Any] | None = None, day: date | None = None
    ) -> "ReadExport":
        """Run an export."""
        found = ExportCatalog.load().get(query) if isinstance(query, str) else query
        partition = found.header.partition.containing(day) if day else None
        bound = bind(found, given or {}, partition, self.settings.h3_rollup_resolutions)
        return ReadExport(run_export(bound, settings=self.settings, bucket=self.bucket), self.bucket, found)


@dataclass(frozen=True)
class ReadExport:
    """What a run made, as its readers find it."""

    exported: Exported
    bucket: Bucket
    query: Query

    def file(self, name: str) -> ExportFile:
        return next(file for file in self.exported.manifest.files if file.format == name)

    def download(self, name: str, folder: Path) -> Path:
        """A file of the version, on disk."""
        file = self.file(name)
        target = folder / file.key.rsplit("/", 1)[1]
        with target.open("wb") as opened:
            self.bucket.download(file.key, opened)
        return target

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows, from the copy on disk."""
        folder = self.exported.folder
        assert folder is not None
        return pd.read_parquet(folder / f"{self.query.name}.parquet")


@pytest.fixture(scope="session")
def new_york(new_bucket: Callable[[], Bucket], shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> NewYork:
    """Tests share it: they may export, not load."""
    home = tmp_path_factory.mktemp("new-york")
    bucket = new_bucket()
    settings = Settings(h3_pipeline_home=home, clickhouse_host=None)
    files = {path.name: path for path in sorted((shared_data / "nyc-yellow").glob("*.csv"))}
    manifests = process_all(bucket, home, files)
    with open_warehouse(settings, bucket.access) as warehouse:
        for manifest in manifests.values():
            warehouse.load(manifest)
    trips = pd.concat([read_clean(bucket, manifest.processed_key) for manifest in manifests.values()])
    return NewYork(settings, bucket, trips.reset_index(drop=True))


def parents(cells: pd.Series, resolution: int) -> pd.Series:
    """The cells that contain cells, as text; missing stays missing."""
    known = cells.dropna().astype("uint64")
    return known.map(lambda cell: h3.cell_to_parent(h3.int_to_str(int(cell)), resolution)).reindex(cells.index)
