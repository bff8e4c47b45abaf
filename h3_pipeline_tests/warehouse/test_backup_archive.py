"""A backup whose objects went to an archive: one message says what to thaw, and how."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.warehouse.backup_catalog import BackupCatalog, BackupName
from h3_pipeline.warehouse.backup_restore import BackupArchived, refuse_archived

FULL = BackupName(datetime(2026, 3, 1, 2, 30, tzinfo=UTC))
INCREMENTAL = BackupName(FULL.taken_at + timedelta(days=1), FULL.taken_at)


@pytest.fixture(scope="module")
def aws() -> Iterator[Bucket]:
    """A bucket on a server that knows storage classes."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        bucket = Bucket(BucketAccess("trips-archive", "us-east-1", f"http://{host}:{port}", "key", "secret"))
        bucket.create()
        yield bucket
    finally:
        server.stop()


@pytest.fixture(scope="module")
def catalog(aws: Bucket) -> BackupCatalog:
    """A full backup, one part of which lies in the archive, and an incremental one on it, which does not."""
    catalog = BackupCatalog(aws, "h3_pipeline")
    classes = {
        f"{catalog.data(FULL)}data/one": "GLACIER",
        f"{catalog.data(FULL)}data/two": "DEEP_ARCHIVE",
        f"{catalog.data(FULL)}data/at-once": "GLACIER_IR",
        f"{catalog.data(FULL)}.backup": "STANDARD",
        f"{catalog.data(INCREMENTAL)}data/three": "STANDARD",
    }
    for key, storage_class in classes.items():
        aws._client.put_object(Bucket=aws.access.name, Key=key, Body=b"12345", StorageClass=storage_class)
    return catalog


def test_the_message_lists_what_to_thaw_and_how(catalog: BackupCatalog) -> None:
    for name in (FULL, INCREMENTAL):  # the one rests on the other
        with pytest.raises(BackupArchived) as refusal:
            refuse_archived(catalog, name)
        message = str(refusal.value)
        assert "\n" not in message
        assert f"Backup {name} cannot be read yet: 2 objects of 10 bytes" in message
        assert "DEEP_ARCHIVE and GLACIER" in message
        assert f"below {catalog.folder(FULL)}." in message
        assert catalog.folder(INCREMENTAL) not in message
        assert f"--bucket trips-archive --prefix {catalog.folder(FULL)} " in message
        assert f"--endpoint-url {catalog.bucket.access.endpoint_url}" in message
        assert "restore-object" in message


def test_where_nothing_is_archived_nothing_is_said(aws: Bucket) -> None:
    refuse_archived(BackupCatalog(aws, "another"), FULL)


def listed(key: str, **status: Any) -> dict[str, Any]:
    more = {"RestoreStatus": status} if status else {}
    return {"Key": key, "Size": 5, "StorageClass": "GLACIER", **more}


def test_what_is_thawed_counts_no_more_and_what_is_under_way_is_told() -> None:
    """As S3 documents its listings; the test server does not tell the state of a thawing."""
    catalog = BackupCatalog(Bucket(BucketAccess("trips-archive", access_key="key", secret_key="secret")), "h3_pipeline")
    thawed = listed("thawed", IsRestoreInProgress=False, RestoreExpiryDate=datetime(2026, 4, 1, tzinfo=UTC))
    under_way = listed(f"{catalog.data(FULL)}data/under-way", IsRestoreInProgress=True)
    frozen = listed(f"{catalog.data(FULL)}data/frozen")
    for contents, said in (
        ([thawed, under_way, frozen], "2 objects of 10 bytes.*(1 are being thawed already).*Thaw them"),
        ([thawed, under_way], "1 objects of 5 bytes.*All of them are being thawed; try again"),
        ([thawed], None),
    ):
        with Stubber(catalog.bucket._client) as stub:
            stub.add_response(
                "list_objects_v2",
                {"Contents": contents, "IsTruncated": False},
                {
                    "Bucket": "trips-archive",
                    "Prefix": catalog.folder(FULL),
                    "OptionalObjectAttributes": ["RestoreStatus"],
                },
            )
            if said is None:
                refuse_archived(catalog, FULL)
            else:
                with pytest.raises(BackupArchived, match=said):
                    refuse_archived(catalog, FULL)
