"""A task's engine: alone in its folder, which goes when it goes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.storage.bucket import BucketAccess

NOWHERE = BucketAccess("nowhere", endpoint_url="http://127.0.0.1:9", access_key="who", secret_key="it-is-a-secret")
TASK = """
import sys
from pathlib import Path
from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.storage.bucket import BucketAccess
with open_task_engine(Path(sys.argv[1]), BucketAccess("nowhere")) as task:
    print(task.scratch, flush=True)
    sys.stdin.read()
"""


def test_its_folder_is_gone_afterwards(tmp_path: Path) -> None:
    with open_task_engine(tmp_path, NOWHERE) as task:
        assert task.clickhouse.value("SELECT 1") == 1
        assert task.scratch.is_dir()
    with pytest.raises(ZeroDivisionError), open_task_engine(tmp_path, NOWHERE):
        _ = 1 / 0
    assert list((tmp_path / "tasks").iterdir()) == []


def test_no_statement_and_no_file_that_others_may_read_has_the_credential(tmp_path: Path) -> None:
    with open_task_engine(tmp_path, NOWHERE) as task:
        shown = task.clickhouse.rows("SELECT * FROM system.named_collections")
        assert "trips_bucket" in str(shown)
        assert NOWHERE.secret_key is not None
        assert NOWHERE.secret_key not in str(shown)
        readable = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and path.stat().st_mode & 0o077 and NOWHERE.secret_key.encode() in path.read_bytes()
        ]
        assert readable == []


def test_tasks_run_side_by_side_and_what_a_killed_one_left_is_removed(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", TASK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert other.stdout is not None
        scratch = Path(other.stdout.readline().strip())
        with open_task_engine(tmp_path, NOWHERE):
            assert scratch.is_dir()
        assert scratch.is_dir()
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate(timeout=60)
    assert scratch.is_dir()
    with open_task_engine(tmp_path, NOWHERE):
        assert not scratch.exists()
