"""Fixtures of the embedded stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from h3_pipeline.local.object_store import ObjectStoreConnection, local_object_store, stop


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreConnection]:
    """A real S3 server for the whole session; use a bucket of your own in it."""
    with local_object_store(tmp_path_factory.mktemp("object-store")) as connection:
        yield connection


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own, whose server is gone after the test however it ended."""
    folder = tmp_path / "home"
    yield folder
    stop(folder)
