"""The bucket through the S3 API: listings, heads, small objects and range reads."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from ipaddress import ip_address
from itertools import islice
from os.path import commonprefix
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import boto3.session
import botocore.session
from boto3.exceptions import Boto3Error
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.utils import parse_timestamp
from s3transfer.exceptions import RetriesExceededError

from h3_pipeline.errors import StorageError

_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
_PAGE = 1000  # what S3 lists, and deletes, at once
_REQUESTS_AT_ONCE = 4

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Where the bucket is and who may use it.

    Attributes:
        name: Bucket name.
        region: AWS region.
        endpoint_url: S3 server other than AWS, else None.
        access_key: Access key of a local server; None means the usual AWS chain.
        secret_key: Its secret; never shown.
    """

    name: str
    region: str = "us-east-1"
    endpoint_url: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """URL of the bucket's root, ending in a slash."""
        if self.endpoint_url:
            return f"{self.endpoint_url.rstrip('/')}/{self.name}/"
        return f"https://{self.name}.s3.{self.region}.amazonaws.com/"

    @property
    def on_this_machine(self) -> bool:
        """Whether the S3 server listens on loopback."""
        host = urlsplit(self.endpoint_url or "").hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object's identity.

    Attributes:
        key: Whole object key.
        etag: ETag without quotes.
        size: Bytes.
        modified_at: Last modification; for a multipart upload, when it was started.
        version_id: Version id on a versioned bucket, else None.
    """

    key: str
    etag: str
    size: int
    modified_at: datetime
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """An object in a storage class that must be thawed before it can be read.

    Attributes:
        key: Whole object key.
        size: Bytes.
        storage_class: ``GLACIER`` or ``DEEP_ARCHIVE``.
        thawing: Whether its thawing has been asked for and is under way.
    """

    key: str
    size: int
    storage_class: str
    thawing: bool


class NoSuchObject(StorageError):
    """What was to be read is not there."""


class EmptyObject(StorageError):
    """What was to be read in part has no bytes."""


class Bucket:
    """One bucket.

    Every method raises `StorageError` with one clear line when the store cannot be reached or says no.
    """

    def __init__(self, access: BucketAccess) -> None:
        self.access = access
        # a session of its own: the default one keeps the credentials that it saw first
        self._client = _session().client(
            "s3",
            region_name=access.region,
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            config=Config(
                retries={"mode": "standard", "max_attempts": 4},
                connect_timeout=5,
                read_timeout=60,
                # HTTP_PROXY is for what lies outside; {} is none, None asks the environment
                proxies={} if access.on_this_machine else None,
                # S3 servers other than AWS's want the bucket in the path
                s3={"addressing_style": "path" if access.endpoint_url else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def __str__(self) -> str:
        return f"bucket {self.access.name} at {self.access.endpoint_url or 'AWS S3'}"

    def create(self) -> None:
        """Make the bucket if it does not exist. For local stores; on AWS the infrastructure makes it."""
        try:
            self._client.head_bucket(Bucket=self.access.name)
        except ClientError as error:
            if _status(error) != 404:
                raise self._error("cannot be used", error) from error
            self._call(self._client.create_bucket, "cannot be created")
        except BotoCoreError as error:
            raise self._error("cannot be reached", error) from error

    def check(self) -> None:
        """Prove that the bucket can be reached and listed."""
        self._call(self._client.list_objects_v2, "cannot be listed", MaxKeys=1)

    def list(self, prefix: str, *, after: str = "", page_size: int = _PAGE) -> Iterator[StoredObject]:
        """Every object below a prefix, in key order; folder markers are left out.

        Args:
            prefix: What the keys begin with.
            after: Only keys behind this one.
            page_size: Most objects of one answer; answers are asked for as they are needed.
        """
        options = {"StartAfter": after} if after else {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.access.name, Prefix=prefix, PaginationConfig={"PageSize": min(page_size, _PAGE)}, **options
        )
        try:
            for page in pages:
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):
                        yield StoredObject(entry["Key"], entry["ETag"].strip('"'), entry["Size"], entry["LastModified"])
        except (ClientError, BotoCoreError) as error:
            raise self._error(f"cannot be listed below {prefix}", error) from error

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders right below a prefix that ends in a slash."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.access.name, Prefix=prefix, Delimiter="/"
        )
        try:
            for page in pages:
                for entry in page.get("CommonPrefixes", ()):
                    yield entry["Prefix"].removeprefix(prefix).rstrip("/")
        except (ClientError, BotoCoreError) as error:
            raise self._error(f"cannot be listed below {prefix}", error) from error

    def archived(self, prefix: str) -> Iterator[ArchivedObject]:
        """Objects below a prefix that cannot be read before they are thawed, in key order."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.access.name, Prefix=prefix, OptionalObjectAttributes=["RestoreStatus"]
        )
        try:
            for page in pages:
                for entry in page.get("Contents", ()):
                    if archived := _archived(entry):
                        yield archived
        except (ClientError, BotoCoreError) as error:
            raise self._error(f"cannot be listed below {prefix}", error) from error

    def head(self, key: str) -> StoredObject | None:
        """One object's identity, or None where there is none."""
        try:
            answer = self._client.head_object(Bucket=self.access.name, Key=key)
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise self._error(f"cannot look at {key}", error) from error
        except BotoCoreError as error:
            raise self._error("cannot be reached", error) from error
        return _stored(key, answer, answer["ContentLength"])

    def head_all(self, keys: Iterable[str]) -> dict[str, StoredObject]:
        """Identities of those of many objects that are there, by key; of most, without the version id.

        One listing shows those that lie close together. Only what it does not show is asked for one by one.
        """
        wanted = set(keys)
        found: dict[str, StoredObject] = {}
        if len(wanted) > 1:
            entries = 2 * len(wanted)
            beginning = commonprefix([*wanted])  # noqa: RUF071 - a key is a text, not a path
            near = self.list(beginning, after=min(wanted)[:-1], page_size=entries)
            found = {stored.key: stored for stored in islice(near, entries) if stored.key in wanted}
        others = at_once(self.head, wanted - found.keys())
        return found | {stored.key: stored for stored in others if stored}

    def beginning(self, key: str, length: int) -> tuple[StoredObject, bytes] | None:
        """An object's identity and at most its first `length` bytes, of the same version; None where there is none."""
        try:
            answer, body = self._get(key, {"Range": f"bytes=0-{length - 1}"})
        except NoSuchObject:
            return None
        except EmptyObject:
            stored = self.head(key)
            return stored and (stored, b"")
        return _stored(key, answer, int(answer["ContentRange"].rpartition("/")[2])), body

    def read(self, key: str, *, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        """Bytes of an object.

        Args:
            key: Object key.
            start: First byte.
            length: At most so many bytes; None reads to the end.
            etag: The version that must still be there.
        """
        if length == 0:
            return b""
        end = "" if length is None else str(start + length - 1)
        options: dict[str, Any] = {"Range": f"bytes={start}-{end}"} if start or length is not None else {}
        if etag:
            options["IfMatch"] = f'"{etag}"'
        return self._get(key, options)[1]

    def _get(self, key: str, options: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        """The answer to a request for an object, and its body."""
        for last in (False, False, True):
            answer = self._call(self._client.get_object, f"cannot read {key}", Key=key, **options)
            try:
                return answer, answer["Body"].read()
            except (BotoCoreError, OSError) as error:  # the client tries again only up to the answer's head
                if last:
                    raise self._error(f"broke off while reading {key}", error) from error
        raise AssertionError("the last attempt returns or raises")

    def download(self, key: str, target: IO[bytes]) -> None:
        """Copy an object into an open file, with bounded memory."""
        try:
            self._call(self._client.download_fileobj, f"cannot read {key}", Key=key, Fileobj=target)
        except RetriesExceededError as error:
            raise self._error(f"broke off while reading {key}", error.last_exception) from error

    def sha256(self, key: str) -> str:
        """Digest of an object's bytes, with bounded memory."""
        digest = hashlib.sha256()
        answer = self._call(self._client.get_object, f"cannot read {key}", Key=key)
        try:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                digest.update(chunk)
        except (BotoCoreError, OSError) as error:
            raise self._error(f"broke off while reading {key}", error) from error
        return digest.hexdigest()

    def upload(self, file: Path, key: str, callback: Any = None, *, content_type: str | None = None) -> None:
        """Copy a file into the bucket, with bounded memory.

        Args:
            file: The file.
            key: Object key.
            callback: Told the number of bytes sent since the last call.
            content_type: Its media type, for browsers.
        """
        extra = {"ContentType": content_type} if content_type else None
        try:
            self._client.upload_file(str(file), self.access.name, key, ExtraArgs=extra, Callback=callback)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise self._error(f"cannot take {file.name} as {key}", error) from error

    def write(self, key: str, body: bytes, content_type: str) -> None:
        """Put a small object."""
        self._call(self._client.put_object, f"cannot write {key}", Key=key, Body=body, ContentType=content_type)

    def write_json(self, key: str, document: Mapping[str, Any]) -> None:
        """Put a JSON object, readable by people."""
        body = json.dumps(document, indent=2, ensure_ascii=False, default=str).encode()
        self.write(key, body, "application/json")

    def read_json(self, key: str) -> dict[str, Any] | None:
        """A JSON object, or None where there is none."""
        try:
            return json.loads(self.read(key))
        except NoSuchObject:
            return None

    def delete(self, key: str) -> None:
        """Remove an object; it is no error if there is none."""
        self._call(self._client.delete_object, f"cannot delete {key}", Key=key)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove objects, a thousand at a time; it is no error if there is none."""
        left = iter(keys)
        while batch := list(islice(left, _PAGE)):
            answer = self._call(
                self._client.delete_objects,
                "cannot delete objects",
                Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True},
            )
            for failed in answer.get("Errors", ()):
                raise StorageError(f"{self} cannot delete {failed.get('Key')}: {failed.get('Message')}")

    def _call(self, operation: Any, failure: str, **arguments: Any) -> Any:
        try:
            return operation(Bucket=self.access.name, **arguments)
        except self._client.exceptions.NoSuchKey as error:
            raise NoSuchObject(str(self._error(failure, error))) from error
        except ClientError as error:
            if _status(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise EmptyObject(str(self._error(failure, error))) from error
            raise self._error(failure, error) from error
        except BotoCoreError as error:
            raise self._error(failure, error) from error

    def _error(self, failure: str, error: Exception) -> StorageError:
        hint = "Check S3_BUCKET, S3_ENDPOINT_URL and the credentials."
        return StorageError(f"{self} {failure}: {' '.join(str(error).split())} {hint}")


_descriptions = Loader(include_default_search_paths=True)
"""What boto3 knows of AWS's services, read once: it takes longer than all else that a session does."""


def _session() -> boto3.session.Session:
    """A session that reads times in a listing without guessing at their format: three quarters of a listing's time."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _descriptions)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    return boto3.session.Session(botocore_session=session)


def _timestamp(value: Any) -> datetime:
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return parse_timestamp(value)
    return parsed if parsed.tzinfo else parse_timestamp(value)


def _archived(entry: Mapping[str, Any]) -> ArchivedObject | None:
    """An entry of a listing, if it is archived and no thawed copy of it is there."""
    storage_class = entry.get("StorageClass", "")
    status = entry.get("RestoreStatus", {})
    thawing = bool(status.get("IsRestoreInProgress"))
    if storage_class not in _ARCHIVES or (status.get("RestoreExpiryDate") and not thawing):
        return None
    return ArchivedObject(entry["Key"], entry["Size"], storage_class, thawing)


def _stored(key: str, answer: Mapping[str, Any], size: int) -> StoredObject:
    """The object of a client's answer."""
    return StoredObject(key, answer["ETag"].strip('"'), size, answer["LastModified"], answer.get("VersionId"))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def at_once(ask: Callable[[A], T], about: Iterable[A]) -> list[T]:
    """Ask a bucket of many things, several at a time: most of the time of a small request is waiting.

    Args:
        ask: Asks of one thing.
        about: The things.

    Returns:
        The answers, in order.
    """
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as asking:
        # what is being done, which traces tell, goes along
        asked = [asking.submit(copy_context().run, ask, thing) for thing in about]
        return [answer.result() for answer in asked]
