"""``backup`` and ``restore`` by hand."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from h3_pipeline.local.object_store import local_object_store
from h3_pipeline_tests.cli.conftest import Answer, one_error_line

Cli = Callable[..., Answer]

COUNT = "SELECT count() AS n FROM trips"


def parsed(answer: Answer) -> Any:
    """The JSON on stdout of a command that ended well."""
    assert (answer.code, answer.err) == (0, "")
    return json.loads(answer.out)


@pytest.fixture
def store(home: Path) -> Iterator[None]:
    """The object store runs throughout, instead of once a command."""
    with local_object_store(home):
        yield


@pytest.mark.usefixtures("store")
def test_backup_list_restore(cli: Cli, home: Path, tmp_path: Path) -> None:
    none = cli("backup", "--list")
    assert (none.code, "`h3-pipeline backup` takes one" in none.out) == (0, True)
    nothing = cli("restore")
    assert (nothing.code, "has no backup below backups/h3_pipeline/" in one_error_line(nothing.err)) == (1, True)

    first = parsed(cli("backup", "--json"))
    assert (first["kind"], first["tables"]["trips"]["rows"]) == ("full", 0)
    file = tmp_path / "trips.csv"
    file.write_text("started_at,origin_lat,origin_lng\n2024-03-01T08:00:00Z,50.08,14.42\n")
    assert cli("ingest", file).code == 0
    second = cli("backup")
    assert (second.code, second.err) == (0, "")
    assert f"rests on {first['name']}" in second.out
    listed = cli("backup", "--list")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == [first["name"], second.out.split(":")[0]]

    refused = cli("restore")
    assert refused.code == 1
    assert "add --overwrite" in one_error_line(refused.err)
    back = cli("restore", "--at", first["taken_at"], "--overwrite")
    assert back.code == 0
    assert "1 upload in the bucket that it does not hold in that version" in back.out
    assert "trips.csv" in back.out
    assert parsed(cli("query", COUNT, "--format", "json")) == [{"n": 0}]
    shutil.rmtree(home / "warehouse")
    answer = parsed(cli("restore", "--json"))
    assert (answer["backup"], answer["rows"]["trips"], answer["not_in_backup"]) == (second.out.split(":")[0], 1, [])
    assert parsed(cli("query", COUNT, "--format", "json")) == [{"n": 1}]


def test_mistakes_are_told_before_anything_starts(cli: Cli, home: Path) -> None:
    for arguments, said in (
        (["--at", "yesterday"], "--at: 'yesterday' is no time"),
        (["--to", "a;b"], "--to: 'a;b' is no name of a database"),
    ):
        answer = cli("restore", *arguments)
        assert answer.code == 1
        assert said in one_error_line(answer.err)
    assert not home.exists()
