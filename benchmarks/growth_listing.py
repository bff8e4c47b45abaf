"""Ticks of the uploads sensor on a bucket of many objects, whose server is a process of its own.

The server only lists (`h3_pipeline_tests.servers.s3_listing`): a real store takes many minutes to be given
so many objects, and the client's side is the same. A process of its own does the ticks too, so that
its memory is theirs: ``python -m benchmarks.growth_listing KEYS``.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from dagster import DagsterInstance, SensorResult, build_sensor_context

from benchmarks.growth_result import ListedKeys, Tick
from benchmarks.machine import REPOSITORY
from benchmarks.processes import high_water_mark
from benchmarks.workplace import PIPELINE_PYTHON, environment
from h3_pipeline.resources import PipelineResource
from h3_pipeline.sensors import uploads_sensor
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.storage.watch import Judgement, Progress, look
from h3_pipeline_tests.servers.s3_listing import NAME, s3_listing

_START_SECONDS = 120


def listed_keys(keys: int, *, timeout: float) -> ListedKeys:
    """Measure in a fresh process.

    Args:
        keys: Number of objects.
        timeout: Seconds after which it is given up.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [str(PIPELINE_PYTHON), "-m", "benchmarks.growth_listing", str(keys)],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the sensor failed: {done.stderr.strip()[-2000:]}")
    return ListedKeys.model_validate_json(done.stdout.splitlines()[-1])


def main(keys: int) -> None:
    """Do the ticks, and print what was measured as JSON."""
    with _listing(keys) as endpoint_url, tempfile.TemporaryDirectory() as folder:
        access = BucketAccess(NAME, endpoint_url=endpoint_url, access_key="a", secret_key="s")  # noqa: S106 - loopback
        os.environ |= {
            "H3_PIPELINE_HOME": folder,
            "S3_ENDPOINT_URL": endpoint_url,
            "S3_BUCKET": NAME,
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "s",
        }
        with DagsterInstance.local_temp(folder) as instance:
            tick(instance, _settled(Bucket(access)))  # loads what is loaded once
            nothing_new = tick(instance, _settled(Bucket(access)))
            nothing_known = tick(instance, None)
    print(ListedKeys(keys=keys, nothing_known=nothing_known, nothing_new=nothing_new).model_dump_json())


def tick(instance: DagsterInstance, cursor: str | None) -> Tick:
    """Evaluate the sensor once; what it asks for is not done."""
    before = high_water_mark(os.getpid())
    began = time.perf_counter()
    with build_sensor_context(instance=instance, cursor=cursor) as context:
        result = uploads_sensor(context, pipeline=PipelineResource())
    seconds = time.perf_counter() - began
    assert isinstance(result, SensorResult)
    return Tick(
        seconds=round(seconds, 3),
        new=len(result.asset_events),
        complete=Progress.from_cursor(result.cursor).completed_at != Progress.from_cursor(cursor).completed_at,
        grown_bytes=high_water_mark(os.getpid()) - before,
    )


def _settled(bucket: Bucket) -> str:
    """The cursor after a scan that found nothing new."""
    progress = Progress()
    while progress.completed_at is None:
        found = look(bucket, prefixes.UPLOADS, progress, lambda _: Judgement(), room=1, is_over=lambda: False)
        progress = found.progress
    return progress.to_cursor()


@contextmanager
def _listing(keys: int) -> Iterator[str]:
    """Serve a listing of so many keys; where it is."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, keys), daemon=True)
    server.start()
    try:
        if not ours.poll(_START_SECONDS):
            raise RuntimeError("the server of the listing did not start")
        yield ours.recv()
    finally:
        server.terminate()
        server.join(10)


def _serve(connection: Connection, keys: int) -> None:
    with s3_listing() as listing:
        # as days of files are, in the order in which they come
        listing.fill([f"{prefixes.UPLOADS}2024/{n % 331:03d}/trips-{n:06d}.csv" for n in range(keys)])
        connection.send(listing.bucket.access.endpoint_url)
        connection.poll(None)  # until the other end is closed, or this process is ended


if __name__ == "__main__":
    main(int(sys.argv[1]))
