"""An engine without a bucket, and the judgement of a text's records by it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import describe_upload
from h3_pipeline.sql import literal
from h3_pipeline.trips.rules import WARNINGS
from h3_pipeline.trips.select import judged_trips, read_settings, structure
from h3_pipeline_tests.engine import PLAN_LITTLE


class Judge(Protocol):
    def __call__(self, text: str | bytes, *, feeds: str | None = None) -> list[dict[str, Any]]: ...


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The engine that tasks use."""
    with open_embedded(tmp_path_factory.mktemp("engine") / "data") as opened:
        yield opened


@pytest.fixture
def judge(engine: ClickHouse, tmp_path: Path) -> Judge:
    """Judges a CSV text, blank lines left out; the warnings are a set of codes."""

    def run(text: str | bytes, *, feeds: str | None = None) -> list[dict[str, Any]]:
        content = text.encode() if isinstance(text, str) else text
        upload = describe_upload("trips.csv", content, FeedCatalog.load(feeds), complete=True)
        file = tmp_path / "trips.csv"
        file.write_bytes(content)
        source = f"file({literal(str(file))}, 'CSV', {literal(structure(upload))}, 'none')"
        select = f"SELECT * FROM ({judged_trips(upload, source, 10)}) WHERE NOT blank ORDER BY record"
        records = engine.records(select, settings={**read_settings(upload), **PLAN_LITTLE})
        for record in records:
            bits = record["warnings"]
            record["warnings"] = {rule.code for i, rule in enumerate(WARNINGS) if bits >> i & 1}
        return records

    return run
