"""``ingest``, ``status`` and ``retract`` on files that the real program loaded."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from h3_pipeline.cli.ingest import show_report
from h3_pipeline.ingestion import IngestReport, UploadOutcome
from h3_pipeline.local import object_store
from h3_pipeline_tests.cli.conftest import TRIPS, Answer, one_error_line

Cli = Callable[..., Answer]
Ingested = tuple[Path, subprocess.CompletedProcess[str]]

GOOD, STRANGE = "trips/good.csv", "trips/strange.csv"


def test_json_is_the_object_of_the_contract(ingested: Ingested) -> None:
    _, answer = ingested
    document = json.loads(answer.stdout)
    assert answer.returncode == 2
    assert set(document) == {"uploads", "run_id", "seconds"}
    good, strange = document["uploads"]
    counts = ["rows_in", "rows_loaded", "rows_rejected", "rejected", "warnings"]
    fields = ["upload", "status", "feed", *counts, "error", "seconds"]
    assert list(good) == list(strange) == fields
    assert {name: good[name] for name in fields[:9]} == {
        "upload": GOOD,
        "status": "loaded",
        "feed": "ancestral",
        "rows_in": 4,
        "rows_loaded": 3,
        "rows_rejected": 1,
        "rejected": {"origin_null_island": 1},
        "warnings": {"timezone_assumed_utc": 3},
        "error": None,
    }
    assert (strange["upload"], strange["status"], strange["rows_loaded"]) == (STRANGE, "refused", 0)
    assert "'a', 'b'" in strange["error"]


def test_an_unknown_header_is_one_line_with_a_feed_to_paste(ingested: Ingested) -> None:
    message = one_error_line(ingested[1].stderr)
    assert message.startswith(f"{STRANGE} refused: ")
    assert "H3_PIPELINE_FEEDS" in message
    assert "feeds: [{" in message


def test_nothing_keeps_running(ingested: Ingested) -> None:
    assert object_store.running(ingested[0]) is None


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    good = UploadOutcome("a.csv", "loaded", "generic", 1010, 1000, 10, {"x": 3, "y": 7}, {"z": 1000}, None, 1.25)
    bad = UploadOutcome("b.csv", "refused", error="no")
    show_report(IngestReport([good, bad], "run", 2.0))
    assert capsys.readouterr().out == (
        "upload           feed     rows in  loaded  rejected  warned  seconds\n"
        "a.csv            generic    1,010   1,000        10              1.2\n"
        "  y                                               7\n"
        "  x                                               3\n"
        "  z                                                   1,000\n"
        "b.csv (refused)                         0         0              0.0\n"
        "all                         1,010   1,000        10              2.0\n"
    )


def test_a_file_that_is_not_there(cli: Cli, home: Path) -> None:
    answer = cli("ingest", "nowhere.csv", "--json")
    assert (answer.code, answer.out) == (1, "")
    assert one_error_line(answer.err) == "nowhere.csv: no such file"


def test_a_feeds_file_with_a_fault_is_an_error_of_the_command(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.csv").write_text(TRIPS)
    (tmp_path / "feeds.yaml").write_text("feeds:\n  - name: x\n    timezon: UTC\n")
    monkeypatch.setenv("H3_PIPELINE_FEEDS", str(tmp_path / "feeds.yaml"))
    answer = cli("ingest", tmp_path / "good.csv")
    assert answer.code == 1
    assert "feeds.yaml:3: feeds[0].timezon" in one_error_line(answer.err)


def test_status_of_an_empty_home_says_how_to_begin(cli: Cli, home: Path) -> None:
    answer = cli("status")
    assert (answer.code, answer.err) == (0, "")
    assert "h3-pipeline demo" in answer.out
    assert not home.exists()
    assert json.loads(cli("status", "--json").out)["uploads"] == []


def test_status_shows_uploads_and_tables(cli: Cli, loaded: Path) -> None:
    answer = cli("status")
    lines = [line.split() for line in answer.out.splitlines()]
    good = next(line for line in lines if line and line[0] == GOOD)
    assert good[1] == "loaded"
    assert good[4:] == ["4", "3", "1", "2018-05..06"]
    assert next(line for line in lines if line and line[0] == STRANGE)[1] == "refused"
    assert next(line for line in lines if line and line[0] == "trips")[1] == "3"
    assert "h3-pipeline dev" in answer.out


def test_status_as_json(cli: Cli, loaded: Path) -> None:
    document = json.loads(cli("status", "--json").out)
    good, strange = document["uploads"]
    assert (good["upload"], good["event"], good["rows_in_tables"]) == (GOOD, "loaded", 3)
    assert good["months"] == ["2018-05", "2018-06"]
    assert (strange["upload"], strange["event"], strange["rows_in_tables"]) == (STRANGE, "refused", 0)
    assert strange["error"].startswith("unknown_header")
    tables = {table["name"]: table for table in document["tables"]}
    assert tables["trips"]["rows"] == 3
    assert tables["cell_hourly"]["bytes"] > 0
    assert document["bucket_runs"] is False
    assert document["ui"] is None


@pytest.fixture
def copied(ingested: Ingested, home: Path) -> Path:
    """A copy of the shared home, to be changed."""
    shutil.copytree(ingested[0] / "warehouse", home / "warehouse", symlinks=True)
    return home


@pytest.mark.parametrize("key", [GOOD, f"uploads/{GOOD}"])
def test_retract_takes_the_rows_out(cli: Cli, copied: Path, key: str) -> None:
    answer = cli("retract", key)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{GOOD}: 3 rows")
    assert cli("query", "SELECT count() FROM trips", "--format", "csv").out.splitlines()[1] == "0"
    assert json.loads(cli("status", "--json").out)["uploads"][0]["event"] == "retracted"


def test_retract_of_an_unknown_key_takes_nothing_out(cli: Cli, loaded: Path) -> None:
    answer = cli("retract", GOOD, "nobody.csv")
    assert answer.code == 1
    assert "nobody.csv" in one_error_line(answer.err)
    assert cli("query", "SELECT count() FROM trips", "--format", "csv").out.splitlines()[1] == "3"
