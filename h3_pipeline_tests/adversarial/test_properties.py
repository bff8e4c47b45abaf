"""Whatever trips, written in whatever way, come back as they were; and no bytes whatever break anything."""

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import h3
import pandas as pd
from backports import zstd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from h3_pipeline.errors import UploadRefused
from h3_pipeline_tests.adversarial.corpus import GOOD, HEADER, line, text
from h3_pipeline_tests.adversarial.test_bad_files import assert_conserved
from h3_pipeline_tests.uploads import Processing


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        # shrinking would cost more than it tells: the examples are small
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


COLUMNS = ("started_at", "ended_at", "origin_lat", "origin_lng", "destination_lat", "destination_lng", "region", "note")
PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
TIMES: dict[str, Callable[[datetime], str]] = {
    "iso": lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "spaced": lambda t: t.strftime("%Y-%m-%d %H:%M:%S UTC"),
    "offset": lambda t: (t + timedelta(hours=5, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30"),
    "fraction": lambda t: t.strftime("%Y/%m/%d %H:%M:%S.25Z"),
    "twelve": lambda t: t.strftime("%Y-%m-%d %I:%M:%S %p Z"),
    "epoch": lambda t: str(int(t.timestamp())),
    "milliseconds": lambda t: str(int(t.timestamp() * 1000) + 7),
}

degrees = st.floats(-90, 90).map(lambda number: round(number, 6)).filter(bool)
seconds = st.integers(200_000_000, 4_200_000_000)  # 1976 to 2103, which no other reading fits
instants = seconds.map(lambda count: datetime.fromtimestamp(count, UTC))
printable = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@dataclass(frozen=True)
class Trip:
    started_at: datetime
    ended_at: datetime | None
    origin: tuple[float, float]
    destination: tuple[float, float] | None
    region: str
    note: str


@st.composite
def trips(draw: st.DrawFn) -> Trip:
    started_at = draw(instants)
    lasts = draw(st.none() | st.integers(0, 100_000))
    return Trip(
        started_at,
        None if lasts is None else started_at + timedelta(seconds=lasts),
        draw(st.tuples(degrees, degrees)),
        draw(st.none() | st.tuples(degrees, degrees)),
        # a value is trimmed, and some words are none
        draw(printable.map(str.strip).filter(lambda word: word not in ("NULL", "null", r"\N") and word.isprintable())),
        draw(printable),
    )


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quoting: int
    line_end: str
    mark: bool
    packing: str
    time: str
    upper: bool
    order: tuple[str, ...]
    final_newline: bool

    def write(self, rows: list[Trip]) -> bytes:
        written = io.StringIO(newline="")
        writer = csv.writer(
            written,
            delimiter=self.delimiter,
            quoting=self.quoting,  # type: ignore[arg-type]
            lineterminator=self.line_end,
        )
        writer.writerow([name.upper().replace("_", " ") if self.upper else name for name in self.order])
        for row in rows:
            fields = self._fields(row)
            writer.writerow([fields[name] for name in self.order])
        content = written.getvalue()
        if not self.final_newline:
            content = content.removesuffix(self.line_end)
        return PACK[self.packing]((b"\xef\xbb\xbf" if self.mark else b"") + content.encode())

    def _fields(self, row: Trip) -> dict[str, str]:
        write = TIMES[self.time]
        ends = row.destination or ("", "")
        return {
            "started_at": write(row.started_at),
            "ended_at": write(row.ended_at) if row.ended_at else "",
            "origin_lat": str(row.origin[0]),
            "origin_lng": str(row.origin[1]),
            "destination_lat": str(ends[0]),
            "destination_lng": str(ends[1]),
            "region": row.region,
            "note": row.note,
        }


dialects = st.builds(
    Dialect,
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    packing=st.sampled_from(list(PACK)),
    time=st.sampled_from(list(TIMES)),
    upper=st.booleans(),
    order=st.permutations(COLUMNS).map(tuple),
    final_newline=st.booleans(),
)


def seen(value: Any) -> Any:
    return None if pd.isna(value) else value


def cell(point: tuple[float, float]) -> int:
    return h3.str_to_int(h3.latlng_to_cell(*point, 10))


@bounded(40)
@given(rows=st.lists(trips(), min_size=1, max_size=8), dialect=dialects)
def test_trips_come_back_as_they_were_written(process: Processing, rows: list[Trip], dialect: Dialect) -> None:
    processed = process(dialect.write(rows), "property.csv")
    assert_conserved(processed)
    assert processed.manifest.rejected == {}
    found = processed.trips
    assert list(found["row_number"]) == list(range(1, len(rows) + 1))
    for record, row in zip(found.to_dict("records"), rows, strict=True):
        wanted = {
            "region": row.region,
            "started_at": f"{row.started_at:%Y-%m-%d %H:%M:%S}",
            "ended_at": f"{row.ended_at:%Y-%m-%d %H:%M:%S}" if row.ended_at else None,
            "origin_lat": row.origin[0],
            "origin_lng": row.origin[1],
            "destination_lat": row.destination[0] if row.destination else None,
            "destination_lng": row.destination[1] if row.destination else None,
            "origin_h3": cell(row.origin),
            "destination_h3": cell(row.destination) if row.destination else None,
        }
        assert {name: seen(record[name]) for name in wanted} == wanted


VALID = text(*[line("Zürich", '"a ""b"" c"', '"d\ne"')] * 10, header=f"{HEADER},region,note,other").encode()
SPICES = [
    b'"',
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\",
    b"'",
    b";",
    b"\t",
    b"\x1f\x8b",
    b"-",
    b"nan",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file with pieces cut out, put in, doubled, replaced; perhaps packed before or after."""
    pack = PACK[draw(st.sampled_from(list(PACK)))]
    before = draw(st.booleans())
    content = pack(VALID) if before else VALID
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 40))
        piece = draw(st.sampled_from(SPICES) | st.binary(max_size=8) | st.just(content[at : at + size]))
        content = content[:at] + piece + content[at + draw(st.sampled_from([0, 0, 1, size])) :]
    return content if before else pack(content)


def assert_a_verdict(process: Processing, content: bytes) -> None:
    """The content is accepted, every row of it accounted for, or refused; anything else is raised."""
    try:
        processed = process(content, "random.csv", max_reject_ratio=1)
    except UploadRefused as error:
        refusal = error
    else:
        assert_conserved(processed)
        return
    assert refusal.code
    assert "\n" not in str(refusal)


@bounded(50)
@given(content=mutated())
def test_a_damaged_file_is_loaded_without_loss_or_refused(process: Processing, content: bytes) -> None:
    assert_a_verdict(process, content)


@bounded(60)
@given(content=st.binary(max_size=300) | st.binary(max_size=300).map(lambda noise: VALID[:60] + noise))
def test_random_bytes_are_a_file_or_are_refused(process: Processing, content: bytes) -> None:
    assert_a_verdict(process, content)


@bounded(40)
@given(
    content=st.lists(
        st.sampled_from([GOOD, "", '"', ",", "\r", " ", '"x', 'x"', ",,,,,,,,", "NULL", '""']), max_size=12
    )
)
def test_odd_lines_below_a_header_are_counted_or_refused(process: Processing, content: list[str]) -> None:
    assert_a_verdict(process, text(*content).encode())
