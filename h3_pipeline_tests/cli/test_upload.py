"""``upload``: everything is checked before anything is sent."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from h3_pipeline.cli.upload import plan
from h3_pipeline.errors import PipelineError
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline_tests.cli.conftest import Answer, one_error_line

Cli = Callable[..., Answer]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a b.csv"
    path.write_text("x\n")
    return path


@pytest.mark.parametrize(
    ("to", "key"),
    [("", "a b.csv"), ("taxis", "taxis/a b.csv"), ("/taxis/2026/", "taxis/2026/a b.csv"), ("é", "é/a b.csv")],
)
def test_keys(file: Path, to: str, key: str) -> None:
    (sending,) = plan([file], to)
    assert (sending.file, sending.key, sending.size) == (file, key, 2)


@pytest.mark.parametrize("to", ["..", "a/../b", "a//b", ".", "a/./b", "a\x07b", "s3:processed", "x" * 1024])
def test_keys_that_are_refused(file: Path, to: str) -> None:
    with pytest.raises(PipelineError):
        plan([file], to)


def test_the_longest_key(file: Path) -> None:
    room = 1024 - len("uploads//a b.csv")
    assert plan([file], "x" * room)
    with pytest.raises(PipelineError, match="1,025 bytes"):
        plan([file], "x" * (room + 1))


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("x\n")
    with pytest.raises(PipelineError, match="UTF-8"):
        plan([path], "")


def test_files_that_cannot_be_sent(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (("nowhere.csv", "no such file"), (".", "is a folder"), ("pipe", "not a regular file")):
        with pytest.raises(PipelineError, match=words):
            plan([file, tmp_path / path], "")


def test_two_files_of_one_name(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_text("y\n")
    with pytest.raises(PipelineError, match=r"both become uploads/t/a b\.csv") as error:
        plan([file, other], "t")
    assert str(other) in str(error.value)


def test_upload_puts_files_below_uploads(cli: Cli, home: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("xyz\n")
    answer = cli("upload", file, tmp_path / "c.csv", "--to", "taxis")
    assert (answer.code, answer.err) == (0, "")
    assert "uploads/taxis/a b.csv" in answer.out
    with bucket_access(Settings.load()) as access:
        assert Bucket(access).read("uploads/taxis/c.csv") == b"xyz\n"


def test_nothing_is_sent_if_one_file_is_wrong(cli: Cli, home: Path, file: Path) -> None:
    answer = cli("upload", file, "nowhere.csv")
    assert answer.code == 1
    assert "nowhere.csv" in one_error_line(answer.err)
    assert not home.exists()


@pytest.mark.parametrize("command", ["upload", "ingest"])
def test_a_bucket_that_cannot_be_reached(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    answer = cli(command, file)
    assert (answer.code, answer.out) == (1, "")
    message = one_error_line(answer.err)
    assert "http://127.0.0.1:1" in message
    assert "S3_ENDPOINT_URL" in message
