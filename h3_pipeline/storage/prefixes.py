"""The bucket's layout: which prefix holds what, and how an upload's key becomes other names.

An upload is known by its key below ``uploads/``. Two encodings of that key exist, both reversible:
`partition_key` for Dagster, and `object_stem` for the objects that are written about the upload
(reversible unless it is very long).
"""

import hashlib
import re
from urllib.parse import quote, unquote

UPLOADS = "uploads/"
PROCESSED = "processed/"
REJECTED = "rejected/"
EXPORTS = "exports/"
BACKUPS = "backups/"

ALL = (UPLOADS, PROCESSED, REJECTED, EXPORTS, BACKUPS)

PROCESSED_SUFFIX = ".trips.csv.zst"
REJECTED_SUFFIX = ".rejected.csv.zst"
MANIFEST_SUFFIX = ".manifest.json"
REFUSAL_SUFFIX = ".refusal.json"

# What Dagster forbids in a partition key, and the sign of the encoding itself.
_NOT_IN_PARTITION_KEY = re.compile(r"[\x00-\x1f\x7f%]|\.{3,}")
# Besides, what ClickHouse takes for a pattern, and what some object stores mangle.
_SAFE_IN_STEM = "/ !$&'()+,-.:;=@_~"
_MAX_STEM, _MAX_SEGMENT = 990, 200  # with the longest prefix, suffix and digest within 1,024 and 255
_CUT_ESCAPE = re.compile("%.?$")


EXTERNAL = "s3:"
"""Begins the key of an upload that is not below ``uploads/``: a CSV that another producer put below
``processed/``."""


def upload_object(key: str) -> str:
    """Object key of an upload."""
    return key.removeprefix(EXTERNAL) if key.startswith(EXTERNAL + PROCESSED) else UPLOADS + key


def key_of_object(object_key: str) -> str:
    """Key of the upload that an object is: the inverse of `upload_object`."""
    return object_key.removeprefix(UPLOADS) if object_key.startswith(UPLOADS) else EXTERNAL + object_key


def is_upload(object_key: str) -> bool:
    """Whether an object can be an upload: a user's file, whose key leads back to it and to no other object.

    An object that is *called* ``uploads/s3:processed/…`` would lead to one below ``processed/``.
    """
    return object_key.startswith(UPLOADS) and upload_object(key_of_object(object_key)) == object_key


def is_own_output(object_key: str) -> bool:
    """Whether this project wrote an object, going by its ending."""
    return object_key.endswith((PROCESSED_SUFFIX, REJECTED_SUFFIX, MANIFEST_SUFFIX, REFUSAL_SUFFIX))


def processed_object(key: str) -> str:
    """Object key of the clean CSV made from an upload."""
    return PROCESSED + object_stem(key) + PROCESSED_SUFFIX


def rejected_object(key: str) -> str:
    """Object key of the rows refused from an upload."""
    return REJECTED + object_stem(key) + REJECTED_SUFFIX


def manifest_object(key: str) -> str:
    """Object key of an upload's manifest."""
    return PROCESSED + object_stem(key) + MANIFEST_SUFFIX


def refusal_object(key: str) -> str:
    """Object key of the note that says why an upload was refused."""
    return REJECTED + object_stem(key) + REFUSAL_SUFFIX


def object_stem(key: str) -> str:
    """The key with everything percent-encoded that is a pattern to ClickHouse or odd in a path.

    S3 takes 1,024 bytes of key, and servers that keep files 255 between two slashes. Of what is
    longer, the end gives way to a digest of it.
    """
    encoded = quote(key, safe=_SAFE_IN_STEM)
    encoded = encoded.replace("//", "/%2F")
    if encoded.startswith("/"):
        encoded = "%2F" + encoded[1:]
    segments = ("%2E" + segment[1:] if segment in (".", "..") else segment for segment in encoded.split("/"))
    return _shortened("/".join(_shortened(segment, _MAX_SEGMENT) for segment in segments), _MAX_STEM)


def _shortened(stem: str, size: int) -> str:
    if len(stem) <= size:
        return stem
    digest = hashlib.sha256(stem.encode()).hexdigest()[:32]
    return f"{_CUT_ESCAPE.sub('', stem[: size - len(digest) - 1]).rstrip('/')}~{digest}"


def partition_key(key: str) -> str:
    """The key as a Dagster partition key; only what Dagster forbids is percent-encoded."""
    return _NOT_IN_PARTITION_KEY.sub(lambda match: "".join(f"%{ord(c):02X}" for c in match[0]), key)


def key_of_partition(partition: str) -> str:
    """The upload's key that `partition_key` encoded."""
    return unquote(partition)


def names_a_pattern(key: str) -> bool:
    """Whether ClickHouse's ``s3()`` would not read exactly this object, whatever the escaping."""
    return any(sign in key for sign in "*?{}") or "//" in key
