import contextlib
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h3_pipeline.feeds.timeformat import (
    UndecidedTimeFormat,
    detect_time_format,
    from_strptime,
    matches,
    to_strptime,
)
from h3_pipeline.trips.upload import TimeFormat

ISO = TimeFormat()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2014-04-01 00:11:00"], ISO),
        (["2014/4/1 0:11:00"], TimeFormat(date_separator="/")),
        (["2014.04.01 0:11"], TimeFormat(date_separator=".", has_seconds=False)),
        (["2014-04-01T00:11:00Z"], TimeFormat(time_separator="T", zone="utc")),
        (["2014-04-01T00:11:00.000"], TimeFormat(time_separator="T", fraction=True)),
        (["2014-04-01 00:11:00.123456 UTC", "2014-04-01 00:11:00 UTC"], TimeFormat(fraction=True, zone="utc")),
        (["2014-04-01 00:11:00 utc", "2014-04-01 00:11:00Z"], TimeFormat(zone="utc")),
        (["2014-04-01T00:11:00+02:00"], TimeFormat(time_separator="T", zone="offset")),
        (["2014-04-01T00:11:00-0500", "2014-04-01T00:11:00Z"], TimeFormat(time_separator="T", zone="offset")),
        (["4/13/2014 0:11"], TimeFormat(order="mdy", date_separator="/", has_seconds=False)),
        (["13/4/2014 0:11"], TimeFormat(order="dmy", date_separator="/", has_seconds=False)),
        (["1.4.2014 0:11:00", "31.4.2014 0:11:00"], TimeFormat(order="dmy", date_separator=".")),
        (["01/31/2015 12:00:00 AM"], TimeFormat(order="mdy", date_separator="/", twelve_hour=True)),
        (["2015-01-31 1:05 pm"], TimeFormat(has_seconds=False, twelve_hour=True)),
        (["1400269500", "1362683700"], TimeFormat(kind="epoch_seconds")),
        (["1400269500000"], TimeFormat(kind="epoch_milliseconds")),
        (["1400269500.0"], TimeFormat(kind="epoch_seconds", fraction=True)),
        (["999999999"], TimeFormat(kind="epoch_seconds")),
    ],
)
def test_formats(values: list[str], expected: TimeFormat):
    assert detect_time_format(values) == expected
    assert all(matches(expected, value) for value in values)


def test_the_format_of_most_values_wins():
    values = ["4/13/2014 0:11"] * 2 + ["", "junk"] + ["2014-04-01 00:11:00"] * 3
    assert detect_time_format(values) == ISO


def test_a_z_counts_for_offsets():
    values = ["2014-04-01 00:00:00Z"] * 3 + ["2014-04-01 00:00:00+01:00"]
    assert detect_time_format(values).zone == "offset"


@pytest.mark.parametrize(
    "value",
    [
        "2014-04-01",  # a date
        "00:11:00",
        "14-04-01 00:11:00",  # two digits of a year
        "4/1/14 0:11",
        "2014-13-01 00:00:00",
        "2014-04-32 00:00:00",
        "2014-04-01 24:00:00",
        "2014-04-01 00:60:00",
        "13/13/2014 0:11",
        "2014-04/01 00:11:00",
        "2014-04-01 13:00 PM",
        "2014-04-01 00:11:00.",
        "2014-04-01 00:11.5",
        "20140401",
        "20140401001100",
        "1400269500000000",  # microseconds
        "-1400269500",
        "1e9",
        "٢٠١٤-٠٤-٠١ ٠٠:١١:٠٠",
        "01-Apr-2014 00:11:00",
    ],
)
def test_unknown_formats(value: str):
    with pytest.raises(UndecidedTimeFormat) as caught:
        detect_time_format(["", value])
    assert caught.value.code == "unknown_time_format"
    assert caught.value.examples == (1,)
    assert not matches(ISO, value)


def test_nothing_to_go_by():
    with pytest.raises(UndecidedTimeFormat) as caught:
        detect_time_format(["", ""])
    assert (caught.value.code, caught.value.examples) == ("unknown_time_format", ())


class TestDayAndMonth:
    AMBIGUOUS = ("1/2/2014 0:11", "3/4/2014 0:11", "5/5/2014 0:11")

    def test_ambiguous(self):
        with pytest.raises(UndecidedTimeFormat) as caught:
            detect_time_format(self.AMBIGUOUS)
        assert (caught.value.code, caught.value.examples) == ("ambiguous_dates", (0,))

    def test_one_value_decides(self):
        assert detect_time_format([*self.AMBIGUOUS, "1/13/2014 0:11"]).order == "mdy"
        assert detect_time_format([*self.AMBIGUOUS, "13/1/2014 0:11"]).order == "dmy"

    def test_both_orders(self):
        with pytest.raises(UndecidedTimeFormat) as caught:
            detect_time_format([*self.AMBIGUOUS, "13/1/2014 0:11", "1/13/2014 0:11"])
        assert (caught.value.code, caught.value.examples) == ("mixed_dates", (4, 3))

    def test_a_hint_decides_only_what_is_open(self):
        assert detect_time_format(self.AMBIGUOUS, hint="dmy").order == "dmy"
        assert detect_time_format([*self.AMBIGUOUS, "1/13/2014 0:11"], hint="dmy").order == "mdy"

    def test_values_in_another_format_do_not_decide(self):
        with pytest.raises(UndecidedTimeFormat):
            detect_time_format([*self.AMBIGUOUS, "13.1.2014 0:11"])


text_formats = st.builds(
    lambda seconds, fraction, **rest: TimeFormat(has_seconds=seconds, fraction=seconds and fraction, **rest),
    seconds=st.booleans(),
    fraction=st.booleans(),
    order=st.sampled_from(["ymd", "mdy", "dmy"]),
    date_separator=st.sampled_from("-/."),
    time_separator=st.sampled_from(" T"),
    twelve_hour=st.booleans(),
    zone=st.sampled_from(["none", "utc", "offset"]),
)
instants = st.datetimes(datetime(1975, 1, 1), datetime(2105, 12, 31))


def write(moment: datetime, time_format: TimeFormat, *, padded: bool = True) -> str:
    """A moment as a program other than this one would write it, from its parts."""
    if time_format.kind != "text":
        seconds = int((moment - datetime(1970, 1, 1)).total_seconds())
        return str(seconds * 1000 if time_format.kind == "epoch_milliseconds" else seconds)
    width = 2 if padded else 1
    parts = {"y": f"{moment.year:04}", "m": f"{moment.month:0{width}}", "d": f"{moment.day:0{width}}"}
    hour = (moment.hour % 12 or 12) if time_format.twelve_hour else moment.hour
    text = time_format.date_separator.join(parts[part] for part in time_format.order)
    text += f"{time_format.time_separator}{hour:0{width}}:{moment.minute:02}"
    text += f":{moment.second:02}" if time_format.has_seconds else ""
    text += f".{moment.microsecond:06}" if time_format.fraction else ""
    text += (" PM" if moment.hour >= 12 else " AM") if time_format.twelve_hour else ""
    return text + {"none": "", "utc": " UTC", "offset": "-05:00"}[time_format.zone]


@given(
    time_format=text_formats
    | st.sampled_from([TimeFormat(kind="epoch_seconds"), TimeFormat(kind="epoch_milliseconds")]),
    moments=st.lists(instants, min_size=1, max_size=20),
    padded=st.booleans(),
)
def test_what_is_written_is_found(time_format: TimeFormat, moments: list[datetime], padded: bool):
    values = [write(moment, time_format, padded=padded) for moment in moments]
    assert all(matches(time_format, value) for value in values)
    decided = time_format.order == "ymd" or any(moment.day > 12 for moment in moments)
    if decided:
        assert detect_time_format(values) == time_format
    else:
        with pytest.raises(UndecidedTimeFormat) as caught:
            detect_time_format(values)
        assert caught.value.code == "ambiguous_dates"


@given(text_formats)
def test_strptime_words_and_back(time_format: TimeFormat):
    assert from_strptime(to_strptime(time_format)) == time_format


@given(text_formats, instants)
def test_the_words_mean_what_strptime_takes_them_for(time_format: TimeFormat, moment: datetime):
    value = write(moment, time_format)
    read = datetime.strptime(value, to_strptime(time_format)).replace(tzinfo=None)
    assert (read.year, read.month, read.day) == (moment.year, moment.month, moment.day)
    assert (read.hour, read.minute) == (moment.hour, moment.minute)


@given(st.text(max_size=30))
def test_no_text_is_too_much(text: str):
    with contextlib.suppress(UndecidedTimeFormat):  # and nothing else
        assert matches(detect_time_format([text], hint="mdy"), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S", ISO),
        ("%F %T", ISO),
        ("%Y-%m-%dT%H:%M:%S.%f%z", TimeFormat(time_separator="T", fraction=True, zone="offset")),
        ("%Y-%m-%d %H:%M:%S UTC", TimeFormat(zone="utc")),
        ("%Y-%m-%dT%H:%M:%SZ", TimeFormat(time_separator="T", zone="utc")),
        ("%-d.%-m.%Y %-H:%M", TimeFormat(order="dmy", date_separator=".", has_seconds=False)),
        ("%m/%d/%Y %I:%M:%S %p", TimeFormat(order="mdy", date_separator="/", twelve_hour=True)),
        ("%s", TimeFormat(kind="epoch_seconds")),
        ("epoch_milliseconds", TimeFormat(kind="epoch_milliseconds")),
    ],
)
def test_stated_formats(text: str, expected: TimeFormat):
    assert from_strptime(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%d/%m/%y %H:%M", "four digits"),
        ("%Y-%m-%d", "is not supported"),
        ("%Y-%d-%m %H:%M", "is not supported"),
        ("%Y-%m/%d %H:%M", "is not supported"),
        ("%b %d %Y %H:%M", "is not supported"),
        ("%Y-%m-%d %I:%M", "go together"),
        ("%Y-%m-%d %H:%M %p", "go together"),
        ("YYYY-MM-DD HH:mm", "is not supported"),
        ("", "is not supported"),
    ],
)
def test_formats_that_cannot_be_stated(text: str, says: str):
    with pytest.raises(ValueError, match=says):
        from_strptime(text)


def test_a_value_must_match_in_every_part():
    value = "2014-04-01 00:11:00"
    assert matches(ISO, value)
    for other in (
        TimeFormat(order="mdy"),
        TimeFormat(date_separator="/"),
        TimeFormat(time_separator="T"),
        TimeFormat(has_seconds=False),
        TimeFormat(twelve_hour=True),
        TimeFormat(zone="utc"),
        TimeFormat(zone="offset"),
        TimeFormat(kind="epoch_seconds"),
    ):
        assert not matches(other, value)
    assert matches(TimeFormat(fraction=True), value)
    assert not matches(ISO, value + ".5")
