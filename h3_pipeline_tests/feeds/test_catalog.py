from textwrap import dedent

import pytest

from h3_pipeline.errors import FeedError
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.model import BuiltinFeed
from h3_pipeline.trips.columns import MAPPABLE_COLUMNS
from h3_pipeline.trips.upload import TimeFormat

EXAMPLE = """\
feeds:
  - name: city-taxis
    match: "taxis/*.csv*"
    region: New York
    datasource: medallion
    timezone: America/New_York
    has_header: false
    delimiter: ","
    time_format: "%Y-%m-%d %H:%M:%S"
    distance_unit: mi
    columns:
      started_at: 3
      origin_lat: 8
      origin_lng: 9
"""


def load(text: str) -> FeedCatalog:
    return FeedCatalog.load(dedent(text), "feeds.yaml")


def fault(text: str) -> str:
    with pytest.raises(FeedError) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key():
    (feed,) = load(EXAMPLE).user
    assert (feed.name, feed.match, feed.region, feed.datasource) == (
        "city-taxis",
        "taxis/*.csv*",
        "New York",
        "medallion",
    )
    assert (feed.timezone, feed.has_header, feed.delimiter) == ("America/New_York", False, ",")
    assert feed.stated_time_format == TimeFormat()
    assert feed.kilometres_per_unit == 1.609344
    assert feed.columns == {"started_at": (3,), "origin_lat": (8,), "origin_lng": (9,)}


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n", "feeds:\n", "feeds: []\n", "{}"])
def test_no_feeds_of_the_users_own(text: str | None):
    catalog = FeedCatalog.load(text)
    assert catalog.user == ()
    assert catalog.builtin


def test_defaults():
    (feed,) = load("feeds: [{name: a}]").user
    assert feed.has_header
    assert (feed.timezone, feed.delimiter, feed.time_format, feed.columns) == (None, None, None, None)
    assert feed.kilometres_per_unit == 1.0
    assert feed.matches_key("any/key at all.csv")


@pytest.mark.parametrize(
    ("match", "key", "expected"),
    [
        ("taxis/*.csv*", "taxis/a.csv.gz", True),
        ("taxis/*.csv*", "taxis/2014/04/a.csv", True),  # a star goes across folders
        ("taxis/*.csv*", "buses/a.csv", False),
        ("taxis/*.csv", "Taxis/a.csv", False),
        ("trips_20[01]?.csv", "trips_2014.csv", True),
        ("trips_20[01]?.csv", "trips_2024.csv", False),
        ("*/april.csv", "april.csv", False),
    ],
)
def test_globs(match: str, key: str, expected: bool):
    catalog = load(f'feeds: [{{name: a, match: "{match}"}}]')
    assert [feed.name for feed in catalog.for_key(key)] == (["a"] if expected else [])


@pytest.mark.parametrize(
    ("written", "delimiter"), [('"\\t"', "\t"), ("tab", "\t"), ("'\\t'", "\t"), ('"|"', "|"), ("'^'", "^")]
)
def test_delimiters(written: str, delimiter: str):
    assert load(f"feeds: [{{name: a, delimiter: {written}}}]").user[0].delimiter == delimiter


def test_anchors_and_merges():
    text = """\
    feeds:
      - &base
        name: a
        match: a/*
        timezone: Europe/Berlin
      - <<: *base
        name: b
        match: b/*
    """
    assert [(feed.name, feed.timezone) for feed in load(text).user] == [("a", "Europe/Berlin"), ("b", "Europe/Berlin")]


def changed(line: str, to: str) -> str:
    assert EXAMPLE.count(line + "\n") == 1
    return EXAMPLE.replace(line + "\n", to + "\n")


TIMEZONE = "    timezone: America/New_York"
DELIMITER = '    delimiter: ","'
TIME_FORMAT = '    time_format: "%Y-%m-%d %H:%M:%S"'
LNG = "      origin_lng: 9"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            changed(TIMEZONE, "    timezone: America/NewYork"),
            "feeds.yaml:6: feeds[0].timezone: 'America/NewYork' is no IANA time zone; did you mean 'America/New_York'?",
        ),
        (
            changed(TIMEZONE, "    timezone: 5"),
            "feeds.yaml:6: feeds[0].timezone: must be text, not 5; put it in quotes",
        ),
        (
            changed(TIMEZONE, "    time_zone: UTC"),
            "feeds.yaml:6: feeds[0].time_zone: unknown key; did you mean 'timezone'?",
        ),
        (
            changed(TIMEZONE, "    speed: 5"),
            "feeds.yaml:6: feeds[0].speed: unknown key; the keys are name, match, region, datasource, timezone,"
            " has_header, delimiter, time_format, distance_unit, columns, expect_every",
        ),
        (
            changed("    region: New York", "    region: no"),
            "feeds.yaml:4: feeds[0].region: must be text, not False; put it in quotes",
        ),
        (changed("    region: New York", "    region: [a]"), "feeds.yaml:4: feeds[0].region: must be text, not ['a']"),
        (
            changed("    has_header: false", '    has_header: "false"'),
            "feeds.yaml:7: feeds[0].has_header: must be true or false, not 'false'",
        ),
        (
            changed(DELIMITER, '    delimiter: ", "'),
            "feeds.yaml:8: feeds[0].delimiter: ', ' cannot divide fields; write one of ',' ';' '|' or tab, or another"
            " ASCII sign",
        ),
        (
            changed("    distance_unit: mi", "    distance_unit: miles"),
            "feeds.yaml:10: feeds[0].distance_unit: must be 'km', 'mi' or 'm', not 'miles'",
        ),
        (
            changed(TIME_FORMAT, '    time_format: "%d/%m/%y %H:%M"'),
            "feeds.yaml:9: feeds[0].time_format: '%d/%m/%y %H:%M' has %y, but years must have four digits (%Y)",
        ),
        (
            changed(LNG, "      origin_lon: 9"),
            "feeds.yaml:14: feeds[0].columns.origin_lon: 'origin_lon' is no column of a trip;"
            " did you mean 'origin_lng'?",
        ),
        (
            changed(LNG, "      origin_h3: 9"),
            "feeds.yaml:14: feeds[0].columns.origin_h3: 'origin_h3' is no column of a trip; did you mean 'origin_lng'?",
        ),
        (
            changed(LNG, "      origin_lng: 0"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: 0 is no position; positions count from 1",
        ),
        (
            changed(LNG, "      origin_lng: -1"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: -1 is no position; positions count from 1",
        ),
        (
            changed(LNG, "      origin_lng: 9.5"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: must be a column's name or its position, not 9.5",
        ),
        (
            changed(LNG, "      origin_lng: true"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: must be a column's name or its position, not True",
        ),
        (
            changed(LNG, "      origin_lng: [9, 10]"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: must be a column's name or its position, not [9, 10]",
        ),
        (
            changed(LNG, "      origin_lng: ' '"),
            "feeds.yaml:14: feeds[0].columns.origin_lng: must not be an empty name",
        ),
        (
            changed(LNG, ""),
            "feeds.yaml:11: feeds[0].columns: 'origin_lat' is mapped but 'origin_lng' is not; they go together",
        ),
        (
            changed(LNG, LNG + "\n      destination_lng: 10"),
            "feeds.yaml:11: feeds[0].columns: 'destination_lng' is mapped but 'destination_lat' is not;"
            " they go together",
        ),
        (
            changed(LNG, LNG + "\n      origin_point: 10"),
            "feeds.yaml:11: feeds[0].columns: map either 'origin_point' or 'origin_lat' and 'origin_lng',"
            " not all of them",
        ),
        (
            changed("      started_at: 3", "      ended_at: 3"),
            "feeds.yaml:11: feeds[0].columns: 'started_at' is not mapped; a trip needs the time of its start",
        ),
        (
            "feeds:\n  - name: a\n    columns: {started_at: t}\n",
            "feeds.yaml:3: feeds[0].columns: no origin is mapped; map 'origin_lat' and 'origin_lng', or 'origin_point'",
        ),
        (
            "feeds:\n  - name: a\n    columns: t\n",
            "feeds.yaml:3: feeds[0].columns: must be a mapping of keys to values",
        ),
        (
            changed(LNG, "      origin_lng: lng"),
            "feeds.yaml:2: feeds[0]: 'origin_lng' is mapped to a name, but with 'has_header: false' it must be a"
            " position",
        ),
        (
            "feeds:\n  - name: a\n    has_header: false\n",
            "feeds.yaml:2: feeds[0]: a feed with 'has_header: false' needs 'match' and 'columns',"
            " for no header tells its files",
        ),
        ("feeds:\n  - match: a\n", "feeds.yaml:2: feeds[0].name: is missing"),
        ("feeds:\n  - name: ''\n", "feeds.yaml:2: feeds[0].name: must not be empty"),
        ('feeds:\n  - name: "a\\nb"\n', "feeds.yaml:2: feeds[0].name: must be one line, without control characters"),
        ("feeds:\n  - name: a\n    match: ''\n", "feeds.yaml:3: feeds[0].match: must not be empty"),
        (
            "feeds:\n  - name: a\n    recognised_by: [[a]]\n",
            "feeds.yaml:3: feeds[0].recognised_by: unknown key; the keys are name, match, region, datasource, timezone,"
            " has_header, delimiter, time_format, distance_unit, columns, expect_every",
        ),
        ("feeds:\n  - a\n", "feeds.yaml:2: feeds[0]: must be a mapping of keys to values"),
        ("feeds: a\n", "feeds.yaml:1: feeds: must be a list"),
        ("- name: a\n", "feeds.yaml:1: must be a mapping with the key 'feeds'"),
        ("feed:\n  - name: a\n", "feeds.yaml:1: feed: unknown key; did you mean 'feeds'?"),
        (
            "feeds:\n  - name: a\n  - name: b\n  - name: a\n",
            "feeds.yaml:4: feeds[2].name: 'a' names another feed too (line 2); rename one",
        ),
        (
            "feeds:\n  - name: a\n    region: x\n    region: y\n",
            "feeds.yaml:4: feeds[0].region: the key 'region' is there twice (first in line 3)",
        ),
        (
            changed(LNG, LNG + "\n      origin_lng: 10"),
            "feeds.yaml:15: feeds[0].columns.origin_lng: the key 'origin_lng' is there twice (first in line 14)",
        ),
        ("feeds:\n  - name: 'a\n", "feeds.yaml:3: not valid YAML: found unexpected end of stream"),
        ("feeds:\n\t- name: a\n", "feeds.yaml:2: not valid YAML: found character '\\t' that cannot start any token"),
        ("feeds: []\n---\nfeeds: []\n", "feeds.yaml:2: not valid YAML: but found another document"),
        ("feeds:\n  - name: a\n    region: \0\n", "feeds.yaml:3: not valid YAML: special characters are not allowed"),
        ("feeds: &a\n  - *a\n", "feeds.yaml:1: feeds[0]: an alias must not contain itself"),
        (
            "feeds:\n  - name: !!python/object/apply:os.getcwd []\n",
            "feeds.yaml:2: not valid YAML: could not determine a constructor for the tag"
            " 'tag:yaml.org,2002:python/object/apply:os.getcwd'",
        ),
    ],
)
def test_faults_name_file_line_and_key(text: str, expected: str):
    assert fault(text) == expected


def test_the_first_fault_of_several():
    text = changed(TIMEZONE, "    timezone: nowhere").replace("distance_unit: mi", "distance_unit: miles")
    assert fault(text).startswith("feeds.yaml:6: feeds[0].timezone:")


def test_the_second_feed_is_counted_from_its_own_line():
    assert fault("feeds:\n  - name: a\n\n  - name: b\n    timezone: x\n").startswith("feeds.yaml:5: feeds[1].timezone:")


def test_dates_are_text():
    assert load("feeds: [{name: 2014-04-01}]").user[0].name == "2014-04-01"


class TestBuiltin:
    @pytest.mark.parametrize(
        "name",
        [
            "ancestral",
            "nyc-tlc-yellow",
            "nyc-tlc-green",
            "citibike-old",
            "bikeshare",
            "chicago-taxi",
            "chicago-taxi-portal",
            "uber-fivethirtyeight",
            "generic",
        ],
    )
    def test_there(self, name: str):
        assert name in [feed.name for feed in FeedCatalog.load().builtin]

    def test_the_generic_one_comes_last_and_takes_every_canonical_name(self):
        generic = FeedCatalog.load().builtin[-1]
        assert generic.name == "generic"
        assert generic.columns is not None
        assert {column: sources[0] for column, sources in generic.columns.items()} == {
            column: column for column in MAPPABLE_COLUMNS
        }

    def test_no_synonym_stands_for_two_columns(self):
        for feed in FeedCatalog.load().builtin:
            sources = [source for sources in (feed.columns or {}).values() for source in sources]
            assert len(sources) == len(set(sources)), feed.name

    def test_changes_of_a_users_feed(self):
        builtin = BuiltinFeed.model_validate(
            {"name": "b", "region": "here", "timezone": "UTC", "columns": {"started_at": ["t"], "origin_point": "p"}}
        )
        (user,) = load("feeds: [{name: mine, timezone: Europe/Berlin}]").user
        changed = builtin.changed_by(user)
        assert (changed.name, changed.timezone, changed.region) == ("mine", "Europe/Berlin", "here")
        assert changed.columns == builtin.columns
