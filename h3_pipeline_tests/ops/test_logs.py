"""What the webserver says by itself, such as an alert: with time and level, as Dagster says it, or as JSON."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from h3_pipeline.ops.logs import log_to_stderr
from h3_pipeline.settings import Settings


@pytest.fixture(autouse=True)
def unset_logger() -> Iterator[None]:
    """The project's logger as it is at the start of a process."""
    logger = logging.getLogger("h3_pipeline")
    before, logger.handlers = logger.handlers, []
    yield
    logger.handlers = before


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # however often it is wanted, each record is written once
        log_to_stderr(Settings.load(h3_log_format="text"))
    logging.getLogger("h3_pipeline.ops.alerts").error("h3_pipeline: 1 daemon is silent\n  - more of it")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - h3_pipeline.ops.alerts - ERROR - h3_pipeline: 1 daemon is silent",
        first,
    )
    assert second == "  - more of it"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(Settings.load(h3_log_format="json"))
    logging.getLogger("h3_pipeline.ops.alerts").error("one\ntwo")
    [line] = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == ("error", "h3_pipeline.ops.alerts", "one\ntwo")
