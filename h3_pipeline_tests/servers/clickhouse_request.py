"""What a client asks for: a request of ClickHouse's HTTP interface, read into a statement and its context."""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import parse_qsl, urlsplit

from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from h3_pipeline_tests.servers.clickhouse_engine import ExternalTable
from h3_pipeline_tests.servers.clickhouse_errors import ServerError
from h3_pipeline_tests.servers.clickhouse_sql import Statement, read_statement

_HEAD_BYTES = 1 << 16
# What the server itself reads; every other parameter is a setting of the engine.
_SERVED = {"query", "query_id", "user", "password", "database", "default_format", "session_id", "session_check"}
_IGNORED = {"quota_key", "session_timeout", "close_session", "buffer_size", "client_protocol_version", "stacktrace"}
_RESERVED = _SERVED | _IGNORED | {"wait_end_of_query", "compress", "decompress"}


@dataclass(frozen=True)
class Request:
    """A request's parameters, wherever the client put them.

    Attributes:
        parameters: All of them by name, from the URL and the form.
        files: The form's files by name: tables that the statement can read.
        body: What follows the statement of the URL, in pieces.
    """

    parameters: Mapping[str, str]
    files: Mapping[str, bytes]
    body: Iterable[bytes]
    query_id: str

    @property
    def settings(self) -> dict[str, str]:
        """The engine's settings for this statement."""
        tables = {f"{name}_{what}" for name in self.files for what in ("format", "types", "structure")}
        own = {name: value for name, value in self.parameters.items() if name not in _RESERVED | tables}
        return {name: value for name, value in own.items() if not name.startswith("param_")}

    @property
    def placeholders(self) -> dict[str, str]:
        """Values of ``{name:Type}`` placeholders."""
        return {name[6:]: value for name, value in self.parameters.items() if name.startswith("param_")}

    @property
    def wants_whole(self) -> bool:
        """Whether the response may begin only when the statement is done."""
        return self.parameters.get("wait_end_of_query", "0") in {"1", "true"}

    def external_tables(self) -> list[ExternalTable]:
        """The temporary tables that the form's files describe."""
        return [self._external_table(name, data) for name, data in self.files.items()]

    def _external_table(self, name: str, data: bytes) -> ExternalTable:
        structure = self.parameters.get(f"{name}_structure", "")
        if not structure:
            types = self.parameters.get(f"{name}_types", "").split(",")
            structure = ", ".join(f"_{number} {column}" for number, column in enumerate(types, start=1))
        return ExternalTable(name, structure, self.parameters.get(f"{name}_format", "TabSeparated"), data)

    def statement(self) -> tuple[Statement, Iterator[bytes]]:
        """The statement, and the data that follow an INSERT.

        Raises:
            ServerError: If there is no statement, more than one, or one that is not served here.
        """
        for name in ("compress", "decompress"):
            if self.parameters.get(name, "0") not in {"0", "false"}:
                raise ServerError.of(48, "NOT_IMPLEMENTED", f"The parameter {name} is not served here")
        query = self.parameters.get("query", "").encode(errors="surrogateescape")
        pieces = iter(self.body)
        buffer = query + b"\n" if query else b""
        for piece in pieces:
            buffer += piece
            if len(buffer) >= _HEAD_BYTES:
                break
        try:
            statement = read_statement(buffer)
        except ServerError:
            statement = None  # may be cut in the middle
        if statement is None or statement.data_offset is None:
            buffer += b"".join(pieces)
            statement = read_statement(buffer)
        if statement.data_offset is None:
            return statement, iter(())
        data = buffer[statement.data_offset :]
        return statement, itertools.chain([data] if data else [], pieces)


def read_request(target: str, headers: Message, body: Iterable[bytes]) -> Request:
    """Take a request apart.

    Args:
        target: The request line's path and query.
        headers: The request's headers.
        body: The request's body, decompressed.
    """
    parameters = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True, errors="surrogateescape"))
    files: dict[str, bytes] = {}
    mimetype, options = parse_options_header(headers.get("Content-Type"))
    if mimetype == "multipart/form-data":
        content = b"".join(body)
        _, fields, uploads = FormDataParser(silent=False).parse(io.BytesIO(content), mimetype, len(content), options)
        parameters.update(fields.to_dict())
        files = {name: upload.read() for name, upload in uploads.items()}
        body = ()
    return Request(parameters, files, body, parameters.get("query_id") or str(uuid.uuid4()))


def read_credentials(request: Request, headers: Message) -> tuple[str, str] | None:
    """User and password, from whichever of the three places ClickHouse looks in; ``None`` if there are none.

    Raises:
        ServerError: If the Authorization header is not understood.
    """
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User") or "default", headers.get("X-ClickHouse-Key") or ""
    if authorization := headers.get("Authorization"):
        scheme, _, value = authorization.partition(" ")
        try:
            user, separator, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, separator, password = "", "", ""
        if scheme.lower() != "basic" or not separator:
            raise ServerError.of(516, "AUTHENTICATION_FAILED", "Invalid authentication: only Basic is served here")
        return user, password
    if "user" in request.parameters or "password" in request.parameters:
        return request.parameters.get("user") or "default", request.parameters.get("password", "")
    return None
