"""Too little disk and too little memory: a clear error, and nothing half-written."""

import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from h3_pipeline.errors import UploadRefused, WarehouseError
from h3_pipeline.processing import judged
from h3_pipeline.storage import prefixes
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.adversarial.corpus import HEADER, line, text
from h3_pipeline_tests.uploads import Processing, put

_draw = random.Random(7)
CONTENT = text(*[line(origin_lat=f"40.{_draw.random():.12f}"[:3] + str(_draw.random())[2:]) for _ in range(20_000)])

# No file of the process may grow beyond the limit, which is what a full disk looks like without being root:
# EFBIG in place of ENOSPC.
WITH_LITTLE_DISK = """
import json, resource, sys
from pathlib import Path
from h3_pipeline.errors import PipelineError
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.processing.process import process_upload
from h3_pipeline_tests.uploads import processing_task

said = json.load(sys.stdin)
access = BucketAccess(**said["access"])
with open_task_engine(Path(said["home"]), access) as task:
    resource.setrlimit(resource.RLIMIT_FSIZE, (said["bytes"], resource.RLIM_INFINITY))
    try:
        process_upload(said["key"], processing_task(Bucket(access), task))
    except PipelineError as error:
        print(json.dumps([type(error).__name__, str(error)]))
    left = [path.name for path in task.scratch.glob("unpacked-*")]
assert not left, left
assert list((Path(said["home"]) / "tasks").iterdir()) == []
"""


def zipped(content: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trips.csv", content)
    return packed.getvalue()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a process's files")
@pytest.mark.parametrize("packed", [False, True], ids=["in the engine", "while unpacking"])
def test_a_full_disk(bucket: Bucket, tmp_path: Path, packed: bool) -> None:
    put(bucket, "big.csv", zipped(CONTENT) if packed else CONTENT)
    access = {name: getattr(bucket.access, name) for name in bucket.access.__slots__}
    said = {"access": access, "home": str(tmp_path), "key": "big.csv", "bytes": 300_000}
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_DISK], input=json.dumps(said), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    kind, message = json.loads(done.stdout)
    assert (kind, message[:16]) == ("WarehouseError", "The disk is full"), message
    assert "uploads/big.csv" in message
    assert message.endswith("free some space and run the upload again")
    assert list(bucket.list(prefixes.PROCESSED)) == []
    assert list(bucket.list(prefixes.REJECTED)) == []


@contextmanager
def memory(megabytes: int) -> Iterator[None]:
    """The engine judges rows with so little."""
    with pytest.MonkeyPatch.context() as little:
        # counted to the byte: by default each thread first takes up to 4 MB that nobody counts
        limit = {"max_memory_usage": megabytes * 1_000_000, "max_untracked_memory": 0}
        little.setattr(judged, "_INSERT_SETTINGS", {**judged._INSERT_SETTINGS, **limit})
        yield


def test_too_little_memory(process: Processing) -> None:
    with (
        memory(8),  # half of what it takes
        pytest.raises(WarehouseError, match=r"out of memory .*memory\.csv; run the upload again") as failure,
    ):
        process(CONTENT, "memory.csv")
    assert "\n" not in str(failure.value)
    assert process.bucket.head(prefixes.processed_object("memory.csv")) is None
    assert process(CONTENT, "memory.csv").manifest.rows_in == 20_000  # the engine is none the worse


def test_a_record_larger_than_the_memory(process: Processing) -> None:
    record = line('"' + ("x" * 99 + "\n") * 400_000 + '"')
    with memory(60), pytest.raises(UploadRefused) as refusal:
        process(text(*[line("Prague")] * 25_000, record, header=f"{HEADER},region"), "record.csv")
    assert refusal.value.code == "record_too_large"
