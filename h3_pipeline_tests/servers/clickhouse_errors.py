"""ClickHouse's errors as its HTTP server words them."""

from __future__ import annotations

import re

# Text, quoted strings, dates, numbers, UUIDs, addresses, domains, regular expressions that cannot be parsed.
_UNREADABLE = {6, 25, 26, 27, 38, 41, 72, 376, 427, 441, 675, 676}
# Arguments, columns, types, the syntax tree and the data that do not fit.
_UNFIT = {8, 15, 36, 37, 44, 53, 62, 117, 123, 167, 168, 223, 321}
# Unknown function, identifier, type, engine, table, aggregate, format, query, database, setting, direction, role.
_UNKNOWN = {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511}
_STATUS = {
    **dict.fromkeys(_UNREADABLE | _UNFIT, 400),
    **dict.fromkeys(_UNKNOWN, 404),
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 497, 512, 516), 403),  # unknown user, wrong password, access denied
    159: 408,  # TIMEOUT_EXCEEDED
    229: 413,  # QUERY_IS_TOO_LARGE
    381: 411,  # HTTP_LENGTH_REQUIRED
    48: 501,  # NOT_IMPLEMENTED
    **dict.fromkeys((76, 209, 439), 503),  # cannot open a file, socket timeout, cannot schedule a task
}


def http_status(code: int) -> int:
    """The HTTP status with which ClickHouse answers an error code."""
    return _STATUS.get(code, 500)


class ServerError(Exception):
    """An error to send to the client.

    Attributes:
        code: ClickHouse's number of the error.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def of(cls, code: int, name: str, message: str) -> ServerError:
        """An error of the server itself."""
        return cls(code, f"Code: {code}. DB::Exception: {message}. ({name})")

    @classmethod
    def from_engine(cls, error: Exception) -> ServerError:
        """An error of the embedded engine, without what its Python binding puts around it."""
        text = str(error)
        found = re.search(r"Code: (\d+)\. DB::Exception", text)
        if not found:
            return cls.of(1002, "UNKNOWN_EXCEPTION", text)
        text = re.sub(r"\s*\(version [\w.]+(?: \(official build\))?\)\s*$", "", text[found.start() :])
        return cls(int(found.group(1)), text)

    def body(self, version: str) -> bytes:
        """The response body."""
        return f"{self} (version {version} (official build))\n".encode(errors="surrogateescape")
