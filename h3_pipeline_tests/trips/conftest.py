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
from h3_pipeline.trips.select import LINE_STRUCTURE, Reading, judged_trips, read_settings, structure
from h3_pipeline_tests.engine import PLAN_LITTLE


class Judge(Protocol):
    def __call__(self, text: str | bytes, *, feeds: str | None = None) -> list[dict[str, Any]]: ...


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """The engine that tasks use."""
    with open_embedded(tmp_path_factory.mktemp("engine") / "data") as opened:
        yield opened


@pytest.fixture(params=list(Reading))
def judge(engine: ClickHouse, tmp_path: Path, request: pytest.FixtureRequest) -> Judge:
    """Judges a CSV text, blank lines left out; the warnings are a set of codes, the fields those of a refused record.

    Read in both ways, unless the text has lines that cannot be read as records.
    """

    def run(text: str | bytes, *, feeds: str | None = None) -> list[dict[str, Any]]:
        content = text.encode() if isinstance(text, str) else text
        upload = describe_upload("trips.csv", content, FeedCatalog.load(feeds), complete=True)
        file = tmp_path / "trips.csv"
        file.write_bytes(content)
        reading = request.param if "\t" not in content.decode() and not upload.quoted else Reading.FIELDS
        formats = {Reading.LINES: ("LineAsString", LINE_STRUCTURE), Reading.FIELDS: ("CSV", structure(upload))}
        name, columns = formats[reading]
        source = f"file({literal(str(file))}, {literal(name)}, {literal(columns)}, 'none')"
        judged = judged_trips(upload, source, 10, reading)
        select = f"SELECT * FROM ({judged}) WHERE NOT blank ORDER BY record"
        records = engine.records(select, settings={**read_settings(upload), **PLAN_LITTLE})
        for record in records:
            bits = record["warnings"]
            record["warnings"] = {rule.code for i, rule in enumerate(WARNINGS) if bits >> i & 1}
            if reading is Reading.LINES:
                assert not record["needs_parser"]
                record["fields"] = record["line"].split(upload.delimiter) if record["reason"] else []
        return records

    return run
