"""The bucket over the S3 API, on a real server."""

import hashlib
import io
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from h3_pipeline.errors import StorageError
from h3_pipeline.storage.bucket import Bucket, BucketAccess


def put(bucket: Bucket, key: str, body: bytes) -> None:
    bucket.write(key, body, "application/octet-stream")


def one_line(error: pytest.ExceptionInfo[StorageError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


class TestObjects:
    def test_what_was_written_is_read(self, bucket: Bucket) -> None:
        body = bytes(range(256)) * 10
        put(bucket, "x/bytes", body)
        assert bucket.read("x/bytes") == body
        assert bucket.read("x/bytes", start=250, length=12) == body[250:262]
        assert bucket.read("x/bytes", start=2550) == body[2550:]
        assert bucket.read("x/bytes", length=10**9) == body
        assert bucket.read("x/bytes", length=0) == b""
        target = io.BytesIO()
        bucket.download("x/bytes", target)
        assert target.getvalue() == body

    def test_identity(self, bucket: Bucket) -> None:
        put(bucket, "x/identity", b"12345")
        stored = bucket.head("x/identity")
        assert stored is not None
        assert (stored.key, stored.size, stored.etag) == ("x/identity", 5, hashlib.md5(b"12345").hexdigest())
        assert abs(stored.modified_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert next(bucket.list("x/identity")) == stored
        assert bucket.head("x/nothing") is None
        put(bucket, "x/identity", b"54321")
        later = bucket.head("x/identity")
        assert later is not None
        assert later.etag != stored.etag

    def test_identities_of_many(self, bucket: Bucket) -> None:
        keys = [f"x/many/{number}.csv" for number in range(3)] + ["x/ä far away/1+ %.csv", "x/other"]
        for key in keys:
            put(bucket, key, key.encode())
        put(bucket, "x/many/1.csv.more", b"between")
        found = bucket.head_all([*keys, "x/many/nothing.csv", "x/nothing"])
        assert found == {key: bucket.head(key) for key in keys}
        assert bucket.head_all(["x/other"]) == {"x/other": bucket.head("x/other")}
        assert bucket.head_all(["x/nothing"]) == bucket.head_all([]) == {}

    def test_those_that_lie_together_take_one_request(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        keys = [f"x/side by side/{number:03}.csv" for number in range(20)]
        for key in keys:
            put(bucket, key, b"1")
        monkeypatch.setattr(bucket, "head", None)
        assert list(bucket.head_all(keys)) == keys

    def test_the_beginning(self, bucket: Bucket) -> None:
        put(bucket, "x/beginning", b"12345")
        stored = bucket.head("x/beginning")
        assert bucket.beginning("x/beginning", 3) == (stored, b"123")
        assert bucket.beginning("x/beginning", 99) == (stored, b"12345")
        put(bucket, "x/beginning", b"")
        assert bucket.beginning("x/beginning", 99) == (bucket.head("x/beginning"), b"")
        assert bucket.beginning("x/no beginning", 99) is None

    def test_a_version_that_is_no_longer_there_is_not_read(self, bucket: Bucket) -> None:
        put(bucket, "x/version", b"one")
        stored = bucket.head("x/version")
        assert stored is not None
        assert bucket.read("x/version", etag=stored.etag) == b"one"
        put(bucket, "x/version", b"two")
        with pytest.raises(StorageError) as caught:
            bucket.read("x/version", etag=stored.etag)
        assert "x/version" in one_line(caught)

    def test_json(self, bucket: Bucket) -> None:
        document = {"key": "ä b", "rows": 3, "nothing": None, "list": [1, 2.5]}
        bucket.write_json("x/json", document)
        assert bucket.read_json("x/json") == document
        assert "ä b".encode() in bucket.read("x/json")
        assert bucket.read_json("x/no json") is None

    def test_deleting_twice_is_no_error(self, bucket: Bucket) -> None:
        put(bucket, "x/gone", b"1")
        bucket.delete("x/gone")
        bucket.delete("x/gone")
        assert bucket.head("x/gone") is None

    def test_a_large_file_is_sent_whole_and_its_progress_told(self, bucket: Bucket, tmp_path: Path) -> None:
        body = random.Random(1).randbytes(20 * 1024 * 1024 + 7)
        file = tmp_path / "large"
        file.write_bytes(body)
        sent: list[int] = []
        bucket.upload(file, "x/large", sent.append)
        assert sum(sent) == len(body)
        target = io.BytesIO()
        bucket.download("x/large", target)
        assert target.getvalue() == body
        stored = bucket.head("x/large")
        assert stored is not None
        assert stored.size == len(body)


class TestListing:
    def test_below_a_prefix_in_order_without_folder_markers(self, new_bucket: Callable[[], Bucket]) -> None:
        bucket = new_bucket()
        keys = ["uploads/b.csv", "uploads/a b,c.csv", "uploads/x/é+%.csv", "uploads/a.csv", "processed/p.csv"]
        for key in keys:
            put(bucket, key, b"1")
        bucket.write("uploads/empty/", b"", "application/x-directory")
        assert [stored.key for stored in bucket.list("uploads/")] == sorted(keys[:4])
        assert list(bucket.list("exports/")) == []

    @pytest.mark.slow
    def test_more_than_a_page(self, new_bucket: Callable[[], Bucket]) -> None:
        bucket = new_bucket()
        keys = [f"uploads/{number:05d}.csv" for number in range(1100)]
        for key in keys:
            put(bucket, key, b"1")
        assert [stored.key for stored in bucket.list("uploads/")] == keys


class TestFaults:
    def test_creating_twice_is_no_error(self, bucket: Bucket) -> None:
        bucket.create()
        bucket.check()

    def test_no_such_bucket(self, bucket: Bucket) -> None:
        absent = Bucket(replace(bucket.access, name="no-such-bucket"))
        for operation in (absent.check, lambda: list(absent.list("uploads/")), lambda: absent.read("uploads/a.csv")):
            with pytest.raises(StorageError) as caught:
                operation()
            message = one_line(caught)
            assert "no-such-bucket" in message
            assert "S3_BUCKET" in message

    def test_wrong_credentials(self, bucket: Bucket) -> None:
        stranger = Bucket(replace(bucket.access, access_key="who", secret_key="it-is-a-secret"))
        for operation in (stranger.check, lambda: stranger.head("x"), lambda: put(stranger, "x", b"1")):
            with pytest.raises(StorageError) as caught:
                operation()
            assert "it-is-a-secret" not in one_line(caught)

    def test_no_server(self) -> None:
        access = BucketAccess("trips", endpoint_url="http://127.0.0.1:9", access_key="a", secret_key="it-is-a-secret")
        nowhere = Bucket(access)
        for operation in (nowhere.check, nowhere.create, lambda: nowhere.head("x"), lambda: list(nowhere.list("x"))):
            with pytest.raises(StorageError, match="S3_ENDPOINT_URL") as caught:
                operation()
            message = one_line(caught)
            assert "http://127.0.0.1:9" in message
            assert "it-is-a-secret" not in message
        assert "it-is-a-secret" not in f"{access!r} {nowhere}"

    def test_the_url_is_that_of_the_server_or_of_aws(self) -> None:
        assert BucketAccess("trips", "eu-west-1").url == "https://trips.s3.eu-west-1.amazonaws.com/"
        assert BucketAccess("trips", endpoint_url="http://127.0.0.1:9/").url == "http://127.0.0.1:9/trips/"
