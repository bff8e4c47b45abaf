"""A store that fails while an upload is processed: exact counts or a clear error, and never half of anything."""

import bz2
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from backports import zstd

from h3_pipeline.errors import PipelineError, StorageError, UploadRefused
from h3_pipeline.feeds.describe import HEAD_BYTES
from h3_pipeline.local.object_store import ObjectStoreConnection
from h3_pipeline.processing import results as results_module
from h3_pipeline.processing.engine import TaskEngine, open_task_engine
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import process_upload
from h3_pipeline.storage import named_collection, prefixes
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline_tests.adversarial.corpus import GOOD, line, text
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.servers.s3_proxy import S3FaultProxy, internal_error, s3_fault_proxy, slow_down
from h3_pipeline_tests.uploads import processing_task, put, read_clean

FIRST = text(GOOD, GOOD, GOOD).encode()
ROWS = 16_000
SECOND = text(*[line(origin_lat=f"40.{i:06}") for i in range(ROWS)]).encode()  # longer than what is read first
assert len(SECOND) > HEAD_BYTES
OF_UPLOAD = "^GET .*/uploads/"
OF_PROCESSED = "^(PUT|POST) .*/processed/.*trips.csv"
OF_MANIFEST = "^PUT .*/processed/.*manifest"
KEY = "trips.csv"


def zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trips.csv", content)
    return packed.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bz2": bz2.compress,
    "zip": zipped,
}


@dataclass(frozen=True)
class Store:
    """An object store seen through a proxy by those who process, and directly by the test."""

    proxy: S3FaultProxy
    faulty: Bucket
    direct: Bucket
    task: TaskEngine

    def process(self) -> Manifest:
        return process_upload(KEY, processing_task(self.faulty, self.task)).manifest

    def manifest(self) -> Manifest:
        document = self.direct.read_json(prefixes.manifest_object(KEY))
        assert document is not None
        return Manifest.from_json(document)

    def rows(self) -> int:
        """Rows of the clean CSV, which is whole: a cut one cannot be unpacked."""
        return len(read_clean(self.direct, prefixes.processed_object(KEY)))

    def assert_loaded(self, manifest: Manifest) -> None:
        assert (manifest.rows_in, manifest.rows_loaded, manifest.rejected) == (ROWS, ROWS, {})
        assert self.rows() == ROWS
        assert self.manifest() == manifest

    def assert_untouched(self) -> None:
        assert self.rows() == 3
        assert self.manifest().rows_in == 3


@pytest.fixture(scope="module")
def opened(
    object_store: ObjectStoreConnection, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with s3_fault_proxy(object_store.endpoint_url) as proxy:
        known = bucket.access
        access = BucketAccess(known.name, known.region, proxy.url, known.access_key, known.secret_key)
        with open_task_engine(tmp_path_factory.mktemp("home"), access) as task:
            yield Store(proxy, Bucket(access), bucket, task)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine tries twice; that it gives up, and what then holds, does not depend on how often it tried."""
    for settings in (named_collection.S3_SETTINGS, results_module._WRITE_SETTINGS):
        monkeypatch.setitem(settings, "s3_retry_attempts", 2)  # type: ignore[arg-type]


@pytest.fixture
def store(opened: Store) -> Iterator[Store]:
    """With a first version of the upload processed, and a second one in its place."""
    put(opened.direct, KEY, FIRST)
    opened.process()
    put(opened.direct, KEY, SECOND)
    opened.proxy.clear_requests()
    yield opened
    opened.proxy.clear_faults()


PASSING = {
    "two resets": Fault.reset(OF_UPLOAD, times=2),
    "two resets of the engine": Fault.reset(OF_UPLOAD, times=2, skip=1),
    "two 500": internal_error(OF_UPLOAD, times=2),
    "two 500 to the engine": internal_error(OF_UPLOAD, times=2, skip=1),
    "two 503": slow_down(OF_UPLOAD, times=2),
    "two 503 to the engine": slow_down(OF_UPLOAD, times=2, skip=1),
    "first part cut off": Fault.truncate(OF_UPLOAD, 500),
    "latency": Fault.delay(OF_UPLOAD, 0.3, times=2),
    "a HEAD of 503": slow_down("^HEAD .*/uploads/"),
    "write: 500": internal_error(OF_PROCESSED),
    "write: 503": slow_down(OF_PROCESSED),
    "write: reset": Fault.reset(OF_PROCESSED),
    "write: reset once it took effect": Fault.reset(OF_PROCESSED, after=True),
    "manifest: 500": internal_error(OF_MANIFEST),
    "manifest: reset once it took effect": Fault.reset(OF_MANIFEST, after=True),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_is_ridden_out(store: Store, fault: Fault) -> None:
    store.proxy.inject(fault)
    store.assert_loaded(store.process())
    assert store.proxy.faults() == []


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("skip", [0, 1])
def test_a_body_cut_off_once_is_read_again(store: Store, packing: str, skip: int) -> None:
    body = PACKINGS[packing](SECOND)
    put(store.direct, KEY, body)
    store.proxy.inject(Fault.truncate(OF_UPLOAD, min(len(body), 1024 * 1024) * 2 // 3, skip=skip))
    store.assert_loaded(store.process())
    assert store.proxy.faults() == []


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_body_cut_off_each_time_is_no_shorter_file(store: Store, packing: str) -> None:
    """Above all not for plain CSV, where nothing in the text tells that rows are missing."""
    put(store.direct, KEY, PACKINGS[packing](SECOND))
    store.proxy.inject(Fault.truncate(OF_UPLOAD, 5_000, times=None, skip=1))
    with pytest.raises(StorageError):
        store.process()
    store.assert_untouched()


LASTING = {
    "resets": Fault.reset(OF_UPLOAD, times=None),
    "resets of the engine": Fault.reset(OF_UPLOAD, times=None, skip=1),
    "500": internal_error(OF_UPLOAD, times=None),
    "500 to the engine": internal_error(OF_UPLOAD, times=None, skip=1),
    "503 to the engine": slow_down(OF_UPLOAD, times=None, skip=1),
    "write: 500": internal_error(OF_PROCESSED, times=None),
    "write: resets": Fault.reset(OF_PROCESSED, times=None),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
@pytest.mark.usefixtures("impatient")
def test_a_fault_that_lasts_is_an_error_and_changes_nothing(store: Store, fault: Fault) -> None:
    store.proxy.inject(fault)
    with pytest.raises(StorageError) as failure:
        store.process()
    assert "\n" not in str(failure.value)
    store.assert_untouched()
    store.proxy.clear_faults()
    store.assert_loaded(store.process())  # trying again helps


def test_a_manifest_that_cannot_be_written_is_an_error_and_both_objects_are_whole(store: Store) -> None:
    store.proxy.inject(internal_error(OF_MANIFEST, times=None))
    with pytest.raises(StorageError):
        store.process()
    assert store.manifest().rows_in == 3
    assert store.rows() == ROWS
    assert store.manifest().processed_etag != store.direct.head(prefixes.processed_object(KEY)).etag  # type: ignore[union-attr]
    store.proxy.clear_faults()
    store.assert_loaded(store.process())


MULTIPART = {
    "a part": (internal_error(r"^PUT .*trips.csv.*partNumber=", times=None), StorageError),
    "a part once": (internal_error(r"^PUT .*trips.csv.*partNumber="), None),
    "its end": (internal_error(r"^POST .*trips.csv.*uploadId=", times=None), StorageError),
    "its end once": (internal_error(r"^POST .*trips.csv.*uploadId="), None),
    "its beginning": (internal_error(r"^POST .*trips.csv\S*\?uploads", times=None), StorageError),
}


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("fault", "error"), MULTIPART.values(), ids=MULTIPART)
def test_a_multipart_write_that_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch, fault: Fault, error: type[PipelineError] | None
) -> None:
    always = {"s3_max_single_part_upload_size": 0, "s3_min_upload_part_size": 5 * 1024 * 1024}
    monkeypatch.setattr(results_module, "_WRITE_SETTINGS", {**results_module._WRITE_SETTINGS, **always})
    store.proxy.inject(fault)
    if error is None:
        store.assert_loaded(store.process())
    else:
        with pytest.raises(error):
            store.process()
        store.assert_untouched()
    assert any(seen.fault for seen in store.proxy.requests())


OTHER = text(*[line(origin_lat=f"41.{i:06}") for i in range(ROWS)]).encode()  # of the same length
SHORTER = text(*[GOOD] * 5).encode()
BROKEN = b"\0" * len(SECOND)
MOMENTS = {
    "before the engine asks": ("^HEAD .*/uploads/", 1),
    "before the engine reads": ("^GET .*/uploads/", 2),
    "after it was read": ("^HEAD .*/uploads/", 2),
}


def test_an_object_replaced_just_before_it_is_looked_at_is_loaded_as_it_is_then(store: Store) -> None:
    """Its identity and its beginning come in one answer: never the one of this version and the other of that."""
    store.proxy.before("^(GET|HEAD) .*/uploads/", lambda _: put(store.direct, KEY, SHORTER))
    manifest = store.process()
    stored = store.direct.head(prefixes.upload_object(KEY))
    assert stored is not None
    assert (manifest.upload_etag, manifest.upload_bytes, manifest.rows_in) == (stored.etag, len(SHORTER), 5)
    assert store.rows() == 5


@pytest.mark.parametrize("content", [OTHER, SHORTER, BROKEN, None], ids=["as long", "shorter", "broken", "deleted"])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_an_object_replaced_while_it_is_read(store: Store, content: bytes | None, moment: tuple[str, int]) -> None:
    def replace(_: object) -> None:
        if content is None:
            store.direct.delete(prefixes.upload_object(KEY))
        else:
            put(store.direct, KEY, content)

    pattern, nth = moment
    store.proxy.before(pattern, replace, nth=nth)
    with pytest.raises(UploadRefused) as refusal:
        store.process()
    assert refusal.value.code == "changed_while_read"
    store.assert_untouched()


@pytest.mark.parametrize("packing", ["gzip", "zstd", "bz2", "zip"])
@pytest.mark.parametrize("nth", [2, 3])
def test_a_packed_object_replaced_while_it_is_read(store: Store, packing: str, nth: int) -> None:
    put(store.direct, KEY, PACKINGS[packing](SECOND))
    store.proxy.before("^(GET|HEAD) .*/uploads/", lambda _: put(store.direct, KEY, PACKINGS[packing](OTHER)), nth=nth)
    with pytest.raises(UploadRefused) as refusal:
        store.process()
    assert refusal.value.code == "changed_while_read"
    store.assert_untouched()
