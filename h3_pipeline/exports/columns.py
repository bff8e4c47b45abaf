"""Columns of a result: what the engine calls them, and what they are in the files.

In the files a cell is its hexadecimal text, with the unsigned integer beside it in ``{name}_id``.
Types that other readers do not know (enumerations, UUIDs) are text there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from h3_pipeline.sql import identifier

CELL_ID_SUFFIX = "_id"

_WRAPPED = re.compile(r"^(?P<wrapper>Nullable|LowCardinality|Array)\((?P<inner>.*)\)$", re.DOTALL)
_PLAIN = re.compile(
    r"^(U?Int(8|16|32|64)|Float(32|64)|String|Bool|Date|Date32|DateTime(\('[^']*'\))?|DateTime64\(\d(, '[^']*')?\)"
    r"|Decimal\(\d+, \d+\))$"
)
_AS_TEXT = re.compile(r"^(Enum(8|16)\(.*\)|UUID|FixedString\(\d+\))$", re.DOTALL)
_TEXT = re.compile(r"^(Nullable\()?String\)?$")
_DATE_TIME = re.compile(r"^(Nullable\()?DateTime(\('(?P<zone>[^']*)'\))?\)?$")


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column as it stands in the files.

    Attributes:
        name: Its name.
        type: Its ClickHouse type.
        source: The column of the result that it comes from.
        expression: SQL that makes it from the result, whose table is ``r``.
    """

    name: str
    type: str
    source: str
    expression: str

    @property
    def is_text(self) -> bool:
        """Whether it is text, which a spreadsheet could take for a formula."""
        return bool(_TEXT.match(self.type))

    @property
    def time_zone(self) -> str | None:
        """The zone of a time of whole seconds, ``''`` if it names none; None for any other type."""
        found = _DATE_TIME.match(self.type)
        return (found["zone"] or "") if found else None


class UnsupportedColumn(ValueError):
    """A column that no file can hold; the message says how to mend the query.

    Attributes:
        column: Its name.
    """

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def file_columns(described: Iterable[tuple[str, str]], cells: Sequence[str]) -> list[FileColumn]:
    """Columns of the files from those of the result.

    Args:
        described: Names and ClickHouse types of the result's columns, in order.
        cells: Names of those that hold cells.

    Raises:
        UnsupportedColumn: A type cannot be written, or a name is there twice.
    """
    columns: list[FileColumn] = []
    for name, kind in described:
        value = f"r.{identifier(name)}"
        if name in cells:
            optional = _cell_is_optional(name, kind)
            text, number = ("Nullable(String)", "Nullable(UInt64)") if optional else ("String", "UInt64")
            # what h3ToString gives, and NULL of NULL
            columns.append(FileColumn(name, text, name, f"trimLeft(lower(hex({value})), '0')"))
            columns.append(FileColumn(name + CELL_ID_SUFFIX, number, name, value))
            continue
        written = _written_type(name, kind)
        expression = value if written == kind else f"CAST({value} AS {written})"
        columns.append(FileColumn(name, written, name, expression))
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedColumn(name, f"the column {name!r} is there twice; give one of them another name with AS")
    return columns


def _cell_is_optional(name: str, kind: str) -> bool:
    if kind in ("UInt64", "Nullable(UInt64)"):
        return kind.startswith("Nullable")
    raise UnsupportedColumn(name, f"the column {name!r} is a cell, so its type must be UInt64, not {kind}")


def _written_type(name: str, kind: str) -> str:
    if _PLAIN.match(kind):
        return kind
    if _AS_TEXT.match(kind):
        return "String"
    if wrapped := _WRAPPED.match(kind):
        inner = _written_type(name, wrapped["inner"])
        return inner if wrapped["wrapper"] == "LowCardinality" else f"{wrapped['wrapper']}({inner})"
    raise UnsupportedColumn(
        name, f"the column {name!r} has the type {kind}, which not every format can hold; make it text with toString()"
    )
