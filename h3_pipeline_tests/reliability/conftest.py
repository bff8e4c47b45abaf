"""A warehouse behind HTTP: the test server, or the real one that ``CLICKHOUSE_HOST`` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server

PASSWORD = "only for tests"
MOST_MONTHS = 6
"""Of one insert, on the test server, where a hundred would take long to publish."""
_databases = count(1)


@dataclass(frozen=True)
class Served:
    """A warehouse server and the bucket that it knows.

    Attributes:
        bucket: The bucket.
        server: The test server, whose faults can be steered; None for a real one.
        connection: Settings of the connection.
        most_months: How many partitions the server lets an insert touch that asks for no more.
    """

    bucket: Bucket
    server: ClickHouseServer | None
    connection: dict[str, Any]
    most_months: int

    def settings(self, **more: Any) -> Settings:
        """Settings for a warehouse of its own on the server."""
        database = f"test_{next(_databases)}_{uuid4().hex[:8]}"
        return Settings.load(**{**self.connection, "clickhouse_database": database, **more})

    @property
    def faults(self) -> ClickHouseServer:
        """The test server; skips the test on a real one."""
        if self.server is None:
            pytest.skip("a real server injects no faults")
        return self.server


@pytest.fixture(scope="module")
def served(new_bucket: Callable[[], Bucket], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if os.environ.get("CLICKHOUSE_HOST"):
        settings = Settings.load()
        access = BucketAccess(settings.s3_bucket, settings.aws_region, settings.s3_endpoint_url)
        bucket = Bucket(access)
        bucket.create()
        yield Served(bucket, None, {}, 100)
        return
    bucket = new_bucket()
    folder: Path = tmp_path_factory.mktemp("warehouse-server")
    configuration = folder / "config.xml"
    configuration.write_text(f"<clickhouse>{named_collection_configuration(bucket.access)}</clickhouse>")
    options = {"config-file": str(configuration), "max_partitions_per_insert_block": str(MOST_MONTHS)}
    with clickhouse_server(folder / "data", password=PASSWORD, chdb_options=options) as server:
        connection = {
            "clickhouse_host": server.host,
            "clickhouse_http_port": server.port,
            "clickhouse_password": PASSWORD,
            # a load is the same with five, and takes twice as many statements
            "h3_rollup_resolutions": (9, 6),
        }
        yield Served(bucket, server, connection, MOST_MONTHS)
