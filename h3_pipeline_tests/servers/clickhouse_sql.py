"""What a server must know of a statement before the engine sees it: its kind, its format, where its data begin."""

from __future__ import annotations

import re
from dataclasses import dataclass

from h3_pipeline_tests.servers.clickhouse_errors import ServerError

_TOKEN = re.compile(
    rb"""
      (?P<space> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?\*/ )
    | (?P<quoted> '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_FORMAT_END = re.compile(rb"FORMAT(?:\s|--[^\n]*|/\*.*?\*/)*\Z", re.IGNORECASE | re.DOTALL)
_ROWS = {
    "SELECT",
    "WITH",
    "FROM",
    "SHOW",
    "DESC",
    "DESCRIBE",
    "EXISTS",
    "EXPLAIN",
    "CHECK",
    "KILL",
    "BACKUP",
    "RESTORE",
}


@dataclass(frozen=True)
class Statement:
    """One statement, told apart from the data that follow it.

    Attributes:
        kind: Its first word in capitals, such as ``SELECT``.
        text: The statement; of an INSERT with data, without its FORMAT clause and without the data.
        format: The format it names: of its result, or of an INSERT's data.
        data_offset: Where the data begin in the buffer that was read; ``None`` if the statement brings none.
    """

    kind: str
    text: bytes
    format: str | None = None
    data_offset: int | None = None

    @property
    def returns_rows(self) -> bool:
        """Whether a result belongs to it even when the result is empty."""
        return self.kind in _ROWS

    @property
    def is_query(self) -> bool:
        """Whether the engine can stream its result."""
        return self.kind in {"SELECT", "WITH", "FROM"}

    @property
    def changes_session(self) -> bool:
        """Whether later statements of the same session are meant to see its effect."""
        return self.kind in {"SET", "USE"}


def read_statement(buffer: bytes) -> Statement:
    """Read the statement at the start of a request.

    Raises:
        ServerError: If there is none, or more than one.
    """
    words: list[str] = []
    depth, previous, end = 0, b"", len(buffer)
    formats: list[tuple[str, int]] = []
    tokens = _TOKEN.finditer(buffer)
    for token in tokens:
        if token.lastgroup == "space":
            continue
        after_format, previous = previous.upper() == b"FORMAT" and depth == 0, token.group()
        if token.lastgroup == "word":
            words.append(previous.decode().upper())
            if words[0] != "INSERT":
                if after_format:
                    formats.append((previous.decode(), len(words)))
            elif after_format and not {"SELECT", "WITH"} & set(words):
                text = _FORMAT_END.sub(b"", buffer[: token.start()])
                return Statement("INSERT", text.strip(), previous.decode(), _data_offset(buffer, token.end()))
            elif after_format and "INPUT" in words:
                raise ServerError.of(
                    48, "NOT_IMPLEMENTED", "INSERT … SELECT … FROM input() with data is not served here"
                )
            elif words[-1] == "VALUES" and depth == 0:
                return Statement("INSERT", buffer.strip())
        elif previous in b"([{":
            depth += 1
        elif previous in b")]}":
            depth -= 1
        elif previous == b";" and depth == 0:
            end = token.start()
            break
    if any(token.lastgroup != "space" and token.group() != b";" for token in tokens):
        raise ServerError.of(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    if not words:
        raise ServerError.of(62, "SYNTAX_ERROR", "Syntax error: Empty query")
    named = [name for name, position in formats if words[position : position + 1] in ([], ["SETTINGS"])]
    return Statement(words[0], buffer[:end].strip(), named[-1] if named else None)


def _data_offset(buffer: bytes, start: int) -> int:
    """Data begin after the blanks behind the format's name and at most one line end."""
    match = re.compile(rb"[ \t\f]*\r?\n?").match(buffer, start)
    return match.end() if match else start
