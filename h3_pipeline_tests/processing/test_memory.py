"""A task's memory does not grow with the file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from h3_pipeline.storage.bucket import Bucket

ROWS = 2_000_000
LIMIT_BYTES = 1_500_000_000
PROGRAM = """
import json, re, sys
from pathlib import Path
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.process import process_upload
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.storage.named_collection import s3_table
from h3_pipeline_tests.uploads import processing_task

access, rows = BucketAccess(**json.loads(sys.argv[2])), int(sys.argv[3])
with open_task_engine(Path(sys.argv[1]), access) as task:
    target = s3_table("uploads/large.csv", csv_format="CSVWithNames")
    task.clickhouse.command(f'''
        INSERT INTO FUNCTION {target}
        SELECT number AS ride_id, toDateTime(1704067200 + number % 2500000, 'UTC')::String || 'Z' AS started_at,
               toDateTime(1704067800 + number % 2500000, 'UTC')::String || 'Z' AS ended_at,
               40 + (number % 10007) / 10007 AS origin_lat, -74 + (number % 9973) / 9973 AS origin_lng,
               40 + (number % 9967) / 9967 AS destination_lat, -74 + (number % 9949) / 9949 AS destination_lng,
               if(number % 1000 = 0, 'far', (number % 977)::String) AS distance_km, 'a note of some length' AS note
        FROM numbers({rows})''', settings={"s3_truncate_on_insert": 1})
    manifest = process_upload("large.csv", processing_task(Bucket(access), task)).manifest
# not getrusage: its peak begins with that of the process that forked this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(json.dumps({"peak": peak, "rows": manifest.rows_loaded, "warnings": manifest.warnings}))
"""


@pytest.mark.slow
def test_two_million_rows_fit_in_the_memory_of_a_small_task(bucket: Bucket, tmp_path: Path) -> None:
    access = bucket.access
    names = ("name", "region", "endpoint_url", "access_key", "secret_key")
    arguments = [str(tmp_path), json.dumps({name: getattr(access, name) for name in names}), str(ROWS)]
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert (found["rows"], found["warnings"]) == (ROWS, {"invalid_distance_km": ROWS // 1000})
    assert found["peak"] < LIMIT_BYTES
