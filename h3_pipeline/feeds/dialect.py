"""How a text is divided into records and fields.

Quotes are double quotes, as RFC 4180 has them, and count only at the start of a field. Spaces after
a delimiter do not belong to the field. Lines are counted as editors count them, from 1.
"""

import csv
import io
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds import hints
from h3_pipeline.feeds.headers import Header

DELIMITERS = (",", ";", "\t", "|")
"""Delimiters that are detected; a feed may state another."""

SAMPLE_RECORDS = 20_000
"""Most records that a decision is made from."""

OPEN_QUOTE_CHARACTERS = 128 * 1024
"""A quoted field longer than this is taken for one whose closing quote is missing."""

_END = "\0"  # stands after the last record; no text reaches this module's reader with a NUL in it
_LONE_RETURN = re.compile(r"\r(?![\r\n])")
_PEEK_RECORDS = 100


class Record(NamedTuple):
    """One record.

    Attributes:
        line: Line on which it starts.
        fields: Its fields, without quotes.
        fault: Why the record cannot be divided into fields; '' if it can.
    """

    line: int
    fields: list[str]
    fault: Literal["", "lone_return", "long_field"] = ""

    def field(self, place: int) -> str:
        """The trimmed field at a 0-based position; '' beyond the record's end."""
        return self.fields[place].strip() if place < len(self.fields) else ""

    @property
    def blank(self) -> bool:
        """Whether the record is a blank line."""
        return not self.fault and len(self.fields) < 2 and not any(self.fields)


@dataclass(frozen=True, slots=True)
class Sample:
    """The first records of a file.

    Attributes:
        skip_records: What stands before the first record: the header, and each blank line. A header
            with a quoted line end counts as one, as the engine's CSV reader counts it.
        records: The records, without blank lines.
    """

    skip_records: int
    records: Sequence[Record]

    def column(self, place: int) -> "Column":
        """The trimmed fields at a 0-based position, one a record."""
        return Column(self.records, place)


@dataclass(frozen=True, slots=True)
class Column(Sequence[str]):
    """Fields of records, read when they are asked for: most decisions need some hundreds of thousands."""

    records: Sequence[Record]
    place: int

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return self.records[number].field(self.place)


@dataclass(frozen=True, slots=True)
class _Lines(Sequence[Record]):
    """Records that are lines without quotes, divided when they are asked for: by `csv`, most of a file's time."""

    lines: Sequence[tuple[int, str]]
    delimiter: str

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, number: int) -> Record:  # type: ignore[override]
        line, text = self.lines[number]
        fields = text.removesuffix("\r").lstrip(" ").split(self.delimiter)
        if f"{self.delimiter} " in text:
            fields = [field.lstrip(" ") for field in fields]
        return Record(line, fields)


class Text:
    """The first lines of a file.

    Args:
        text: The decoded text.
        complete: Whether it is the whole file; if not, the last line, which may be cut off, is left out.

    Raises:
        UploadRefused: ``cr_line_ends`` or ``record_too_long``, if the text has no complete line.
    """

    def __init__(self, text: str, *, complete: bool) -> None:
        self.complete = complete
        self._text = text if complete else text[: text.rfind("\n") + 1]
        if text and not self._text:
            if "\r" in text:
                raise _lone_return(1)
            raise _too_long(len(text))
        # a text may begin with millions of blank lines, which no delimiter makes anything else of
        first = len(self._text) - len(self._text.lstrip(" \r\n"))
        self._start = self._text.rfind("\n", 0, first) + 1
        self._blank_lines = self._text.count("\n", 0, self._start)
        self._headers: dict[str, Header | None] = {}

    @property
    def quoted(self) -> bool:
        """Whether there is a quote in it."""
        return '"' in self._text

    def refuse_nul(self, *, has_header: bool) -> None:
        """Refuse a text with a NUL character. To be called before anything else.

        Args:
            has_header: Whether the first record names the columns.

        Raises:
            UploadRefused: ``nul_bytes``, with the line and the column.
        """
        at = self._text.find("\0")
        if at < 0:
            return
        line = self._text.count("\n", 0, at) + 1
        place = f"Line {line}"
        before = Text(self._text[:at] + "?", complete=True)
        headers = before.headers()
        if headers:
            header = headers[0]
            records = before._records(header.delimiter, tolerant=True)
            last = deque((record for record in records if record.fields and not record.blank), maxlen=2)
            column = len(last[-1].fields)
            named = has_header and len(last) == 2 and column <= header.width
            place += f", column {hints.shown(header.names[column - 1])}" if named else f", column {column}"
        raise UploadRefused(
            "nul_bytes", f"{place}: a NUL byte; remove all of them with: tr -d '\\000' < FILE > FILE.clean.csv"
        )

    def header(self, delimiter: str) -> Header | None:
        """The header as read with a delimiter; None if there is none, or it cannot be read so."""
        if delimiter not in self._headers:
            self._headers[delimiter] = self._read_header(delimiter)
        return self._headers[delimiter]

    def headers(self) -> list[Header]:
        """The header as read with each of `DELIMITERS`, the one with the most columns first."""
        read = [header for header in map(self.header, DELIMITERS) if header]
        return sorted(read, key=lambda header: -header.width)

    def _read_header(self, delimiter: str) -> Header | None:
        try:
            for record in self._records(delimiter):
                if record.fault:
                    return None
                if not record.blank:
                    return Header(delimiter, tuple(name.strip() for name in record.fields))
        except UploadRefused:
            pass  # with another delimiter the quotes may stand otherwise; `sample` tells the fault
        return None

    def sample(self, delimiter: str, *, has_header: bool) -> Sample:
        """The first records of the file.

        Args:
            delimiter: Field separator.
            has_header: Whether the first record that is not blank is the header.

        Raises:
            UploadRefused: ``no_data_rows``, ``unclosed_quote``, ``cr_line_ends`` or
                ``record_too_long``.
        """
        if self._is_plain(delimiter):
            lines = enumerate(self._text[self._start :].split("\n"), start=self._blank_lines + 1)
            records = [line for line in lines if line[1].strip(" \r")][1 if has_header else 0 :]
            if records:
                return Sample(records[0][0] - 1, _Lines(records[:SAMPLE_RECORDS], delimiter))
        return self._parsed_sample(delimiter, has_header=has_header)

    def _is_plain(self, delimiter: str) -> bool:
        """Whether every line is a record, and every delimiter ends a field."""
        return (
            not self.quoted
            and delimiter != " "
            and self._text.count("\r") == self._text.count("\r\n")
            and max(map(len, self._text.split("\n"))) <= csv.field_size_limit()
        )

    def _parsed_sample(self, delimiter: str, *, has_header: bool) -> Sample:
        skip_records = self._blank_lines
        width = 0
        expect_header = has_header
        records: list[Record] = []
        for record in self._records(delimiter):
            if not record.blank and not expect_header:
                if len(records) < SAMPLE_RECORDS:
                    records.append(record)
                continue
            if not records:
                skip_records += 1
            if not record.blank:
                if record.fault:
                    raise _lone_return(record.line) if record.fault == "lone_return" else _too_long(len(self._text))
                expect_header = False
                width = len(record.fields)
        if not records:
            if not self.complete:
                raise _too_long(len(self._text))
            raise UploadRefused("no_data_rows", "The file has no data rows" + (" below its header" if width else ""))
        self._refuse_lone_returns(delimiter, records, width)
        return Sample(skip_records, records)

    def usual_width(self, delimiter: str) -> tuple[int, float]:
        """The most frequent number of fields among the first records, and its share of them."""
        peeked = islice(
            (record for record in self._records(delimiter, tolerant=True) if not record.blank), _PEEK_RECORDS
        )
        widths = Counter(len(record.fields) for record in peeked)
        if not widths:
            return 0, 0.0
        width, count = widths.most_common(1)[0]
        return width, count / widths.total()

    def _records(self, delimiter: str, *, tolerant: bool = False) -> Iterator[Record]:
        """The records, with blank lines but those at the beginning.

        With ``tolerant``, an open quote ends where the text ends.
        """
        lines = io.StringIO(self._text, newline="\n")
        lines.seek(self._start)
        reader = csv.reader(chain(lines, [_END]), delimiter=delimiter, skipinitialspace=True)
        before = self._blank_lines
        while True:
            line = before + reader.line_num + 1
            try:
                fields = next(reader)
            except csv.Error as error:
                if "field limit" not in str(error):
                    yield Record(line, [], "lone_return")
                elif before + reader.line_num > line and tolerant:
                    return
                elif before + reader.line_num > line:
                    raise _unclosed_quote(line, None) from None
                else:
                    yield Record(line, [], "long_field")
                continue
            if fields == [_END]:
                return
            if fields and fields[-1].endswith(_END):  # an open quote has swallowed the end
                opened = before + reader.line_num - fields[-1].count("\n")
                if tolerant:
                    yield Record(line, fields)
                elif self.complete or len(fields[-1]) > OPEN_QUOTE_CHARACTERS:
                    raise _unclosed_quote(opened, len(fields))
                return
            yield Record(line, fields)

    def _refuse_lone_returns(self, delimiter: str, records: list[Record], width: int) -> None:
        """Refuse CRs that end records; one that merely stands in a field is for the row rules."""
        suspects = {record.line for record in records if record.fault == "lone_return"}
        if not suspects:
            return
        if not width:
            width = Counter(len(record.fields) or 2 for record in records).most_common(1)[0][0]
        for number, line in enumerate(io.StringIO(self._text, newline="\n"), start=1):
            if number in suspects:
                pieces = [piece for piece in _LONE_RETURN.split(line.rstrip("\r\n")) if piece]
                if len(pieces) > 1 and all(piece.count(delimiter) >= width - 1 for piece in pieces):
                    raise _lone_return(number)


def _lone_return(line: int) -> UploadRefused:
    return UploadRefused(
        "cr_line_ends",
        f"Line {line}: records end in a lone CR (old Mac line ends);"
        " convert them with: tr '\\r' '\\n' < FILE > FILE.lf.csv",
    )


def _unclosed_quote(line: int, column: int | None) -> UploadRefused:
    place = f"Line {line}, column {column}" if column else f"Line {line}"
    return UploadRefused(
        "unclosed_quote", f'{place}: a quote (") opens a field and is never closed; close or remove it'
    )


def _too_long(size: int) -> UploadRefused:
    return UploadRefused(
        "record_too_long",
        f"No record ends within the first {size:,} characters;"
        " is this a CSV file with line ends, and is every quote closed?",
    )
