"""How one upload is to be read: what `feeds` finds out and `trips.select` turns into SQL."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Compression(StrEnum):
    """Compression of an upload; the values are those ClickHouse's ``s3()`` takes."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bz2"
    XZ = "xz"
    ZIP = "zip"  # an archive with one CSV; unpacked before the engine reads it


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """The one way in which a column's timestamps are written, required of every row.

    Attributes:
        kind: ``text``, or a count since 1970-01-01T00:00:00Z in seconds or milliseconds.
        order: Order of year, month and day in the text; years have four digits, the other
            parts one or two.
        date_separator: ``-``, ``/`` or ``.``.
        time_separator: Between date and time: a space or ``T``.
        has_seconds: Whether seconds must be there (``H:MM:SS``) or must not (``H:MM``).
        twelve_hour: Whether ``AM`` or ``PM`` follows the time.
        fraction: Whether a fraction of a second may follow the seconds; it is cut.
        zone: What follows the time: nothing, a word for UTC (``Z``, ``UTC``), or an offset
            (``+02:00``, ``-0500``, ``Z``).
    """

    kind: Literal["text", "epoch_seconds", "epoch_milliseconds"] = "text"
    order: Literal["ymd", "mdy", "dmy"] = "ymd"
    date_separator: Literal["-", "/", "."] = "-"
    time_separator: Literal[" ", "T"] = " "
    has_seconds: bool = True
    twelve_hour: bool = False
    fraction: bool = False
    zone: Literal["none", "utc", "offset"] = "none"


@dataclass(frozen=True, slots=True)
class UploadDescription:
    """Everything needed to read an upload, decided from its name and first bytes.

    Attributes:
        key: Object key below ``uploads/``.
        feed: Name of the feed that matched.
        compression: Compression, told by content.
        archive_member: Name of the file inside a zip archive, else None.
        delimiter: Field separator, one character.
        skip_lines: Records before the first data record: the header, and each blank line as one. A
            header with a line end inside a quoted name is one record, as ClickHouse counts it.
        column_names: Names of the columns in file order; ``column_1`` … without a header. Their
            number is the width that a record must have.
        columns: Canonical column (or ``origin_point``, ``destination_point``) to its 0-based
            position in the file.
        region: Value of ``region`` where the row gives none.
        datasource: Value of ``datasource`` where the row gives none.
        started_at_format: Format of ``started_at``.
        ended_at_format: Format of ``ended_at``; None where the feed maps no such column.
        timezone: IANA zone of naive timestamps and of local hours.
        timezone_assumed: True where no feed states the zone and UTC was taken for want of one.
        kilometres_per_unit: Factor from the feed's distance unit to kilometres.
        quoted: Whether a quote was seen in the first bytes.
    """

    key: str
    feed: str
    compression: Compression
    archive_member: str | None
    delimiter: str
    skip_lines: int
    column_names: tuple[str, ...]
    columns: Mapping[str, int]
    region: str
    datasource: str
    started_at_format: TimeFormat
    ended_at_format: TimeFormat | None
    timezone: str
    timezone_assumed: bool
    kilometres_per_unit: float
    quoted: bool = False
