"""Versions in the bucket and on disk: found without guessing, never half-way, old ones removed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from h3_pipeline.exports import publication
from h3_pipeline.exports.local_copy import keep_copy, local_folder
from h3_pipeline.exports.publication import ExportFile, ExportManifest, Place, latest, new_version, prune, publish
from h3_pipeline.storage.bucket import Bucket

BEGAN = datetime(2024, 3, 1, 5, tzinfo=UTC)


def write(bucket: Bucket, place: Place, at: datetime, *, whole: bool = True) -> str:
    """A version with one file; its name."""
    version = new_version(at)
    key = place.key(version, "q.csv")
    bucket.write(key, b"a\n1\n", "text/csv")
    if whole:
        publish(bucket, place, manifest(version, key))
    return version


def manifest(version: str, key: str) -> ExportManifest:
    return ExportManifest(
        name="q", title="Q", version=version, created_at="", partition=None, query="", parameters={}, rows=1,
        columns=[], checksum="", files=[ExportFile("csv", key, 4, "")], sources={}, code_version="",
    )  # fmt: skip


def versions(bucket: Bucket, place: Place) -> set[str]:
    keys = {stored.key.removeprefix(place.prefix).split("/")[0] for stored in bucket.list(place.prefix)}
    return {key for key in keys if "T" in key and "=" not in key}


def test_latest_names_files_that_are_there(bucket: Bucket) -> None:
    place = Place("named", "2024-03-01")
    assert latest(bucket, place) is None
    write(bucket, place, BEGAN)
    second = write(bucket, place, BEGAN + timedelta(hours=1))
    document = bucket.read_json("exports/named/partition=2024-03-01/latest.json")
    assert document is not None
    assert document["version"] == second
    assert bucket.read(document["files"]["csv"]) == b"a\n1\n"
    assert document["manifest"] == f"exports/named/partition=2024-03-01/{second}/manifest.json"
    found = latest(bucket, place)
    assert found is not None
    assert (found.version, found.files[0].format) == (second, "csv")


def test_a_version_that_is_being_written_is_not_the_latest(bucket: Bucket) -> None:
    place = Place("unfinished")
    whole = write(bucket, place, BEGAN)
    write(bucket, place, BEGAN + timedelta(hours=1), whole=False)
    found = latest(bucket, place)
    assert found is not None
    assert found.version == whole


def test_one_that_began_earlier_does_not_put_a_later_one_aside(bucket: Bucket) -> None:
    place = Place("overtaken")
    later = write(bucket, place, BEGAN + timedelta(hours=1))
    earlier = new_version(BEGAN)
    assert not publish(bucket, place, manifest(earlier, place.key(earlier, "q.csv")))
    found = latest(bucket, place)
    assert found is not None
    assert found.version == later


def test_old_versions_go(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    place, other = Place("pruned"), Place("pruned", "2024-03-01")
    names = [write(bucket, place, BEGAN + timedelta(hours=hour)) for hour in range(5)]
    unfinished = write(bucket, place, BEGAN, whole=False)
    kept = write(bucket, other, BEGAN)
    assert prune(bucket, place, 2) == names[:3]
    assert versions(bucket, place) == {*names[3:], unfinished}
    assert versions(bucket, other) == {kept}
    monkeypatch.setattr(publication, "ABANDONED_AFTER", timedelta(0))
    assert prune(bucket, place, 2) == [unfinished]
    assert prune(bucket, place, 2) == []


def test_what_latest_names_stays(bucket: Bucket) -> None:
    place = Place("pinned")
    names = [write(bucket, place, BEGAN + timedelta(hours=hour)) for hour in range(3)]
    # as after a restore of the bucket
    publish_old = manifest(names[0], place.key(names[0], "q.csv"))
    bucket.delete(place.latest_key)
    publish(bucket, place, publish_old)
    assert prune(bucket, place, 1) == [names[1]]
    assert versions(bucket, place) == {names[0], names[2]}


def test_copies_on_disk(tmp_path: Path) -> None:
    place = Place("q", "2024-03-01")
    folders = []
    for hour in range(3):
        file = tmp_path / "q.csv"
        file.write_text(str(hour))
        folders.append(keep_copy(tmp_path, place, new_version(BEGAN + timedelta(hours=hour)), [file], keep=2))
    assert set(folders) == {local_folder(tmp_path, place)}
    assert (folders[0] / "q.csv").read_text() == "2"
    assert folders[0].is_symlink()
    assert len([path for path in folders[0].parent.iterdir() if not path.is_symlink()]) == 2
    assert not [path for path in folders[0].parent.iterdir() if path.name.startswith(".")]
