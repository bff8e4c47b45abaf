"""What the tests of the feeds share."""

from typing import Protocol

import pytest

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import describe_upload
from h3_pipeline.trips.upload import UploadDescription


class Describe(Protocol):
    def __call__(
        self, content: bytes | str, *, key: str = ..., feeds: str | None = ..., complete: bool = ...
    ) -> UploadDescription: ...


class Refusal(Protocol):
    def __call__(
        self, content: bytes | str, *, key: str = ..., feeds: str | None = ..., complete: bool = ...
    ) -> tuple[str, str]: ...


def _describe(
    content: bytes | str, *, key: str = "trips.csv", feeds: str | None = None, complete: bool = True
) -> UploadDescription:
    head = content.encode() if isinstance(content, str) else content
    return describe_upload(key, head, FeedCatalog.load(feeds), complete=complete)


@pytest.fixture
def describe() -> Describe:
    """Describes content by the built-in feeds and those of a YAML text."""
    return _describe


@pytest.fixture
def refusal() -> Refusal:
    """Code and message with which content is refused."""

    def refuse(
        content: bytes | str, *, key: str = "trips.csv", feeds: str | None = None, complete: bool = True
    ) -> tuple[str, str]:
        with pytest.raises(UploadRefused) as caught:
            _describe(content, key=key, feeds=feeds, complete=complete)
        message = str(caught.value)
        assert "\n" not in message
        assert "\r" not in message
        return caught.value.code, message

    return refuse
