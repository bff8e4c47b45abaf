"""HTTP/1.1 on loopback: what the standard library's server leaves to its handlers."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from h3_pipeline_tests.servers.faults import Action, Fault

PIECE_BYTES = 1 << 18
"""Bodies pass in pieces of at most this size."""


class ClientGone(ConnectionError):
    """The client closed the connection before its request was complete."""


class ResponseCut(Exception):
    """The response was cut on purpose; the connection is to be closed."""


class LoopbackServer(ThreadingHTTPServer):
    """A threading HTTP server on a loopback address, 127.0.0.1 if none is given; port 0 takes a free one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0, host: str = "127.0.0.1") -> None:
        self.stopping = threading.Event()
        self.released = threading.Event()  # lets go of requests held back, and of those that come later
        self._connections: set[socket.socket] = set()
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind without the reverse look-up of the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or does not like the certificate, is no fault of the server."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection and remember it."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """End a connection and forget it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop serving: requests held back are let go, connections kept alive are closed."""
        self.stopping.set()
        self.released.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)


@contextmanager
def serving(server: LoopbackServer) -> Iterator[None]:
    """Serve in a thread for as long as the context lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """Request bodies in pieces, responses in pieces, and connections that end badly.

    A handler calls :meth:`begin_request` first, then reads :attr:`body` and sends its response.

    Attributes:
        body: The request's body; reading it raises :class:`ClientGone` if the body ends early.
        sent_bytes: How much of the response's body was sent.
    """

    server: LoopbackServer  # type: ignore[assignment]
    body: Iterator[bytes]
    sent_bytes = 0

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _budget: int | None = None  # bytes of response body that may still be sent before it is cut
    _chunked_response = False

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the servers keep their own record of requests."""

    def note_status(self, status: int) -> None:
        """Called before a response begins; a server overrides it to keep its record."""

    def begin_request(self) -> None:
        """Start on a request, which may not be the first of its connection."""
        self._budget, self.sent_bytes = None, 0
        self.body = self._pieces()

    def drain(self) -> None:
        """Read the rest of the request, so that the connection can serve the next one."""
        for _ in self.body:
            pass

    def suffer(self, fault: Fault | None, *, after: bool, release: Callable[[], object] = lambda: None) -> bool:
        """Let a fault happen.

        Args:
            fault: The fault that meets this request, if any.
            after: Whether the request took effect by now.
            release: Lets go of what the request holds; called before the client can know that the request is over.

        Returns:
            Whether the request is over with this.
        """
        match fault:
            case Fault(action=Action.DELAY) if not after:
                self.server.stopping.wait(fault.seconds)
            case Fault(action=Action.HOLD) if not after:
                self.server.released.wait()
            case Fault(action=Action.TRUNCATE) if not after:
                self._budget = fault.keep_bytes
            case Fault(action=Action.RESET) if fault.after == after:
                release()
                self.reset_connection()
                return True
            case Fault(action=Action.ERROR) if fault.after == after:
                self.drain()
                release()
                self.reply(fault.status, fault.headers.items(), fault.body.encode())
                return True
        return False

    def _pieces(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self._line().split(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
            while self._line():  # trailers
                pass
        else:
            yield from self._exactly(int(self.headers.get("Content-Length") or 0))

    def _line(self) -> bytes:
        line = self.rfile.readline(1 << 16)
        if not line.endswith(b"\n"):
            raise ClientGone("the request ended in the middle of a chunk")
        return line.strip()

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, PIECE_BYTES))
            if not piece:
                raise ClientGone(f"the request ended {size} bytes early")
            size -= len(piece)
            yield piece

    def start_response(self, status: int, headers: Iterable[tuple[str, str]], reason: str | None = None) -> None:
        """Send status and headers. Without a ``Content-Length`` among them the body is sent in chunks."""
        self.note_status(status)
        self.send_response_only(status, reason)
        names = set()
        for name, value in headers:
            names.add(name.lower())
            self.send_header(name, value)
        self._chunked_response = "content-length" not in names and self.command != "HEAD" and status not in (204, 304)
        if self._chunked_response:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_piece(self, piece: bytes) -> None:
        """Send a piece of the body. Raises :class:`ResponseCut` once the budget is spent."""
        if self._budget is not None:
            piece = piece[: self._budget]
            self._budget -= len(piece)
        self.sent_bytes += len(piece)
        if piece:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked_response else piece)
        if self._budget == 0:
            self.close_connection = True
            raise ResponseCut

    def end_response(self) -> None:
        """End a body; of one sent in chunks this is the last chunk."""
        if self._budget is not None:
            self.close_connection = True
            raise ResponseCut
        if self._chunked_response:
            self.wfile.write(b"0\r\n\r\n")

    def reply(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a whole response."""
        self.start_response(status, [*headers, ("Content-Length", str(len(body)))])
        if self.command != "HEAD":
            self.send_piece(body)

    def reset_connection(self) -> None:
        """End the connection with a TCP reset, as a crashed server or a load balancer does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed by descriptor: the handler's own clean-up would say goodbye (FIN) first.
        os.close(self.connection.detach())
