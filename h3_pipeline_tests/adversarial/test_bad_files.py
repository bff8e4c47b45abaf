"""Every file of the corpus has the outcome that it must have, and no row gets lost on the way."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest

from h3_pipeline.errors import UploadRefused
from h3_pipeline.storage import prefixes
from h3_pipeline_tests.adversarial.corpus import CASES, Accepted, Case, Refused
from h3_pipeline_tests.uploads import Processed, Processing


def key_of(case: Case) -> str:
    return case.key or f"case-{CASES.index(case)}"


def assert_conserved(processed: Processed) -> None:
    """The manifest, the objects and one another agree about the rows."""
    manifest, trips, refused = processed.manifest, processed.trips, processed.refused
    assert manifest.rows_in == manifest.rows_loaded + manifest.rows_rejected
    assert len(trips) == manifest.rows_loaded
    assert len(refused) == manifest.rows_rejected
    assert Counter(refused["reason"]) == manifest.rejected
    numbers = [*trips["row_number"], *refused["row_number"]]
    assert sorted(numbers) == list(range(1, manifest.rows_in + 1))
    assert processed.bucket.read_json(prefixes.manifest_object(manifest.upload)) == manifest.to_json()


def as_written(value: Any) -> Any:
    return None if pd.isna(value) else value


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in CASES if isinstance(case.expected, Accepted)]
)
def test_accepted(case: Case, process: Processing) -> None:
    expected = case.expected
    assert isinstance(expected, Accepted)
    processed = process(case.content(), key_of(case), feeds=case.feeds)
    manifest = processed.manifest
    assert (manifest.rows_in, manifest.rejected, manifest.warnings) == (
        expected.rows,
        expected.rejected,
        expected.warnings,
    )
    assert_conserved(processed)
    trips = processed.trips
    for column, values in expected.values.items():
        found = [as_written(value) for value in trips[column]]
        assert [f for f, v in zip(found, values, strict=True) if v is not ...] == [v for v in values if v is not ...], (
            column
        )
    if expected.raw is not None:
        assert list(processed.refused["raw"]) == list(expected.raw)
    if expected.numbers is not None:
        assert list(processed.refused["row_number"]) == list(expected.numbers)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in CASES if isinstance(case.expected, Refused)]
)
def test_refused(case: Case, process: Processing) -> None:
    expected = case.expected
    assert isinstance(expected, Refused)
    with pytest.raises(UploadRefused) as refusal:
        process(case.content(), key_of(case), feeds=case.feeds)
    message = str(refusal.value)
    assert (refusal.value.code, message) == (expected.code, message)
    assert [part for part in expected.parts if part not in message] == [], message
    assert "\n" not in message
    assert len(message) < 2000
    assert process.bucket.head(prefixes.processed_object(key_of(case))) is None
    assert process.bucket.head(prefixes.manifest_object(key_of(case))) is None


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)
