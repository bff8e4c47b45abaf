"""Fixtures that every test may use."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.local.object_store import ObjectStoreConnection, local_object_store
from h3_pipeline.processing.engine import TaskEngine, open_task_engine
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline_tests.uploads import Processing

REPOSITORY = Path(__file__).resolve().parents[1]

_buckets = count(1)


LONGEST = (
    "reliability/test_kill_matrix.py",
    "reliability/test_http_warehouse.py",
    "cli/test_dev.py",
    "integration/test_processes.py",
    "cli/test_demo.py",
    "reliability/test_lock.py",
    "adversarial/test_store_faults.py",
)
"""Files that take a minute and more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then the others with slow tests: no worker is left alone with one at the end."""
    folder = Path(__file__).parent
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    place = {folder / name: number for number, name in enumerate(LONGEST)}
    assert all(file.exists() for file in place)
    items.sort(key=lambda item: (place.get(item.path, len(LONGEST)), item.path not in slow))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real files; they are not part of the repository."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data files are not beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreConnection]:
    """A real S3 server for the whole session; use a bucket of your own in it."""
    with local_object_store(tmp_path_factory.mktemp("object-store")) as connection:
        yield connection


@pytest.fixture(scope="session")
def new_bucket(object_store: ObjectStoreConnection) -> Callable[[], Bucket]:
    """Makes an empty bucket of a new name."""

    def make() -> Bucket:
        store = object_store
        name = f"trips-{next(_buckets)}"
        bucket = Bucket(BucketAccess(name, store.region, store.endpoint_url, store.access_key, store.secret_key))
        bucket.create()
        return bucket

    return make


@pytest.fixture(scope="module")
def bucket(new_bucket: Callable[[], Bucket]) -> Bucket:
    """A bucket of the test module's own."""
    return new_bucket()


@pytest.fixture(scope="module")
def task(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskEngine]:
    """The task engine on the module's bucket; not to be used beside `warehouse`.

    One process has one embedded engine open at a time.
    """
    with open_task_engine(tmp_path_factory.mktemp("home"), bucket.access) as engine:
        yield engine


@pytest.fixture(scope="module")
def task_engine(task: TaskEngine) -> ClickHouse:
    """The task engine's connection."""
    return task.clickhouse


@pytest.fixture(scope="module")
def process(bucket: Bucket, task: TaskEngine) -> Processing:
    """Uploads content and processes it."""
    return Processing(bucket, task)


@pytest.fixture
def warehouse(bucket: Bucket, tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse of the test's own on the module's bucket; not to be used beside `task_engine`."""
    with open_warehouse(Settings.load(h3_pipeline_home=tmp_path / "home"), bucket.access) as opened:
        yield opened
