"""ClickHouse's HTTP protocol over the embedded engine, and the control channel of a test. Runs in the child process."""

from __future__ import annotations

import json
import secrets
import ssl
import string
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from http import HTTPStatus
from urllib.parse import urlsplit

from h3_pipeline_tests.servers import content_encoding
from h3_pipeline_tests.servers.clickhouse_engine import Context, Engine, Outcome
from h3_pipeline_tests.servers.clickhouse_errors import ServerError, http_status
from h3_pipeline_tests.servers.clickhouse_request import Request, read_credentials, read_request
from h3_pipeline_tests.servers.clickhouse_state import ReceivedStatement, ServerState
from h3_pipeline_tests.servers.faults import Fault
from h3_pipeline_tests.servers.http_base import Handler, LoopbackServer, ResponseCut

_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}


class QueryServer(LoopbackServer):
    """The port that clients talk to."""

    def __init__(
        self,
        engine: Engine,
        state: ServerState,
        port: int = 0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.engine = engine
        self.state = state
        super().__init__(QueryHandler, port, host)
        if tls:
            # shaking hands is for the connection's own thread, as its first read
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


class ControlServer(LoopbackServer):
    """The port that a test steers the server with."""

    def __init__(self, state: ServerState, queries: QueryServer) -> None:
        self.state = state
        self.queries = queries
        super().__init__(ControlHandler)


class QueryHandler(Handler):
    """Serves statements."""

    server: QueryServer  # type: ignore[assignment]
    _received: ReceivedStatement | None

    def do_GET(self) -> None:
        """A read-only statement, or a sign of life."""
        url = urlsplit(self.path)
        if url.path in {"/ping", "/replicas_status"} or not url.query:
            self._received = None
            self.begin_request()
            self.drain()
            self.reply(200, [("Content-Type", "text/html; charset=UTF-8")], b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        """A statement."""
        self._received = None
        self.begin_request()
        try:
            with _encoding_errors():
                pieces = content_encoding.decode(self.body, self.headers.get("Content-Encoding", ""))
                request = read_request(self.path, self.headers, pieces)
                self._received = self._record(request)
                self._serve(request, self._received)
        except ServerError as error:
            self._refuse(error)
        except ResponseCut:
            pass

    def note_status(self, status: int) -> None:
        """Keep the status of the response for the record."""
        if self._received:
            self._received.status = status

    def _record(self, request: Request) -> ReceivedStatement:
        received = ReceivedStatement(
            query=request.parameters.get("query", ""),
            query_id=request.query_id,
            user="",
            database=request.parameters.get("database", ""),
            session_id=request.parameters.get("session_id", ""),
            method=self.command,
            settings=request.settings,
            parameters=request.placeholders,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        self.server.state.statements.append(received)
        return received

    def _serve(self, request: Request, received: ReceivedStatement) -> None:
        state = self.server.state
        credentials = read_credentials(request, self.headers)
        received.user = credentials[0] if credentials else ""
        state.authenticate(credentials)
        statement, data = request.statement()
        received.query = statement.text.decode(errors="replace")
        with ExitStack() as held:
            must_exist = request.parameters.get("session_check") == "1"
            session = held.enter_context(state.session(received.session_id, must_exist=must_exist))
            held.enter_context(state.running(request.query_id))
            fault = state.faults.take(received.query)
            if fault:
                received.fault = str(fault.action)
            if self.suffer(fault, after=False, release=held.close):
                return
            context = self._context(request, session)
            run = self.server.engine.run(statement, context, data, stream=not request.wants_whole)
            outcome = held.enter_context(run)
            self.drain()
            received.executed = True
            if statement.changes_session:
                session.append(statement.text)
            if not self.suffer(fault, after=True, release=held.close):
                self._answer(outcome, received, held.close)

    def _context(self, request: Request, session: list[bytes]) -> Context:
        settings = request.settings
        if self.command == "GET":
            settings.setdefault("readonly", "2")
        default_format = self.headers.get("X-ClickHouse-Format") or "TabSeparated"
        return Context(
            session=tuple(session),
            database=request.parameters.get("database") or self.headers.get("X-ClickHouse-Database", ""),
            settings=settings,
            parameters=request.placeholders,
            default_format=request.parameters.get("default_format") or default_format,
            external=request.external_tables(),
        )

    def _answer(self, outcome: Outcome, received: ReceivedStatement, release: Callable[[], None]) -> None:
        """Send the outcome; what the statement holds is released before the client can know that it is done."""
        headers = [
            ("Content-Type", _CONTENT_TYPES.get(outcome.format or "TabSeparated", "application/octet-stream")),
            ("X-ClickHouse-Server-Display-Name", "chdb"),
            ("X-ClickHouse-Query-Id", received.query_id),
            ("X-ClickHouse-Timezone", outcome.timezone),
            ("X-ClickHouse-Summary", json.dumps(outcome.summary, separators=(",", ":"))),
        ]
        if outcome.format:
            headers.append(("X-ClickHouse-Format", outcome.format))
        encoding = content_encoding.choose(self.headers.get("Accept-Encoding", "")) if outcome.compress else None
        if encoding:
            headers.append(("Content-Encoding", encoding))
        if isinstance(outcome.pieces, list):
            release()
            self.reply(200, headers, b"".join(content_encoding.encode(outcome.pieces, encoding)))
            return
        tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self.start_response(200, [*headers, ("X-ClickHouse-Exception-Tag", tag)])
        for piece in content_encoding.encode(self._guarded(outcome, received, tag), encoding):
            self.send_piece(piece)
        release()
        if received.exception_code:
            self.close_connection = True  # and no last chunk: the response is not whole
        else:
            self.end_response()

    def _guarded(self, outcome: Outcome, received: ReceivedStatement, tag: str) -> Iterator[bytes]:
        """The result, followed by the error if one ends it early."""
        try:
            yield from outcome.pieces
        except ServerError as error:
            received.exception_code = error.code
            body = error.body(self.server.engine.version)
            frame = f"\r\n__exception__\r\n{tag}\r\n", f"{len(body)} {tag}\r\n__exception__\r\n"
            yield frame[0].encode() + body + frame[1].encode()

    def _refuse(self, error: ServerError) -> None:
        self.drain()
        headers = [
            ("Content-Type", "text/plain; charset=UTF-8"),
            ("X-ClickHouse-Server-Display-Name", "chdb"),
            ("X-ClickHouse-Exception-Code", str(error.code)),
        ]
        if self._received:
            self._received.exception_code = error.code
            headers.append(("X-ClickHouse-Query-Id", self._received.query_id))
        status = http_status(error.code)
        if status == HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", 'Basic realm="ClickHouse server HTTP API"'))
        self.reply(status, headers, error.body(self.server.engine.version))


@contextmanager
def _encoding_errors() -> Iterator[None]:
    try:
        yield
    except content_encoding.EncodingError as error:
        raise ServerError.of(271, "CANNOT_DECOMPRESS", str(error)) from error


class ControlHandler(Handler):
    """Serves the test: faults, password and received statements, each as JSON."""

    server: ControlServer  # type: ignore[assignment]

    def do_GET(self) -> None:
        """``/faults``: those still due. ``/statements``: those received."""
        state = self.server.state
        self._answer(
            [fault.to_dict() for fault in state.faults.due()]
            if self.path == "/faults"
            else [asdict(statement) for statement in list(state.statements)]
        )

    def do_POST(self) -> None:
        """``/faults``: a list of faults to add. ``/password``: the new password. ``/let-go``: those held back."""
        self.begin_request()
        document = json.loads(b"".join(self.body))
        if self.path == "/faults":
            self.server.queries.released.clear()
            self.server.state.faults.add(*map(Fault.from_dict, document))
        elif self.path == "/let-go":
            self.server.queries.released.set()
        else:
            self.server.state.password = document
        self._answer(None)

    def do_DELETE(self) -> None:
        """``/faults`` or ``/statements``: forget them."""
        state = self.server.state
        state.faults.clear() if self.path == "/faults" else state.statements.clear()
        self._answer(None)

    def _answer(self, document: object) -> None:
        self.begin_request()
        self.reply(200, [("Content-Type", "application/json")], json.dumps(document).encode())
