"""Refused rows are given back as they came, formulas and all; see docs/data-contract.md for why."""

import pytest

from h3_pipeline_tests.uploads import Processing


@pytest.mark.parametrize("field", ['=HYPERLINK("http://127.0.0.1:1/")', "@SUM(1)", "+1-1", "\t=1"])
def test_raw_is_verbatim(process: Processing, field: str) -> None:
    quoted = field.replace('"', '""')
    good = "2024-01-01T00:00:00Z,50,14,x\n"
    processed = process(f'started_at,origin_lat,origin_lng,datasource\n{good}never,50,14,"{quoted}"\n')
    [raw] = processed.refused["raw"]
    assert raw.startswith("never,50,14,")
    assert raw.removeprefix("never,50,14,").strip('"').replace('""', '"') == field
