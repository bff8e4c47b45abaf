"""The one resource of all assets: how a step reaches the bucket, the task engine and the warehouse."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster import ConfigurableResource, InitResourceContext
from pydantic import PrivateAttr

from h3_pipeline.errors import FeedError
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.model import Feed
from h3_pipeline.ops import observed
from h3_pipeline.processing.engine import TaskEngine, open_task_engine
from h3_pipeline.run_retries import once_in_a_run, once_in_a_step
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import Shards, open_shard, open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.sharding import Shard


class PipelineResource(ConfigurableResource):
    """Opens what a step works with, late, and closes it early.

    Attributes:
        overrides: Settings that differ from the environment's; tests use it. No secret belongs here,
            since Dagster shows a resource's configuration.
    """

    overrides: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    _of_this_run: Settings | None = PrivateAttr(None)

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Read the settings, once for the whole run, and begin to write metrics where they want them."""
        with once_in_a_run(context):
            self._of_this_run = Settings.load(**self.overrides)
        observed.start(self._of_this_run)

    def settings(self) -> Settings:
        """The settings in force."""
        if self._of_this_run is not None:
            return self._of_this_run
        with once_in_a_step():
            return Settings.load(**self.overrides)

    def catalog(self) -> FeedCatalog:
        """The feeds in force."""
        with once_in_a_step():
            return load_catalog(self.settings())

    def user_feeds(self) -> Sequence[Feed]:
        """The user's feeds, for who only looks; none where their file cannot be read, which the runs tell of."""
        try:
            return load_catalog(self.settings()).user
        except FeedError:
            return ()

    @contextmanager
    def bucket(self) -> Iterator[Bucket]:
        """The bucket, with its local server running where there is one."""
        with bucket_access(self.settings()) as access:
            yield Bucket(access)

    @contextmanager
    def task_engine(self, bucket: Bucket) -> Iterator[TaskEngine]:
        """An engine for this step alone."""
        with open_task_engine(self.settings().home, bucket.access) as engine:
            yield engine

    def shards(self) -> Shards:
        """The warehouse's shards; a single one where uploads are not spread."""
        return Shards(self.settings())

    @contextmanager
    def warehouse(self, bucket: Bucket, shard: Shard | None = None) -> Iterator[Warehouse]:
        """The warehouse, which the embedded engine gives to one process at a time.

        Args:
            bucket: The bucket.
            shard: One of its shards; None where it has only one.
        """
        settings = self.settings()
        opened = (
            open_shard(settings, shard, bucket.access) if shard is not None else open_warehouse(settings, bucket.access)
        )
        with opened as warehouse:
            yield warehouse

    def warehouses(self, bucket: Bucket) -> Iterator[Warehouse]:
        """Every shard, open, one after the other."""
        for shard in self.shards().all:
            with self.warehouse(bucket, shard) as warehouse:
                yield warehouse


class TracedPipelineResource(PipelineResource):
    """The same where runs are traced: it lives as long as its run, and so does the run's span."""

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["TracedPipelineResource"]:
        """Trace the run."""
        with observed.observed_run(context.run, self.settings()):
            yield self


def pipeline_resource() -> PipelineResource:
    """The resource for the environment's settings."""
    # Dagster refuses a resource that ends in tests that call a sensor as a function, so it is not always this one
    return TracedPipelineResource() if Settings.load().otel_exporter_otlp_endpoint else PipelineResource()
