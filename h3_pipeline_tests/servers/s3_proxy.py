"""A reverse proxy in front of an S3 endpoint that injects faults and records what passes.

The proxy hands every byte of a request on as the client sent it, the Host header included: AWS signatures cover that
header, so the endpoint verifies the signature that the client made for the proxy's address.

In a test::

    with s3_fault_proxy("http://127.0.0.1:8333") as proxy:
        s3 = boto3.client("s3", endpoint_url=proxy.url)
        proxy.inject(slow_down(r"^PUT .*/processed/", times=2))
        proxy.before(r"^GET .*/uploads/a.csv", replace_the_object, nth=2)
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from h3_pipeline_tests.servers.faults import Fault, FaultPlan, matches
from h3_pipeline_tests.servers.http_base import PIECE_BYTES, ClientGone, Handler, LoopbackServer, ResponseCut, serving

_UPSTREAM_SECONDS = 60
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class SeenRequest:
    """One request that reached the proxy.

    Attributes:
        method: Its method.
        path: ``/bucket/key``, percent-decoded.
        query: The query string as sent.
        headers: Its headers; names in lower case.
        status: Status of the response; 0 as long as there is none, and if the client got none.
        request_bytes: Size of the request's body.
        response_bytes: Size of the response's body as far as it was sent.
        fault: What was done to it; empty for nothing.
        forwarded: Whether the endpoint saw it.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    fault: str = ""
    forwarded: bool = False

    @property
    def subject(self) -> str:
        """What patterns are searched in: ``METHOD /bucket/key?query``."""
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")


@dataclass
class _Hook:
    pattern: str
    callback: Callable[[SeenRequest], None]
    left: int


class S3FaultProxy:
    """A running proxy; its methods may be called from any thread.

    Attributes:
        url: The endpoint URL to give to S3 clients, such as ``http://127.0.0.1:54321``.
        upstream_url: The endpoint behind it.
    """

    def __init__(self, url: str, upstream_url: str) -> None:
        self.url = url
        self.upstream_url = upstream_url
        self._plan = FaultPlan()
        self._lock = threading.Lock()
        self._seen: list[SeenRequest] = []
        self._hooks: list[_Hook] = []
        self._hook_errors: list[Exception] = []

    def inject(self, *faults: Fault) -> None:
        """Make faults due for the next requests whose ``METHOD /bucket/key?query`` matches."""
        self._plan.add(*faults)

    def faults(self) -> list[Fault]:
        """The faults that have not (all) happened yet."""
        return self._plan.due()

    def clear_faults(self) -> None:
        """Forget the faults that are still due, and the callbacks."""
        self._plan.clear()
        with self._lock:
            self._hooks.clear()

    def before(self, pattern: str, callback: Callable[[SeenRequest], None], *, nth: int = 1) -> None:
        """Call back once, just before the nth matching request is forwarded, for example to replace its object.

        What the callback raises is raised again when the proxy's context ends.
        """
        with self._lock:
            self._hooks.append(_Hook(pattern, callback, nth))

    def requests(self, pattern: str = "") -> list[SeenRequest]:
        """The requests seen so far whose subject matches, oldest first."""
        with self._lock:
            return [seen for seen in self._seen if matches(pattern, seen.subject)]

    def count(self, pattern: str = "", *, forwarded: bool | None = None) -> int:
        """How many requests matched; only the forwarded ones, or only the others, if that is given."""
        return sum(forwarded is None or seen.forwarded is forwarded for seen in self.requests(pattern))

    def clear_requests(self) -> None:
        """Forget the requests seen so far; call it while none is under way."""
        with self._lock:
            self._seen.clear()

    def _arrive(self, request: SeenRequest) -> int:
        with self._lock:
            self._seen.append(request)
            return len(self._seen) - 1

    def _note(self, position: int, **changes: Any) -> None:
        with self._lock:
            self._seen[position] = replace(self._seen[position], **changes)

    def _call_hooks(self, request: SeenRequest) -> None:
        with self._lock:
            matching = [hook for hook in self._hooks if matches(hook.pattern, request.subject)]
            for hook in matching:
                hook.left -= 1
            due = [hook for hook in matching if hook.left == 0]
            self._hooks = [hook for hook in self._hooks if hook.left > 0]
        for hook in due:  # outside the lock: a callback may send requests through this proxy
            try:
                hook.callback(request)
            except Exception as error:
                self._hook_errors.append(error)

    def _raise_hook_errors(self) -> None:
        if self._hook_errors:
            raise self._hook_errors[0]


class _ProxyServer(LoopbackServer):
    def __init__(self, upstream_url: str) -> None:
        super().__init__(_ProxyHandler)
        self.proxy = S3FaultProxy(f"http://127.0.0.1:{self.server_port}", upstream_url)


class _ProxyHandler(Handler):
    server: _ProxyServer  # type: ignore[assignment]
    _position: int

    def do_GET(self) -> None:
        self.begin_request()
        proxy = self.server.proxy
        target = self.requestline.split(" ")[1]  # self.path is tidied up, which would break the signature
        url = urlsplit(target)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = SeenRequest(self.command, unquote(url.path), url.query, headers)
        self._position = proxy._arrive(seen)
        fault = proxy._plan.take(seen.subject)
        if fault:
            proxy._note(self._position, fault=str(fault.action))
        if self.suffer(fault, after=False):
            return
        proxy._call_hooks(seen)
        upstream = http.client.HTTPConnection(urlsplit(proxy.upstream_url).netloc, timeout=_UPSTREAM_SECONDS)
        try:
            self._forward(upstream, target)
            response = upstream.getresponse()
            proxy._note(self._position, forwarded=True)
            if fault and fault.after:
                while response.read1(PIECE_BYTES):  # the endpoint is done when its response ends
                    pass
            if not self.suffer(fault, after=True):
                self._answer(response)
        except ResponseCut:
            pass
        finally:
            upstream.close()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def note_status(self, status: int) -> None:
        self.server.proxy._note(self._position, status=status)

    def _forward(self, upstream: http.client.HTTPConnection, target: str) -> None:
        upstream.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders()
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        size = 0
        try:
            for piece in self.body:
                size += len(piece)
                upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                upstream.send(b"0\r\n\r\n")
        except ClientGone:
            raise
        except ConnectionError:
            self.close_connection = True  # the endpoint answered before it read everything, and hung up
        self.server.proxy._note(self._position, request_bytes=size)

    def _answer(self, response: http.client.HTTPResponse) -> None:
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
        self.start_response(response.status, headers, response.reason)
        try:
            while piece := response.read1(PIECE_BYTES):
                self.send_piece(piece)
            broken = bool(response.length)
        except http.client.IncompleteRead:
            broken = True
        finally:
            self.server.proxy._note(self._position, response_bytes=self.sent_bytes)
        if broken:  # where the endpoint broke off, so does the proxy
            self.close_connection = True
        else:
            self.end_response()


@contextmanager
def s3_fault_proxy(upstream_url: str) -> Iterator[S3FaultProxy]:
    """Run a proxy in a thread of this process for as long as the context lasts.

    Args:
        upstream_url: Endpoint URL of the S3 server behind it, ``http`` only.

    Raises:
        Exception: What a callback of :meth:`S3FaultProxy.before` raised, when the context ends without another error.
    """
    if urlsplit(upstream_url).scheme != "http":
        raise ValueError(f"the proxy speaks plain HTTP to its endpoint, not {upstream_url}")
    server = _ProxyServer(upstream_url)
    with serving(server):
        yield server.proxy
    server.proxy._raise_hook_errors()


def s3_error(
    pattern: str,
    status: int,
    code: str,
    message: str = "injected by the test",
    *,
    after: bool = False,
    times: int | None = 1,
    skip: int = 0,
) -> Fault:
    """A fault that answers with an S3 error document.

    Args:
        pattern: Regular expression searched in ``METHOD /bucket/key?query``.
        status: HTTP status.
        code: S3's name of the error, such as ``AccessDenied``.
        message: Its message.
        after: Whether the request takes effect first.
        times: How many requests it meets; ``None`` is all of them.
        skip: How many matching requests pass first.
    """
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>FAULT</RequestId></Error>"
    )
    headers = {"Content-Type": "application/xml"}
    return Fault.error(pattern, status, body=body, headers=headers, after=after, times=times, skip=skip)


def internal_error(pattern: str, *, after: bool = False, times: int | None = 1, skip: int = 0) -> Fault:
    """A fault that answers ``500 InternalError``."""
    return s3_error(
        pattern, 500, "InternalError", "We encountered an internal error.", after=after, times=times, skip=skip
    )


def slow_down(pattern: str, *, times: int | None = 1, skip: int = 0) -> Fault:
    """A fault that answers ``503 SlowDown``, S3's throttling."""
    return s3_error(pattern, 503, "SlowDown", "Please reduce your request rate.", times=times, skip=skip)
