"""Fixtures of the embedded stack."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from h3_pipeline.local.object_store import stop


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own, whose server is gone after the test however it ended."""
    folder = tmp_path / "home"
    yield folder
    stop(folder)
