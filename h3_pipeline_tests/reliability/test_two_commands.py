"""Several ``ingest`` on one home at the same moment: one works, the others wait, say so, and go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.reliability.programs import trips_csv
from h3_pipeline_tests.uploads import put

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROCESSES = 3
ROWS = 40

# says what it waits for, as the command line does
_INGEST = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
from dagster import DagsterInstance
from h3_pipeline.ingestion import ingest
from h3_pipeline.resources import PipelineResource
with PipelineResource().bucket() as bucket, DagsterInstance.ephemeral() as instance:
    print([outcome.status for outcome in ingest(sys.argv[1:], bucket=bucket, instance=instance).uploads])
"""


def test_ingestions_at_once_on_one_home(bucket: Bucket, tmp_path: Path) -> None:
    home = tmp_path / "home"
    access = bucket.access
    environment = {
        **os.environ,
        "H3_PIPELINE_HOME": str(home),
        "S3_ENDPOINT_URL": str(access.endpoint_url),
        "S3_BUCKET": access.name,
        "AWS_ACCESS_KEY_ID": str(access.access_key),
        "AWS_SECRET_ACCESS_KEY": str(access.secret_key),
        "H3_ROLLUP_RESOLUTIONS": "7",
    }
    keys = [f"{n}.csv" for n in range(PROCESSES)]
    for n, key in enumerate(keys):
        put(bucket, key, trips_csv({"2024-01": ROWS, "2024-02": ROWS}, first=n))
    with open_warehouse(Settings.load(h3_pipeline_home=home), access):  # held until all of them have come
        commands = [
            subprocess.Popen(
                [sys.executable, "-c", _INGEST, key],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=(tmp_path / f"{key}.log").open("wb"),
                text=True,
            )
            for key in keys
        ]
        deadline = time.monotonic() + 240
        while not all("in use by another process" in (tmp_path / f"{key}.log").read_text() for key in keys):
            assert all(command.poll() is None for command in commands), [
                (tmp_path / f"{key}.log").read_text()[-2000:] for key in keys
            ]
            assert time.monotonic() < deadline
            time.sleep(0.1)
    answers = [command.communicate(timeout=240)[0] for command in commands]
    assert answers == ["['loaded']\n"] * PROCESSES
    with open_warehouse(Settings.load(h3_pipeline_home=home), access) as warehouse:
        assert warehouse.engine.pairs("SELECT upload, count() FROM trips GROUP BY upload") == dict.fromkeys(
            keys, 2 * ROWS
        )
        departures = warehouse.engine.value("SELECT sum(departures) FROM cell_hourly_view WHERE resolution = 7")
        assert departures == 2 * ROWS * PROCESSES
