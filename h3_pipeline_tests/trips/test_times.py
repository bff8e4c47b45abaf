"""Timestamps: the engine against Python's own calendar and zones."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.trips.times import MAX_TIMESTAMP, instant_stages
from h3_pipeline.trips.upload import TimeFormat
from h3_pipeline_tests.engine import evaluate

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLAIN = TimeFormat()
ZONES = (
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Casablanca",  # winter time is the one that is set by law, and Ramadan interrupts the other
    "Asia/Kathmandu",
    "Europe/Dublin",  # likewise, and the summer time is the standard
    "America/Chicago",
    "America/Caracas",
    "America/Sao_Paulo",  # changes at midnight
    "Asia/Kolkata",
    "Asia/Tehran",
    "Europe/Lisbon",
    "Pacific/Apia",  # left out a whole day
    "Pacific/Chatham",
)

quickly = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Instant(NamedTuple):
    utc: int | None
    offset: int
    gap: bool
    fold: bool


@cache
def zone(name: str) -> ZoneInfo:
    """A zone from the wheel, which is as new as the engine's own; the system's may be years old."""
    with (resources.files("tzdata.zoneinfo") / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def seconds(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(seconds=1)


def read(engine: ClickHouse, time_format: TimeFormat, timezone: str, *texts: str) -> list[Instant]:
    rows = evaluate(engine, instant_stages("x", time_format, timezone), x_text=texts)
    return [Instant(row["x_utc"], row["x_offset"], bool(row["x_gap"]), bool(row["x_fold"])) for row in rows]


def utc_of(engine: ClickHouse, time_format: TimeFormat, *texts: str, timezone: str = "UTC") -> list[int | None]:
    return [instant.utc for instant in read(engine, time_format, timezone, *texts)]


def expected_in_zone(naive: datetime, name: str) -> Instant:
    """What the wall clock's time means: in a gap it moves forward, in a fold it is the earlier."""
    aware = naive.replace(tzinfo=zone(name), fold=0)
    instant = aware.astimezone(UTC)
    local = instant.astimezone(zone(name))
    gap = local.replace(tzinfo=None) != naive
    fold = not gap and aware.utcoffset() != aware.replace(fold=1).utcoffset()
    offset = local.utcoffset()
    assert offset is not None
    return Instant(seconds(instant), offset // timedelta(seconds=1), gap, fold)


@cache
def clock_changes(name: str) -> list[tuple[datetime, timedelta, timedelta]]:
    """Instants of 1981 to 2025 at which the zone's clocks change, with the offsets before and after."""
    days = range((datetime(2026, 1, 1) - datetime(1981, 1, 1)).days)
    noons = [datetime(1981, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in days]
    changes = []
    for early, late in pairwise(noons):
        before, after = (instant.astimezone(zone(name)).utcoffset() or timedelta() for instant in (early, late))
        if before == after:
            continue
        first, last = early, late
        while last - first > timedelta(minutes=1):
            middle = first + (last - first) // 2
            middle = middle.replace(second=0, microsecond=0)
            if middle.astimezone(zone(name)).utcoffset() == before:
                first = middle
            else:
                last = middle
        changes.append((last, before, after))
    return changes


class TestZones:
    @pytest.mark.parametrize("name", ZONES)
    def test_every_time_around_every_change_of_clocks_is_read_as_python_does(
        self, engine: ClickHouse, name: str
    ) -> None:
        minutes = (-1500, -181, -61, -60, -31, -30, -1, 0, 1, 29, 30, 31, 59, 60, 61, 181, 1500)
        naives = sorted(
            (change + offset).replace(tzinfo=None) + timedelta(minutes=minute)
            for change, *offsets in clock_changes(name)
            for offset in offsets
            for minute in minutes
        )
        assert naives or name == "Asia/Kolkata"
        naives += [datetime(year, 1 + year % 12, 15, 12) for year in range(1971, 2026)]
        found = read(engine, PLAIN, name, *map(str, naives))
        wrong = [
            (str(naive), instant, expected_in_zone(naive, name))
            for naive, instant in zip(naives, found, strict=True)
            if instant != expected_in_zone(naive, name)
        ]
        assert wrong == []

    def test_the_zones_have_gaps_and_folds_of_several_widths(self) -> None:
        widths = {after - before for name in ZONES for _, before, after in clock_changes(name)}
        assert {timedelta(hours=1), timedelta(minutes=30), timedelta(days=1), -timedelta(minutes=30)} <= widths

    @quickly
    @given(
        name=st.sampled_from(ZONES),
        naives=st.lists(st.datetimes(datetime(1981, 1, 1), datetime(2025, 12, 31)), min_size=20, max_size=20),
    )
    def test_any_time_is_read_as_python_does(self, engine: ClickHouse, name: str, naives: list[datetime]) -> None:
        naives = [naive.replace(microsecond=0) for naive in naives]
        assert read(engine, PLAIN, name, *map(str, naives)) == [expected_in_zone(naive, name) for naive in naives]

    @pytest.mark.parametrize("name", ["America/New_York", "Europe/Dublin", "Australia/Lord_Howe"])
    def test_rules_of_today_hold_until_the_last_year(self, engine: ClickHouse, name: str) -> None:
        naives = [datetime(year, month, 14, 13, 7, 1) for year in range(2026, 2106) for month in (1, 4, 7, 10)]
        assert read(engine, PLAIN, name, *map(str, naives)) == [expected_in_zone(naive, name) for naive in naives]

    def test_a_time_in_a_gap_moves_forward_and_one_in_a_fold_is_the_earlier(self, engine: ClickHouse) -> None:
        gap, fold = read(engine, PLAIN, "America/New_York", "2015-03-08 02:30:00", "2015-11-01 01:30:00")
        assert gap == Instant(seconds(datetime(2015, 3, 8, 7, 30, tzinfo=UTC)), -4 * 3600, gap=True, fold=False)
        assert fold == Instant(seconds(datetime(2015, 11, 1, 5, 30, tzinfo=UTC)), -4 * 3600, gap=False, fold=True)

    def test_the_first_trip_of_january_2015(self, engine: ClickHouse) -> None:
        assert read(engine, PLAIN, "America/New_York", "2015-01-15 19:05:39") == [
            Instant(seconds(datetime(2015, 1, 16, 0, 5, 39, tzinfo=UTC)), -5 * 3600, gap=False, fold=False)
        ]


# A reader of its own, by regular expression and calendar, to hold against the engine's.


def pattern(time_format: TimeFormat) -> re.Pattern[str]:
    parts = {"y": r"(?P<y>\d{4})", "m": r"(?P<m>\d{1,2})", "d": r"(?P<d>\d{1,2})"}
    date = re.escape(time_format.date_separator).join(parts[part] for part in time_format.order)
    clock = r"(?P<H>\d{1,2}):(?P<M>\d{1,2})" + (r":(?P<S>\d{1,2})" if time_format.has_seconds else "")
    clock += r"(?:\.\d+)?" if time_format.fraction else ""
    clock += " (?P<half>[AaPp][Mm])" if time_format.twelve_hour else ""
    ends = {
        "none": "",
        "utc": r" *(?i:Z|UTC|GMT)",
        "offset": r" *(?:[Zz]|(?P<sign>[+-])(?P<oh>[01]\d|2[0-3]):?(?P<om>[0-5]\d))",
    }
    return re.compile(date + time_format.time_separator + clock + ends[time_format.zone], re.ASCII)


def expected(time_format: TimeFormat, text: str) -> int | None:
    match = pattern(time_format).fullmatch(text)
    if not match:
        return None
    found: dict[str, Any] = match.groupdict()
    hour = int(found["H"])
    if half := found.get("half"):
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    try:
        naive = datetime(
            int(found["y"]), int(found["m"]), int(found["d"]), hour, int(found["M"]), int(found.get("S") or 0)
        )
    except ValueError:
        return None
    offset = timedelta(hours=int(found.get("oh") or 0), minutes=int(found.get("om") or 0))
    return seconds(naive.replace(tzinfo=UTC)) - (-1 if found.get("sign") == "-" else 1) * (
        offset // timedelta(seconds=1)
    )


def written(time_format: TimeFormat, moment: datetime, *, padded: bool, offset: str, half: str) -> str:
    """A time as a file in this format writes it."""
    digits = "02d" if padded else "d"
    parts = {"y": f"{moment.year:04d}", "m": f"{moment.month:{digits}}", "d": f"{moment.day:{digits}}"}
    hour = (moment.hour + 11) % 12 + 1 if time_format.twelve_hour else moment.hour
    text = time_format.date_separator.join(parts[part] for part in time_format.order) + time_format.time_separator
    text += f"{hour:{digits}}:{moment.minute:02d}" + (f":{moment.second:02d}" if time_format.has_seconds else "")
    text += f".{moment.microsecond:06d}" if time_format.fraction else ""
    text += f" {half}" if time_format.twelve_hour else ""
    return text + {"none": "", "utc": " UTC", "offset": offset}[time_format.zone]


@st.composite
def time_formats(draw: st.DrawFn) -> TimeFormat:
    has_seconds = draw(st.booleans())
    return TimeFormat(
        order=draw(st.sampled_from(["ymd", "mdy", "dmy"])),
        date_separator=draw(st.sampled_from(["-", "/", "."])),
        time_separator=draw(st.sampled_from([" ", "T"])),
        has_seconds=has_seconds,
        twelve_hour=draw(st.booleans()),
        fraction=has_seconds and draw(st.booleans()),
        zone=draw(st.sampled_from(["none", "utc", "offset"])),
    )


@st.composite
def texts(draw: st.DrawFn, time_format: TimeFormat) -> str:
    """A time in the format, often with a sign too many, too few, or another."""
    text = written(
        time_format,
        draw(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))),
        padded=draw(st.booleans()),
        offset=draw(st.sampled_from(["Z", "+00:00", "-0500", "+05:45", " -03:30", "+14:00", "-23:59"])),
        half=draw(st.sampled_from(["AM", "PM", "am", "pm"])),
    )
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text) - 1))
        sign = draw(st.sampled_from(["", *"0123456789+-/.: TZAPMUCGz"]))
        text = text[:place] + sign + text[place + draw(st.integers(0, 1)) :]
    return text.strip()


class TestFormats:
    @settings(quickly, max_examples=80)
    @given(data=st.data(), time_format=time_formats())
    def test_a_text_is_read_as_the_format_says_or_not_at_all(
        self, engine: ClickHouse, data: st.DataObject, time_format: TimeFormat
    ) -> None:
        candidates = data.draw(st.lists(texts(time_format), min_size=10, max_size=10))
        found = utc_of(engine, time_format, *candidates)
        assert dict(zip(candidates, found, strict=True)) == {text: expected(time_format, text) for text in candidates}

    def test_one_digit_is_as_good_as_two(self, engine: ClickHouse) -> None:
        month_first = TimeFormat(order="mdy", date_separator="/", has_seconds=False)
        assert (
            utc_of(engine, month_first, "4/1/2014 0:11", "04/01/2014 00:11")
            == [seconds(datetime(2014, 4, 1, 0, 11, tzinfo=UTC))] * 2
        )

    def test_the_order_of_day_and_month_is_the_formats(self, engine: ClickHouse) -> None:
        assert utc_of(
            engine, TimeFormat(order="dmy", date_separator="."), "2.1.2015 00:00:00", "1.13.2015 00:00:00"
        ) == [
            seconds(datetime(2015, 1, 2, tzinfo=UTC)),
            None,
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "15-01-15 19:05:39",
            "215-01-15 19:05:39",
            "02015-01-15 19:05:39",
            "+2015-01-15 19:05:39",
            "-2015-01-15 19:05:39",
            "2015-001-15 19:05:39",
            "2015--1-15 19:05:39",
            "2015-02-29 00:00:00",
            "2015-13-01 00:00:00",
            "2015-00-01 00:00:00",
            "2015-01-15 24:00:00",
            "2015-01-15 19:60:00",
            "2015-01-15 19:05:60",
            "2015-01-15 19:05",
            "2015-01-15",
            "2015/01/15 19:05:39",
            "2015-01-15T19:05:39",
            "2015-01-15  19:05:39",
            "2015-01-15 19:05:39.5",
            "2015-01-15 19:05:39Z",
            "2015-01-15 19:05:39 AM",
            "yesterday",
            "1421348739",
        ],
    )
    def test_what_is_not_in_the_format_is_not_guessed(self, engine: ClickHouse, text: str) -> None:
        assert utc_of(engine, PLAIN, text) == [None]

    def test_fractions_are_cut_with_or_without_a_half_of_the_day(self, engine: ClickHouse) -> None:
        fraction = TimeFormat(fraction=True)
        assert utc_of(
            engine, fraction, "2015-01-15 19:05:39.999999999", "2015-01-15 19:05:39", "2015-01-15 19:05:39."
        ) == [
            seconds(datetime(2015, 1, 15, 19, 5, 39, tzinfo=UTC)),
            seconds(datetime(2015, 1, 15, 19, 5, 39, tzinfo=UTC)),
            None,
        ]
        half = replace(fraction, twelve_hour=True)
        assert utc_of(engine, half, "2015-01-15 07:05:39.987 PM", "2015-01-15 12:00:00.1 AM") == [
            seconds(datetime(2015, 1, 15, 19, 5, 39, tzinfo=UTC)),
            seconds(datetime(2015, 1, 15, tzinfo=UTC)),
        ]

    def test_dots_in_the_date_are_no_fraction(self, engine: ClickHouse) -> None:
        dots = TimeFormat(order="dmy", date_separator=".", fraction=True)
        assert (
            utc_of(engine, dots, "5.1.2015 19:05:39", "5.1.2015 19:05:39.5")
            == [seconds(datetime(2015, 1, 5, 19, 5, 39, tzinfo=UTC))] * 2
        )

    @pytest.mark.parametrize("text", ["2015-01-15 12:30:00 AM", "2015-01-15 12:30:00 PM", "2015-01-15 1:30:00 pm"])
    def test_twelve_hours(self, engine: ClickHouse, text: str) -> None:
        moment = datetime.strptime(text, "%Y-%m-%d %I:%M:%S %p").replace(tzinfo=UTC)
        assert utc_of(engine, TimeFormat(twelve_hour=True), text) == [seconds(moment)]

    @pytest.mark.parametrize("text", ["2015-01-15 13:30:00 PM", "2015-01-15 0:30:00 AM", "2015-01-15 1:30:00"])
    def test_no_thirteenth_hour_of_twelve(self, engine: ClickHouse, text: str) -> None:
        assert utc_of(engine, TimeFormat(twelve_hour=True), text) == [None]

    @pytest.mark.parametrize(
        ("text", "year"),
        [
            ("1800-01-01 00:00:00", 1800),
            ("1969-12-31 23:59:59", 1969),
            ("1970-01-01 00:00:00", 1970),
            ("2106-02-07 06:28:15", 2106),
            ("2106-02-07 06:28:16", 2106),
            ("2200-01-01 00:00:00", 2200),
            ("3000-01-01 00:00:00", 3000),
            ("9999-12-31 23:59:59", 9999),
        ],
    )
    def test_dates_far_away_are_read_so_that_a_rule_can_tell_them(
        self, engine: ClickHouse, text: str, year: int
    ) -> None:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        assert moment.year == year
        assert utc_of(engine, PLAIN, text) == [seconds(moment)]

    def test_the_range_is_that_of_a_clickhouse_datetime(self, engine: ClickHouse) -> None:
        assert utc_of(engine, PLAIN, "2106-02-07 06:28:15") == [MAX_TIMESTAMP]
        assert engine.value(f"SELECT toUnixTimestamp(toDateTime({MAX_TIMESTAMP}, 'UTC'))") == MAX_TIMESTAMP


class TestStatedZones:
    offset = TimeFormat(time_separator="T", zone="offset")

    @pytest.mark.parametrize(
        ("ending", "minutes"), [("+02:00", 120), ("-0500", -300), ("+05:45", 345), ("-00:30", -30), ("+14:00", 840)]
    )
    def test_an_offset_outranks_the_feeds_zone(self, engine: ClickHouse, ending: str, minutes: int) -> None:
        local = datetime(2015, 7, 15, 19, 5, 39, tzinfo=timezone(timedelta(minutes=minutes)))
        for name in ("UTC", "America/New_York"):
            assert read(engine, self.offset, name, "2015-07-15T19:05:39" + ending) == [
                Instant(seconds(local), minutes * 60, gap=False, fold=False)
            ]

    @pytest.mark.parametrize(
        "ending", ["", "+", "+5", "+05", "+24:00", "+02:60", "+99:99", "UTC", "+05:45:00", "+0545x"]
    )
    def test_an_ending_that_is_no_offset_is_not_guessed(self, engine: ClickHouse, ending: str) -> None:
        assert utc_of(engine, self.offset, "2015-07-15T19:05:39" + ending) == [None]

    @pytest.mark.parametrize("ending", ["Z", "z", "+00:00", "-00:00", "+0000"])
    def test_with_an_offset_of_zero_the_feeds_zone_tells_the_riders_hour(self, engine: ClickHouse, ending: str) -> None:
        instant = datetime(2015, 7, 15, 19, 5, 39, tzinfo=UTC)
        assert read(engine, self.offset, "America/New_York", "2015-07-15T19:05:39" + ending) == [
            Instant(seconds(instant), -4 * 3600, gap=False, fold=False)
        ]

    @pytest.mark.parametrize("ending", [" UTC", "UTC", " utc", " GMT", "Z", " Z"])
    def test_a_trailing_utc_outranks_the_feeds_zone(self, engine: ClickHouse, ending: str) -> None:
        instant = datetime(2015, 1, 15, 19, 5, 39, tzinfo=UTC)
        assert read(engine, TimeFormat(zone="utc"), "America/New_York", "2015-01-15 19:05:39" + ending) == [
            Instant(seconds(instant), -5 * 3600, gap=False, fold=False)
        ]

    def test_where_a_zone_is_required_a_time_without_one_is_not_guessed(self, engine: ClickHouse) -> None:
        assert utc_of(engine, TimeFormat(zone="utc"), "2015-01-15 19:05:39", timezone="America/New_York") == [None]

    def test_before_1970_in_the_written_offset(self, engine: ClickHouse) -> None:
        assert utc_of(engine, self.offset, "1970-01-01T00:00:00+01:00") == [-3600]


class TestEpochs:
    @quickly
    @given(counts=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20))
    def test_seconds(self, engine: ClickHouse, counts: list[int]) -> None:
        assert utc_of(engine, TimeFormat(kind="epoch_seconds"), *map(str, counts)) == counts

    @quickly
    @given(counts=st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=20))
    def test_milliseconds_are_cut_towards_the_past(self, engine: ClickHouse, counts: list[int]) -> None:
        found = utc_of(engine, TimeFormat(kind="epoch_milliseconds"), *map(str, counts))
        assert found == [count // 1000 for count in counts]

    def test_fractions_are_cut(self, engine: ClickHouse) -> None:
        assert utc_of(engine, TimeFormat(kind="epoch_seconds"), "1400269500.99", "1400269500.") == [1400269500] * 2
        assert utc_of(engine, TimeFormat(kind="epoch_milliseconds"), "1400269500999.9") == [1400269500]

    @pytest.mark.parametrize("text", ["abc", "0x10", "1_000", "nan", "inf", "-inf", "1e300", "2014-05-16 19:45:00"])
    def test_what_is_no_count_is_not_guessed(self, engine: ClickHouse, text: str) -> None:
        for kind in ("epoch_seconds", "epoch_milliseconds"):
            assert utc_of(engine, TimeFormat(kind=kind), text) == [None]

    def test_the_zone_tells_only_the_riders_hour(self, engine: ClickHouse) -> None:
        assert read(engine, TimeFormat(kind="epoch_seconds"), "America/Chicago", "1400269500") == [
            Instant(1400269500, -5 * 3600, gap=False, fold=False)
        ]
