"""A bucket that has any number of objects and can only be listed, page by page, as S3 does.

A real store takes minutes to be given a hundred thousand objects; the client's side is real here:
HTTP, continuation tokens, XML, keys encoded as in a URL.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, unquote, urlsplit

from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline_tests.servers.http_base import LoopbackServer, serving

NAME = "listing"
PAGE = 1000


@dataclass
class Listing:
    """The objects, in the order of their keys' bytes.

    Attributes:
        bucket: A client of it.
        pages: How many pages were asked for.
    """

    bucket: Bucket
    pages: int = 0
    _keys: list[bytes] = field(default_factory=list)
    _entries: dict[bytes, str] = field(default_factory=dict)

    def put(self, key: str, etag: str = "e", modified_at: str = "2024-06-01T12:00:00.000Z", size: int = 100) -> None:
        """Add or replace an object."""
        name = key.encode()
        if name not in self._entries:
            insort(self._keys, name)
        self._entries[name] = (
            f"<Contents><Key>{quote(key)}</Key><LastModified>{modified_at}</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        )

    def fill(self, keys: Sequence[str]) -> None:
        """Put many objects at once."""
        for key in keys:
            self._entries[key.encode()] = (
                f"<Contents><Key>{quote(key)}</Key><LastModified>2024-06-01T12:00:00.000Z</LastModified>"
                "<ETag>&quot;e&quot;</ETag><Size>100</Size></Contents>"
            )
        self._keys = sorted(self._entries)

    def delete(self, key: str) -> None:
        """Remove an object."""
        del self._entries[key.encode()]
        self._keys.remove(key.encode())

    def page(self, prefix: str, after: str) -> str:
        """The answer to one request."""
        self.pages += 1
        start = bisect_right(self._keys, after.encode()) if after else 0
        keys = [key for key in self._keys[start : start + PAGE] if key.startswith(prefix.encode())]
        more = bool(keys) and start + PAGE < len(self._keys)
        token = f"<NextContinuationToken>{quote(keys[-1].decode())}</NextContinuationToken>" if more else ""
        contents = "".join(self._entries[key] for key in keys)
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{NAME}</Name><Prefix>{quote(prefix)}</Prefix><KeyCount>{len(keys)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        )


@contextmanager
def s3_listing() -> Iterator[Listing]:
    """Serve an empty bucket."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay silent."""

        def do_GET(self) -> None:
            """Answer ListObjectsV2."""
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            token = query.get("continuation-token")  # opaque: the client does not decode it
            after = unquote(token) if token else query.get("start-after", "")
            body = listing.page(query.get("prefix", ""), after).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = LoopbackServer(Handler)
    access = BucketAccess(NAME, endpoint_url=f"http://127.0.0.1:{server.server_port}", access_key="a", secret_key="s")
    listing = Listing(Bucket(access))
    with serving(server):
        yield listing
