"""Bad files, generated, each with the outcome that it must have.

Times carry a ``Z`` unless a case is about times, so that no row is warned about for want of a zone.
Limits are what a careful reader of DESIGN, sections 5, 6 and 12, would expect, not what the code does.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backports import zstd

NAMES = ("started_at", "ended_at", "origin_lat", "origin_lng", "destination_lat", "destination_lng")
HEADER = ",".join(NAMES)
TRIP: Mapping[str, str] = dict(
    zip(NAMES, ("2024-03-01T08:00:00Z", "2024-03-01T08:10:00Z", "40.7", "-74.0", "40.8", "-73.9"), strict=True)
)
BOM = codecs.BOM_UTF8.decode()
OPTIONAL = ("distance_km", "passenger_count", "fare_amount", "total_amount", "region", "datasource")


@dataclass(frozen=True)
class Accepted:
    """The file is loaded.

    Attributes:
        rows: Records in it.
        rejected: Rows refused, by reason.
        warnings: Rows noted, by warning.
        values: Some columns of the clean CSV, whole; None for NULL.
        raw: Texts of the refused rows, if they are of interest.
        numbers: ``row_number`` of the refused rows, if they are of interest.
    """

    rows: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    raw: Sequence[str] | None = None
    numbers: Sequence[int] | None = None


@dataclass(frozen=True)
class Refused:
    """The file is refused with this code, and a message that has these parts in it."""

    code: str
    parts: tuple[str, ...] = ()


def refused(code: str, *parts: str) -> Refused:
    return Refused(code, parts)


@dataclass(frozen=True)
class Case:
    """A file: made when it is needed, since some are large."""

    name: str
    content: Callable[[], bytes]
    expected: Accepted | Refused
    key: str = ""
    feeds: str | None = None


CASES: list[Case] = []


def case(name: str, content: str | bytes | Callable[[], bytes], expected: Accepted | Refused, **more: Any) -> None:
    body = content.encode() if isinstance(content, str) else content
    CASES.append(Case(name, body if callable(body) else lambda: body, expected, **more))


def line(*surplus: str, delimiter: str = ",", **changes: str) -> str:
    """One trip, with some fields changed and some appended."""
    return delimiter.join([*{**TRIP, **changes}.values(), *surplus])


GOOD = line()


def text(*lines: str, header: str = HEADER, end: str = "\n") -> str:
    """A file of these lines."""
    return end.join([header, *lines, ""])


def beside(*bad: str, header: str = HEADER, good: str = GOOD) -> str:
    """A file of good rows around bad ones, which have the numbers from 2 on."""
    return text(good, *bad, *[good] * len(bad), header=header)


def one_bad(**changes: str) -> str:
    return beside(line(**changes))


def rejects(reason: str, bad: int = 1, **more: Any) -> Accepted:
    """What comes of `beside`, if every bad row is refused for one reason."""
    return Accepted(2 * bad + 1, {reason: bad}, numbers=range(2, 2 + bad), **more)


def warns(*warnings: str, **values: Any) -> Accepted:
    """What comes of `one_bad`, if the row is loaded with warnings; values are those of the second row."""
    return Accepted(3, warnings=dict.fromkeys(warnings, 1), values={name: [..., v, ...] for name, v in values.items()})


def optional(name: str, *values: str) -> str:
    """A file with a column more."""
    return text(*[line(value) for value in values], header=f"{HEADER},{name}")


def local(*starts: str) -> str:
    """A file of departures without arrivals, whose zone the feed `NEW_YORK` or none states."""
    return text(*[f"{start},40.7,-74.0" for start in starts], header="started_at,origin_lat,origin_lng")


def zipped(members: Mapping[str, bytes | str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def damaged(packed: bytes) -> bytes:
    """With other bytes in the middle."""
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 8]) + packed[middle + 8 :]


NEW_YORK = 'feeds: [{name: ny, match: "*", timezone: America/New_York}]'
CHICAGO = 'feeds: [{name: il, match: "*", timezone: America/Chicago}]'
NO_HEADER = (
    'feeds: [{name: bare, match: "*", has_header: false, columns: '
    "{started_at: 1, ended_at: 2, origin_lat: 3, origin_lng: 4, destination_lat: 5, destination_lng: 6}}]"
)
PLAIN = text(GOOD, GOOD, GOOD)
LONG = text(*[line(origin_lat=f"40.{i:06}") for i in range(40_000)])  # longer than the part that is looked at first
FINE = Accepted(3)
EPOCH = 1_709_280_000  # 2024-03-01T08:00:00Z
QUOTED = text(*[",".join(f'"{value}"' for value in TRIP.values())] * 3)

# Encodings
case("utf-8", PLAIN, FINE)
case(
    "utf-8 in values",
    text(*[line("Zürich 東京 🚕")] * 2, header=HEADER + ",region"),
    Accepted(2, values={"region": ["Zürich 東京 🚕"] * 2}),
)
case("mark before the header", BOM + PLAIN, FINE)
case("mark without a header", BOM + PLAIN.split("\n", 1)[1], FINE, feeds=NO_HEADER)
case("mark without a header, quoted", BOM + QUOTED.split("\n", 1)[1], FINE, feeds=NO_HEADER)
case("mark and nothing", BOM, refused("no_data_rows"))
case("utf-16 little-endian", PLAIN.encode("utf-16"), refused("undecodable", "UTF-16", "iconv"))
case("utf-16 big-endian", codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"), refused("undecodable", "UTF-16", "iconv"))
case("utf-16 without a mark", PLAIN.encode("utf-16-le"), refused("undecodable", "UTF-16LE"))
case("utf-32", PLAIN.encode("utf-32"), refused("undecodable", "UTF-32"))
case("latin-1 early", optional("region", "Zürich").encode("latin-1"), refused("undecodable", "Line 2", "ISO-8859-1"))
case(
    "latin-1 late", LONG.encode() + line(origin_lat="é").encode("latin-1"), refused("undecodable", "Row 40001", "iconv")
)
case(
    "latin-1 late in a column nobody reads",
    lambda: (text(*[line("x" * 20)] * 20_000, header=HEADER + ",note") + line("Zürich")).encode("latin-1"),
    refused("undecodable", "Row 20001"),
)
case("half a character at the end", PLAIN.encode() + GOOD.encode() + b",\xc3", refused("undecodable"))
case("overlong utf-8", optional("region", "x").encode().replace(b",x", b",\xc0\xaf"), refused("undecodable"))

# Line ends and blank lines
case("crlf", PLAIN.replace("\n", "\r\n"), FINE)
case("cr alone", PLAIN.replace("\n", "\r"), refused("cr_line_ends", "tr '"))
case("lf and crlf mixed", text(GOOD + "\r", GOOD, GOOD + "\r"), FINE)
case("no final newline", PLAIN.rstrip("\n"), FINE)
case(
    "no final newline, last field empty",
    text(GOOD, line(destination_lng="")).rstrip("\n"),
    Accepted(2, warnings={"missing_destination": 1}),
)
case("empty", "", refused("empty"))
case("one newline", "\n", refused("no_data_rows"))
case("header only", HEADER, refused("no_data_rows", "header"))
case("header and newline", HEADER + "\n", refused("no_data_rows"))
case("header and blank lines", HEADER + "\n" * 50, refused("no_data_rows"))
case("blank lines before the header", "\n\n\n" + PLAIN, FINE)
case("blank lines after the header", PLAIN.replace("\n", "\n\n\n", 1), FINE)
case(
    "blank lines inside",
    text(GOOD, "", "   ", line(origin_lat="x"), "", GOOD, ""),
    Accepted(3, {"invalid_origin": 1}, numbers=[2]),
)
case("blank lines at the end", PLAIN + "\n" * 1000, FINE)
case("blank lines with crlf", text(GOOD, "", GOOD, end="\r\n"), Accepted(2))

# Records of other widths, quotes
case(
    "too short", beside("2024-03-01T08:00:00Z,,40.7"), rejects("wrong_column_count", raw=["2024-03-01T08:00:00Z,,40.7"])
)
case("one field", beside("x"), rejects("wrong_column_count"))
case("surplus fields, filled", beside(line("a", "b")), rejects("wrong_column_count", raw=[line("a", "b")]))
case("surplus fields, empty", beside(line("", "")), FINE)
case("many surplus fields, the last filled", beside(line(*[""] * 7, "x")), rejects("wrong_column_count"))
case("a thousand surplus fields", beside(line(*["x"] * 1000)), rejects("wrong_column_count"))
case("every field quoted", QUOTED, FINE)
case("quoted newline", optional("region", '"New\nYork"', "x"), Accepted(2, values={"region": ["New\nYork", "x"]}))
case("quoted newline in the header", text(GOOD + ",", header=HEADER + ',"a\nb"'), Accepted(1))
case(
    "quoted newline in the last record",
    optional("region", "x", '"New\nYork"'),
    Accepted(2, values={"region": ["x", "New\nYork"]}),
)
case("quotes inside quotes", optional("region", '"a ""b"" c"'), Accepted(1, values={"region": ['a "b" c']}))
case("quotes inside an unquoted field", optional("region", 'a "b" c'), Accepted(1, values={"region": ['a "b" c']}))
case("delimiter inside quotes", optional("region", '"a,b"'), Accepted(1, values={"region": ["a,b"]}))
case("text after a closing quote", optional("region", "x", '"a" b', "x"), refused("malformed_csv", "closing quote"))
case("quote never closed, early", text(GOOD, '"' + GOOD, GOOD), refused("unclosed_quote", "Line 3"))
case(
    "quote never closed, late",
    lambda: (LONG + text(line('"x'), GOOD, header=GOOD)).encode(),
    refused("unclosed_quote", "row 40002"),
)
case("quote never closed in the header", PLAIN.replace("ended_at", '"ended_at', 1), refused("unclosed_quote", "Line 1"))
case(
    "field of 100,000 characters",
    optional("region", "x" * 100_000, "y"),
    Accepted(2, values={"region": ["x" * 100_000, "y"]}),
)
case("field of 100,000 characters refused", beside(line(origin_lat="9" * 100_000 + "x")), rejects("invalid_origin"))
case(
    "10,000 columns",
    lambda: text(*[line(*["1"] * 9_994)] * 2, header=HEADER + "".join(f",c{i}" for i in range(9_994))).encode(),
    Accepted(2),
)

# Headers
case(
    "required column twice",
    text(line("40.7"), header=HEADER + ",origin_lat"),
    refused("duplicate_column", "origin_lat"),
)
case("other column twice", text(line("a", "b"), header=HEADER + ",note,note"), Accepted(1))
case(
    "required column missing",
    text("2024-03-01T08:00:00Z,40.7", header="started_at,origin_lat"),
    refused(
        "unknown_header", "'started_at', 'origin_lat'", "Required columns not found", "origin_lng", "feeds: [{name:"
    ),
)
case(
    "column renamed upstream",
    PLAIN.replace("started_at", "begun", 1),
    refused("unknown_header", "'begun'", "started_at", "feeds: [{name:", "H3_PIPELINE_FEEDS"),
)
case("column added upstream", text(line("new"), header=HEADER + ",added"), Accepted(1))
case(
    "header in other case and with spaces",
    PLAIN.replace(HEADER, " Started At ,ENDED_AT,Origin Lat,origin_lng,x,y"),
    Accepted(3),
)
case("no header", PLAIN.split("\n", 1)[1], refused("unknown_header", "not a header", "has_header: false"))
case("header repeated inside", beside(HEADER), rejects("invalid_started_at", raw=[HEADER]))
case("binary", bytes(range(1, 256)) * 20, refused("undecodable"))
case("html", "<html><body>404 Not Found</body></html>\n" * 3, refused("unknown_header"))
case("json", '{"started_at": "2024-03-01T08:00:00Z",\n"origin_lat": 40.7}\n', refused("unknown_header"))

# Coordinates
for number in ("NaN", "nan", "inf", "-inf", "Infinity", "1e999", "40,7", "4O.7", "40.7N", "0x28", "--40.7", "4_0"):
    case(f"origin {number}", beside(line(origin_lat=f'"{number}"')), rejects("invalid_origin"))
case("origin empty", one_bad(origin_lng=""), rejects("missing_origin"))
case("origin NULL", one_bad(origin_lng=r"\N"), rejects("missing_origin"))
case("origin 404.97", one_bad(origin_lng="404.97"), rejects("origin_out_of_range"))
case("origin swapped", one_bad(origin_lat="-174.0", origin_lng="40.7"), rejects("origin_out_of_range"))
case("origin at 90.0000001", one_bad(origin_lat="90.0000001"), rejects("origin_out_of_range"))
case("origin at (0, 0)", one_bad(origin_lat="0", origin_lng="0.000"), rejects("origin_null_island"))
case("origin at (-0, -0)", one_bad(origin_lat="-0.0", origin_lng="-0"), rejects("origin_null_island"))
case("origin on the equator", one_bad(origin_lat="-0.0"), Accepted(3, values={"origin_lng": [-74.0] * 3}))
case("poles", text(*[line(origin_lat=lat) for lat in ("90", "-90")]), Accepted(2, values={"origin_lat": [90.0, -90.0]}))
case(
    "plus and minus 180",
    text(*[line(origin_lng=lng) for lng in ("180", "-180")]),
    Accepted(2, values={"origin_lng": [180.0, -180.0]}),
)
case(
    "across the antimeridian",
    text(line(origin_lat="-16.8", origin_lng="179.99", destination_lat="-16.8", destination_lng="-179.99")),
    Accepted(1, values={"origin_lng": [179.99], "destination_lng": [-179.99]}),
)
case(
    "exponents",
    text(line(origin_lat="4.07e1", origin_lng="-7.4E+1")),
    Accepted(1, values={"origin_lat": [40.7], "origin_lng": [-74.0]}),
)
case(
    "destination NaN",
    one_bad(destination_lat="NaN"),
    warns("invalid_destination", destination_h3=None, destination_lng=None),
)
case("destination 404.97", one_bad(destination_lng="404.97"), warns("destination_out_of_range", destination_lat=None))
case("destination empty", one_bad(destination_lng=""), warns("missing_destination", destination_h3=None))
case(
    "destination at (0, 0)",
    one_bad(destination_lat="0", destination_lng="0"),
    warns("destination_null_island", destination_h3=None),
)
case(
    "every decimal a comma",
    text(*["2024-03-01T08:00:00Z;40,7;-74,0"] * 3, header="started_at;origin_lat;origin_lng"),
    refused("too_many_rejected", "invalid_origin: 3", "rejected/"),
)

# Optional numbers
case(
    "thousands separators",
    optional("fare_amount", '"1,234.50"', "1234.5"),
    Accepted(2, warnings={"invalid_fare_amount": 1}, values={"fare_amount": [None, 1234.5]}),
)
case(
    "decimal comma in a distance",
    optional("distance_km", '"1,5"', "1.5"),
    Accepted(2, warnings={"invalid_distance_km": 1}, values={"distance_km": [None, 1.5]}),
)
case(
    "negative and endless distances",
    optional("distance_km", "-1", "inf", "nan", "0", ""),
    Accepted(5, warnings={"invalid_distance_km": 3}, values={"distance_km": [None, None, None, 0.0, None]}),
)
case(
    "fares",
    optional("fare_amount", "-2.5", "1e39", "$5", " 7 "),
    Accepted(4, warnings={"invalid_fare_amount": 2}, values={"fare_amount": [-2.5, None, None, 7.0]}),
)
case(
    "passengers",
    optional("passenger_count", "0", "255", "256", "-1", "1.0", "1.5", "two"),
    Accepted(
        7, warnings={"invalid_passenger_count": 4}, values={"passenger_count": [0, 255, None, None, 1, None, None]}
    ),
)

# Times
case("time empty", one_bad(started_at=""), rejects("missing_started_at"))
case(
    "time of another format",
    beside(
        *[
            line(started_at=t)
            for t in (
                "2024-03-01 08:00:00Z",
                "03/01/2024 08:00",
                "2024-03-01",
                "8:00",
                "1709280000",
                "2024-03-01T08:00:00",
                "yesterday",
                "-2024-03-01T08:00:00Z",
            )
        ]
    ),
    rejects("invalid_started_at", 8),
)
case(
    "dates that are none",
    beside(
        *[
            line(started_at=f"{t}T08:00:00Z")
            for t in ("2023-02-29", "2100-02-29", "2024-02-30", "2024-13-01", "2024-00-10", "2024-04-31", "2024-04-00")
        ]
    ),
    rejects("invalid_started_at", 7),
)
case(
    "times that are none",
    beside(*[line(started_at=f"2024-03-01T{t}Z") for t in ("24:00:00", "08:60:00", "08:00:61", "-1:00:00")]),
    rejects("invalid_started_at", 4),
)
case(
    "leap days",
    text(*[line(started_at=f"{y}-02-29T08:00:00Z", ended_at="") for y in (2000, 2024)]),
    Accepted(
        2, warnings={"missing_ended_at": 2}, values={"started_at": ["2000-02-29 08:00:00", "2024-02-29 08:00:00"]}
    ),
)
case("before 1970", one_bad(started_at="1969-12-31T23:59:59Z"), rejects("started_at_out_of_range"))
case("after 2106", one_bad(started_at="2106-02-07T06:28:16Z"), rejects("started_at_out_of_range"))
case(
    "1970 and 2106 themselves",
    text(*[line(started_at=t, ended_at="") for t in ("1970-01-01T00:00:00Z", "2106-02-07T06:28:15Z")]),
    Accepted(
        2, warnings={"missing_ended_at": 2}, values={"started_at": ["1970-01-01 00:00:00", "2106-02-07 06:28:15"]}
    ),
)
case("ends before it starts", one_bad(ended_at="2024-03-01T07:59:59Z"), rejects("ends_before_start"))
case("takes no time", one_bad(ended_at="2024-03-01T08:00:00Z"), FINE)
case("end cannot be read", one_bad(ended_at="later"), warns("invalid_ended_at", ended_at=None))
case("end after 2106", one_bad(ended_at="2107-01-01T00:00:00Z"), warns("ended_at_out_of_range", ended_at=None))
case(
    "day first, proved",
    local("13/03/2024 08:00", "01/03/2024 08:00"),
    Accepted(
        2, warnings={"timezone_assumed_utc": 2}, values={"started_at": ["2024-03-13 08:00:00", "2024-03-01 08:00:00"]}
    ),
)
case(
    "month first, proved",
    local("3/13/2024 8:00", "3/1/2024 8:00"),
    Accepted(
        2, warnings={"timezone_assumed_utc": 2}, values={"started_at": ["2024-03-13 08:00:00", "2024-03-01 08:00:00"]}
    ),
)
case(
    "day or month first",
    local("01/03/2024 08:00", "02/03/2024 08:00"),
    refused("ambiguous_dates", "Month first", "Day first"),
)
case(
    "day first and month first",
    local("13/03/2024 08:00", "03/13/2024 08:00"),
    refused("mixed_dates", "line 2", "line 3"),
)
case("unknown times", local("Friday", "Saturday"), refused("unknown_time_format", "'Friday'", "Known formats"))
case(
    "am and pm",
    local("3/13/2024 12:00:00 AM", "3/13/2024 12:30:00 PM", "3/13/2024 1:00:00 pm"),
    Accepted(
        3,
        warnings={"timezone_assumed_utc": 3},
        values={"started_at": ["2024-03-13 00:00:00", "2024-03-13 12:30:00", "2024-03-13 13:00:00"]},
    ),
)
case(
    "13 pm",
    local("3/13/2024 11:00:00 AM", "3/13/2024 13:00:00 PM"),
    Accepted(2, {"invalid_started_at": 1}, {"timezone_assumed_utc": 1}),
)
case(
    "offsets",
    local("2024-03-01T08:00:00+02:00", "2024-03-01T08:00:00-0530", "2024-03-01T08:00:00Z"),
    Accepted(
        3,
        values={
            "started_at": ["2024-03-01 06:00:00", "2024-03-01 13:30:00", "2024-03-01 08:00:00"],
            "utc_offset_minutes": [120, -330, 0],
        },
    ),
)
case(
    "offset of 99 hours",
    local("2024-03-01T08:00:00+02:00", "2024-03-01T08:00:00+99:00"),
    Accepted(2, {"invalid_started_at": 1}),
)
case(
    "fractions are cut",
    local("2024-03-01T08:00:00.999999Z", "2024-03-01T08:00:00Z"),
    Accepted(2, values={"started_at": ["2024-03-01 08:00:00"] * 2}),
)
case("epoch seconds", local(f"{EPOCH}", f"{EPOCH}.9"), Accepted(2, values={"started_at": ["2024-03-01 08:00:00"] * 2}))
case(
    "epoch milliseconds",
    local(f"{EPOCH}999", f"{EPOCH}000"),
    Accepted(2, values={"started_at": ["2024-03-01 08:00:00"] * 2}),
)
case("epoch seconds beyond 2106", local(*[str(EPOCH)] * 2, str(2**32)), Accepted(3, {"started_at_out_of_range": 1}))
case("epoch that is none", local(*[str(EPOCH)] * 3, "nan", "inf", "1e99"), Accepted(6, {"invalid_started_at": 3}))
case(
    "clocks put forward",
    local("2024-03-10 01:59:59", "2024-03-10 02:30:00", "2024-03-10 03:00:00"),
    Accepted(
        3,
        warnings={"local_time_in_gap": 1},
        values={
            "started_at": ["2024-03-10 06:59:59", "2024-03-10 07:30:00", "2024-03-10 07:00:00"],
            "utc_offset_minutes": [-300, -240, -240],
        },
    ),
    feeds=NEW_YORK,
)
case(
    "clocks put back",
    local("2024-11-03 00:59:59", "2024-11-03 01:30:00", "2024-11-03 02:00:00"),
    Accepted(
        3,
        warnings={"local_time_in_fold": 1},
        values={
            "started_at": ["2024-11-03 04:59:59", "2024-11-03 05:30:00", "2024-11-03 07:00:00"],
            "utc_offset_minutes": [-240, -240, -300],
        },
    ),
    feeds=NEW_YORK,
)

# NUL bytes
case("nul early", PLAIN.replace("40.7", "40\0.7", 1), refused("nul_bytes", "Line 2", "'origin_lat'", "tr -d"))
case("nul late", lambda: (LONG + line(origin_lat="4\0")).encode(), refused("nul_bytes", "Row 40001"))
case("nothing but nul", b"\0" * 10_000, refused("nul_bytes"))

# Archives
PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
for packer, pack in PACKERS.items():
    case(packer, pack(PLAIN.encode()), FINE, key=f"{packer}.csv")
    case(f"{packer} in two parts", pack(PLAIN[:100].encode()) + pack(PLAIN[100:].encode()), FINE)
    case(f"{packer}, cut off", pack(PLAIN.encode())[:-9], refused("truncated_archive"))
    case(f"{packer}, long, cut off", lambda pack=pack: pack(LONG.encode())[:-1000], refused("truncated_archive"))
    case(f"{packer} in {packer}", pack(pack(PLAIN.encode())), refused("nested_archive", packer))
    case(f"{packer} of nothing", pack(b""), refused("empty", packer))
    case(
        f"{packer}, cut off, odd key",
        lambda pack=pack: pack(LONG.encode())[:-1000],
        refused("truncated_archive"),
        key=f"a*{packer}",
    )
case("xz, damaged inside", lambda: damaged(lzma.compress(LONG.encode())), refused("corrupt_archive", "damaged"))
case("gzip named zst", gzip.compress(PLAIN.encode()), FINE, key="trips.csv.zst")
case("plain text named gz", PLAIN, FINE, key="trips.csv.gz")
case("zip", zipped({"trips.csv": PLAIN}), FINE)
case(
    "zip with a note and macOS files",
    zipped({"data/trips.csv": PLAIN, "readme.txt": "x", "__MACOSX/._trips.csv": "x"}),
    FINE,
)
case("zip with two files", zipped({"a.csv": PLAIN, "b.csv": PLAIN}), refused("archive_members", "a.csv", "b.csv"))
case("zip with none", zipped({}), refused("archive_members"))
case("zip, cut off", zipped({"trips.csv": PLAIN})[:-30], refused("truncated_archive"))
case("zip in zip", zipped({"trips.csv": zipped({"trips.csv": PLAIN})}), refused("nested_archive"))
case("excel workbook", zipped({"[Content_Types].xml": "x", "xl/workbook.xml": "x"}), refused("not_csv", "Excel"))
case("parquet", b"PAR1\x15\x04\x15" + bytes(100), refused("not_csv", "Parquet"))
case("7-zip", b"7z\xbc\xaf\x27\x1c" + bytes(100), refused("unsupported_compression", "7-Zip"))


def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    """A hundred times the same million bytes, packed to a small part in a thousand."""
    return pack((HEADER + "\n").encode()) + 100 * pack((GOOD + "\n").encode() * (1_000_000 // len(GOOD)))


for packer, pack in PACKERS.items():
    case(f"{packer} bomb", lambda pack=pack: bomb(pack), refused("archive_too_large"))
case("zip bomb", lambda: zipped({"trips.csv": HEADER + "\n" + (GOOD + "\n") * 1_300_000}), refused("archive_too_large"))

# Words for other ears: SQL, spreadsheets
SQL = "'); DROP TABLE trips; --"
case(
    "sql in a value",
    optional("region", SQL, "{x:String}", "%s %(a)s", "\\'; --"),
    Accepted(4, values={"region": [SQL, "{x:String}", "%s %(a)s", "\\'; --"]}),
)
case("sql in a column", text(line("x"), header=f'{HEADER},"{SQL}"'), Accepted(1))
case("sql in a required column", PLAIN.replace("started_at", SQL, 1), refused("unknown_header", "DROP TABLE"))
case("sql in the key", PLAIN, FINE, key=f"{SQL}.csv")
case("sql in a refused row", beside(line(origin_lat=SQL)), rejects("invalid_origin", raw=[line(origin_lat=SQL)]))
case(
    "spreadsheet formulas",
    optional("region", '"=HYPERLINK(""http://x"")"', "+1", "@SUM(A1)", "-2"),
    Accepted(4, values={"region": ['=HYPERLINK("http://x")', "+1", "@SUM(A1)", "-2"]}),
)

# Keys
case("unicode key", PLAIN, FINE, key="Zürich/東京 🚕.csv")
case("key of 1,024 bytes", PLAIN, FINE, key="/".join(["k" * 200] * 5) + "/" + "k" * (1024 - len("uploads/") - 5 * 201))
case("unicode key of 1,016 bytes", PLAIN, FINE, key="/".join(["東" * 80] * 4) + "/" + "東" * 14)
case("key that climbs", PLAIN, FINE, key="a/..b/...c/x..csv")
case("key of pattern signs", PLAIN, FINE, key="a*b?c{1..3}{x,y}[z].csv")
case("key of percents and pluses", PLAIN, FINE, key="a%2Fb+c d&e=f#g.csv")
case("key like a partition", PLAIN, FINE, key="origin_lat=1/started_at=2/trips.csv")
case("key with quotes and backslash", PLAIN, FINE, key="a'b\"c\\d.csv")

# Dialects
for name, delimiter in (("semicolons", ";"), ("tabs", "\t"), ("bars", "|")):
    case(name, PLAIN.replace(",", delimiter), FINE)
case(
    "tabs and empty fields",
    text("2024-03-01T08:00:00Z\t\t40.7\t-74.0\t\t", header=HEADER.replace(",", "\t")),
    Accepted(1, warnings={"missing_ended_at": 1, "missing_destination": 1}),
)
case("spaces after commas", PLAIN.replace(",", ", "), FINE)
case("spaces after commas, quoted", QUOTED.replace(",", ", "), FINE)
case("spaces around fields", text(*[" , ".join(TRIP.values())] * 3), FINE)
case("tabs around fields", text("\t,\t".join(TRIP.values())), Accepted(1))
case(
    "columns in another order",
    text(",".join(reversed(TRIP.values())), header=",".join(reversed(NAMES))),
    Accepted(1, values={"origin_lat": [40.7], "destination_lng": [-73.9]}),
)
case(
    "more than half is bad",
    text(GOOD, *[line(origin_lat="x")] * 2),
    refused("too_many_rejected", "2 of 3", "66.7%", "H3_MAX_REJECT_RATIO"),
)
case("exactly half is bad", text(GOOD, line(origin_lat="x")), Accepted(2, {"invalid_origin": 1}))
case("one row, bad", text(line(origin_lat="x")), refused("too_many_rejected", "no row can be loaded"))
