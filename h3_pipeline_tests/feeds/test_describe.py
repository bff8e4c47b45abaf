import contextlib
import io
import random
import re
import zipfile

import pytest
import yaml

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import HEAD_BYTES, describe_upload
from h3_pipeline.trips.upload import Compression, TimeFormat
from h3_pipeline_tests.feeds.conftest import Describe, Refusal

GENERIC = "started_at,ended_at,origin_lat,origin_lng\n"
ROW = "2014-04-01 00:11:00,2014-04-01 00:21:00,40.7,-74.0\n"


def snippet(message: str) -> str:
    """The feeds file that a message offers."""
    match = re.search(r"feeds: \[\{.*\}\](?=$|\.| \()", message)
    assert match, message
    return match[0]


class TestWhatIsDescribed:
    def test_all_of_it(self, describe: Describe):
        description = describe(GENERIC + ROW, key="a/b.csv")
        assert description.key == "a/b.csv"
        assert description.feed == "generic"
        assert description.compression is Compression.NONE
        assert description.archive_member is None
        assert description.delimiter == ","
        assert description.skip_lines == 1
        assert description.column_names == ("started_at", "ended_at", "origin_lat", "origin_lng")
        assert description.columns == {"started_at": 0, "ended_at": 1, "origin_lat": 2, "origin_lng": 3}
        assert (description.region, description.datasource) == ("", "")
        assert description.started_at_format == description.ended_at_format == TimeFormat()
        assert (description.timezone, description.timezone_assumed) == ("UTC", True)
        assert description.kilometres_per_unit == 1.0

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_delimiters_marks_and_line_ends(self, describe: Describe, delimiter: str, mark: str, end: str):
        content = mark + (GENERIC + ROW).replace(",", delimiter).replace("\n", end)
        description = describe(content)
        assert (description.delimiter, description.column_names[0]) == (delimiter, "started_at")
        assert description.started_at_format == TimeFormat()

    def test_commas_in_the_data_do_not_mislead(self, describe: Describe):
        header = 'started_at;origin_lat;origin_lng;"a, b, c, d";note\n'
        assert describe(header + "2014-04-01 00:11:00;40,7;-74,0;1,2,3,4;5,6\n").delimiter == ";"

    def test_a_quoted_line_end_in_the_header(self, describe: Describe):
        description = describe('started_at,"origin\nlat",origin_lng\n\n2014-04-01 00:11:00,40.7,-74.0\n')
        assert description.columns == {"started_at": 0, "origin_lat": 1, "origin_lng": 2}
        assert description.skip_lines == 2

    def test_ten_thousand_columns(self, describe: Describe):
        names = [f"c{i}" for i in range(9_997)]
        header = ",".join([*names, "started_at", "origin_lat", "origin_lng"])
        row = "," * 9_997 + "2014-04-01 00:11:00,40.7,-74.0"
        description = describe(f"{header}\n{row}\n{row}\n" * 1)
        assert len(description.column_names) == 10_000
        assert description.columns == {"started_at": 9_997, "origin_lat": 9_998, "origin_lng": 9_999}

    def test_inside_a_zip(self, describe: Describe):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/trips.csv", GENERIC + ROW)
        description = describe(buffer.getvalue(), key="trips.zip")
        assert (description.compression, description.archive_member) == (Compression.ZIP, "data/trips.csv")

    def test_the_head_of_a_huge_file(self, describe: Describe):
        content = (GENERIC + ROW * 40_000).encode()
        assert len(content) > HEAD_BYTES
        assert describe(content[:HEAD_BYTES], complete=False) == describe(GENERIC + ROW)

    def test_only_the_first_bytes_count(self, describe: Describe):
        head = (GENERIC + ROW).encode()
        assert describe(head + b"2014-04-0", complete=False) == describe(head)


class TestEndedAt:
    def test_its_own_format(self, describe: Describe):
        description = describe(GENERIC + "2014-04-01 00:11:00,2014-04-01T00:21,40.7,-74.0\n")
        assert description.ended_at_format == TimeFormat(time_separator="T", has_seconds=False)

    @pytest.mark.parametrize("value", ["", "never", "NULL"])
    def test_none_that_can_be_told(self, describe: Describe, value: str):
        description = describe(GENERIC + f"2014/04/01 00:11:00,{value},40.7,-74.0\n")
        assert description.ended_at_format == TimeFormat(date_separator="/")

    def test_it_tells_the_order_for_both(self, describe: Describe):
        description = describe(GENERIC + "12/4/2014 23:59,13/4/2014 0:10,40.7,-74.0\n")
        assert description.started_at_format == description.ended_at_format
        assert description.started_at_format.order == "dmy"

    def test_the_start_tells_the_order_for_both(self, describe: Describe):
        description = describe(GENERIC + "4/13/2014 23:59,5/1/2014 0:10,40.7,-74.0\n")
        assert description.ended_at_format is not None
        assert description.ended_at_format.order == "mdy"


class TestTimezone:
    @pytest.mark.parametrize(
        "time", ["2014-04-01 00:11:00 UTC", "2014-04-01T00:11:00Z", "2014-04-01T00:11:00+02:00", "1400269500"]
    )
    def test_proved_by_the_values(self, describe: Describe, time: str):
        description = describe(f"started_at,origin_lat,origin_lng\n{time},40.7,-74.0\n")
        assert (description.timezone, description.timezone_assumed) == ("UTC", False)

    def test_stated_by_a_users_feed(self, describe: Describe):
        description = describe(GENERIC + ROW, feeds="feeds: [{name: mine, timezone: Europe/Berlin}]")
        assert (description.feed, description.timezone, description.timezone_assumed) == (
            "mine",
            "Europe/Berlin",
            False,
        )

    def test_utc_stated_is_not_assumed(self, describe: Describe):
        description = describe(GENERIC + ROW, feeds="feeds: [{name: mine, timezone: UTC}]")
        assert (description.timezone, description.timezone_assumed) == ("UTC", False)

    def test_not_stated_by_a_users_feed(self, describe: Describe):
        feeds = "feeds: [{name: mine, columns: {started_at: a, origin_lat: b, origin_lng: c}}]"
        description = describe("a,b,c\n2014-04-01 00:11:00,40.7,-74.0\n", feeds=feeds)
        assert (description.timezone, description.timezone_assumed) == ("UTC", True)

    def test_of_the_origins(self, describe: Describe):
        description = describe(GENERIC + ROW, feeds="feeds: [{name: mine, timezone: auto}]")
        assert (description.timezone, description.timezone_assumed) == ("America/New_York", False)

    def test_of_origins_that_are_points(self, describe: Describe):
        content = 'started_at,origin_point\n2014-04-01 00:11:00,"POINT (13.4 52.5)"\n'
        assert describe(content, feeds="feeds: [{name: mine, timezone: auto}]").timezone == "Europe/Berlin"

    def test_origins_in_two_zones(self, refusal: Refusal, describe: Describe):
        content = GENERIC + ROW + ROW + ROW.replace("40.7,-74.0", "45.5,-73.57")
        feeds = "feeds: [{name: mine, timezone: auto}]"
        code, message = refusal(content, feeds=feeds)
        assert code == "ambiguous_timezone"
        assert "America/New_York (2 records, first in line 2), America/Toronto (1 record, first in line 4)" in message
        assert "in feed 'mine' write timezone: \"America/New_York\"" in message

    def test_the_feed_that_is_offered_for_a_built_in_one_works(self, refusal: Refusal, describe: Describe):
        header = "ride_id,rideable_type,started_at,start_lat,start_lng\n"
        content = header + "a,b,2021-02-01 10:00:00,40.7,-74.0\na,b,2021-02-01 10:00:00,45.5,-73.57\n"
        code, message = refusal(content, key="bikes/JC [2021].csv")
        assert code == "ambiguous_timezone"
        description = describe(content, key="bikes/JC [2021].csv", feeds=snippet(message))
        assert (description.feed, description.timezone) == ("JC-2021", "America/New_York")
        assert refusal(content, key="bikes/other.csv", feeds=snippet(message))[0] == "ambiguous_timezone"

    def test_no_usable_origin(self, refusal: Refusal):
        content = GENERIC + ROW.replace("40.7,-74.0", "0,0") + ROW.replace("40.7,-74.0", ",")
        code, message = refusal(content, feeds="feeds: [{name: mine, timezone: auto}]")
        assert code == "ambiguous_timezone"
        assert "None of the first 2 records has an origin on land" in message


class TestTimesThatAreRefused:
    def test_unknown(self, refusal: Refusal):
        code, message = refusal(GENERIC + "\n,,40.7,-74.0\n01-Apr-2014 00:11,,40.7,-74.0\n")
        assert code == "unknown_time_format"
        assert "column 'started_at' has no time in a known format in the first 2 records, e.g. line 4" in message
        assert "'01-Apr-2014 00:11'" in message
        assert "month/day/year" in message

    def test_empty(self, refusal: Refusal):
        code, message = refusal(GENERIC + ",,40.7,-74.0\n")
        assert code == "unknown_time_format"
        assert "column 'started_at' is empty in the first 1 record" in message

    def test_ambiguous(self, refusal: Refusal, describe: Describe):
        content = GENERIC + "4/1/2014 0:11,,40.7,-74.0\n4/1/2014 0:12,,40.7,-74.0\n"
        code, message = refusal(content)
        assert code == "ambiguous_dates"
        assert "e.g. line 2 '4/1/2014 0:11'" in message
        assert describe(content, feeds=snippet(message)).started_at_format.order == "mdy"
        assert "'%d/%m/%Y %H:%M'" in message
        day_first = snippet(message).replace("%m/%d/%Y", "%d/%m/%Y")
        assert describe(content, feeds=day_first).started_at_format.order == "dmy"

    def test_ambiguous_in_a_users_feed(self, refusal: Refusal):
        feeds = "feeds: [{name: mine, columns: {started_at: a, origin_lat: b, origin_lng: c}}]"
        code, message = refusal("a,b,c\n4/1/2014 0:11,40.7,-74.0\n", feeds=feeds)
        assert code == "ambiguous_dates"
        assert "in feed 'mine' write time_format: \"%m/%d/%Y %H:%M\"" in message

    def test_mixed(self, refusal: Refusal, describe: Describe):
        content = GENERIC + "4/13/2014 0:11,,40.7,-74.0\n\n13/4/2014 0:12,,40.7,-74.0\n"
        code, message = refusal(content)
        assert code == "mixed_dates"
        assert "month-first in line 2 '4/13/2014 0:11' and day-first in line 4 '13/4/2014 0:12'" in message
        assert describe(content, feeds=snippet(message)).started_at_format.order == "mdy"

    def test_not_as_the_feed_states(self, refusal: Refusal):
        feeds = 'feeds: [{name: mine, time_format: "%d.%m.%Y %H:%M"}]'
        code, message = refusal(GENERIC + ROW, feeds=feeds)
        assert code == "unknown_time_format"
        assert "Feed 'mine' states time_format '%d.%m.%Y %H:%M'" in message
        assert "e.g. line 2 '2014-04-01 00:11:00'" in message

    def test_stated_and_found_in_some(self, describe: Describe):
        feeds = 'feeds: [{name: mine, time_format: "%m/%d/%Y %H:%M"}]'
        description = describe(GENERIC + ROW * 5 + "4/1/2014 0:11,,40.7,-74.0\n", feeds=feeds)
        expected = TimeFormat(order="mdy", date_separator="/", has_seconds=False)
        assert description.started_at_format == description.ended_at_format == expected


class TestUsersFeeds:
    def test_without_columns_changes_only_what_it_names(self, describe: Describe):
        content = (
            "vendor_id,pickup_datetime,dropoff_datetime,trip_distance,pickup_longitude,pickup_latitude,"
            "store_and_fwd_flag\nVTS,2013-01-01 00:00:00,2013-01-01 00:10:00,1.5,-74.0,40.7,N\n"
        )
        plain = describe(content, key="t/a.csv")
        changed = describe(
            content, key="t/a.csv", feeds="feeds: [{name: m, match: t/*, region: NYC, distance_unit: km}]"
        )
        assert (plain.feed, plain.region, plain.kilometres_per_unit) == ("nyc-tlc-yellow", "New York", 1.609344)
        assert (changed.feed, changed.region, changed.kilometres_per_unit) == ("m", "NYC", 1.0)
        assert (changed.columns, changed.timezone) == (plain.columns, plain.timezone)
        other = describe(content, key="u/a.csv", feeds="feeds: [{name: m, match: t/*, region: NYC}]")
        assert other.feed == "nyc-tlc-yellow"

    def test_the_first_whose_columns_are_there(self, describe: Describe):
        feeds = """
        feeds:
          - {name: one, match: "t/*", columns: {started_at: when, origin_lat: y, origin_lng: z}}
          - {name: two, match: "t/*", columns: {started_at: when, origin_lat: y, origin_lng: x}}
          - {name: three, columns: {started_at: when, origin_lat: y, origin_lng: x}}
        """
        content = "when,x,y\n2014-04-01 00:11:00,-74.0,40.7\n"
        assert describe(content, key="t/a.csv", feeds=feeds).feed == "two"
        assert describe(content, key="u/a.csv", feeds=feeds).feed == "three"

    def test_meant_for_the_file_but_columns_are_lacking(self, refusal: Refusal, describe: Describe):
        feeds = "feeds: [{name: mine, match: t/*, columns: {started_at: when, origin_lat: origin_lat, origin_lng: x}}]"
        code, message = refusal(GENERIC + ROW, key="t/a.csv", feeds=feeds)
        assert code == "unknown_header"
        assert "Feed 'mine' (match: 't/*')" in message
        assert "'when' (for started_at), 'x' (for origin_lng)" in message
        assert "'started_at', 'ended_at', 'origin_lat', 'origin_lng' (4 columns, divided by ',')" in message
        assert describe(GENERIC + ROW, key="u/a.csv", feeds=feeds).feed == "generic"

    def test_a_header_with_an_open_quote_is_told_as_such(self, refusal: Refusal):
        feeds = "feeds: [{name: mine, match: t/*, columns: {started_at: a, origin_lat: b, origin_lng: c}}]"
        assert refusal('a,b,"c\n1,2,3\n', key="t/a.csv", feeds=feeds)[0] == "unclosed_quote"

    def test_a_mapping_without_a_glob_is_known_by_its_header(self, describe: Describe):
        feeds = "feeds: [{name: mine, columns: {started_at: when, origin_lat: y, origin_lng: x}}]"
        assert describe(GENERIC + ROW, feeds=feeds).feed == "generic"

    def test_names_and_positions_together(self, describe: Describe):
        feeds = "feeds: [{name: mine, columns: {started_at: When, origin_lat: 3, origin_lng: 2}}]"
        description = describe("when,x,x\n2014-04-01 00:11:00,-74.0,40.7\n", feeds=feeds)
        assert description.columns == {"started_at": 0, "origin_lat": 2, "origin_lng": 1}

    def test_delimiter_stated(self, describe: Describe):
        feeds = 'feeds: [{name: mine, delimiter: "^"}]'
        assert describe((GENERIC + ROW).replace(",", "^"), feeds=feeds).delimiter == "^"

    def test_constants_beside_columns(self, describe: Describe):
        feeds = "feeds: [{name: mine, region: Oslo, datasource: bikes, distance_unit: m}]"
        description = describe(GENERIC + ROW, feeds=feeds)
        assert (description.region, description.datasource, description.kilometres_per_unit) == ("Oslo", "bikes", 0.001)


class TestWithoutHeader:
    FEEDS = """
    feeds:
      - name: mine
        match: "t/*"
        has_header: false
        columns: {started_at: 2, origin_lat: 4, origin_lng: 3}
    """
    ROWS = "7;2014-04-01 00:11:00;-74,0;40,7;x\n8;2014-04-01 00:12:00;-74,0;40,7\n9;2014-04-01 00:13:00;-74,0;40,7;y\n"

    def test_described(self, describe: Describe):
        description = describe("\n" + self.ROWS, key="t/a.csv", feeds=self.FEEDS)
        assert (description.feed, description.delimiter, description.skip_lines) == ("mine", ";", 1)
        assert description.column_names == ("column_1", "column_2", "column_3", "column_4", "column_5")
        assert description.columns == {"started_at": 1, "origin_lat": 3, "origin_lng": 2}

    def test_nothing_to_skip(self, describe: Describe):
        assert describe(self.ROWS, key="t/a.csv", feeds=self.FEEDS).skip_lines == 0

    def test_not_wide_enough(self, refusal: Refusal):
        code, message = refusal("1,2014-04-01 00:11:00,-74.0\n" * 3, key="t/a.csv", feeds=self.FEEDS)
        assert code == "unknown_header"
        assert "Feed 'mine' (match: 't/*')" in message
        assert "origin_lat (column 4)" in message
        assert "records have 3 fields" in message

    @pytest.mark.parametrize(("content", "code"), [("\n\n", "no_data_rows"), ("1,2\r3,4\r", "cr_line_ends")])
    def test_faults_of_the_file_come_first(self, refusal: Refusal, content: str, code: str):
        assert refusal(content, key="t/a.csv", feeds=self.FEEDS)[0] == code

    def test_nul_bytes(self, refusal: Refusal):
        code, message = refusal("1,2,3,4\n5,6\0,7,8\n", key="t/a.csv", feeds=self.FEEDS)
        assert code == "nul_bytes"
        assert message.startswith("Line 2, column 2:")

    def test_a_file_whose_feed_is_not_written_yet(self, refusal: Refusal, describe: Describe):
        content = "7,2014-04-01 00:11:00,1.5,-122.4,37.7\n8,2014-04-01 00:12:00,1.5,-122.4,37.7\n"
        code, message = refusal(content, key="t/a.csv")
        assert code == "unknown_header"
        assert "The first line is data, not a header: '7', '2014-04-01 00:11:00', '1.5'" in message
        feed = yaml.safe_load(snippet(message))["feeds"][0]
        assert feed["has_header"] is False
        assert feed["columns"]["started_at"] == 2
        assert describe(content, key="t/a.csv", feeds=snippet(message).replace("auto", "UTC")).feed == "a"


class TestUnknownHeader:
    def test_what_the_message_says(self, refusal: Refusal):
        code, message = refusal("when,Ended At,y,x\n2014-04-01 00:11:00,,40.7,-74.0\n", key="my trips/a.csv")
        assert code == "unknown_header"
        assert "Header found: 'when', 'Ended At', 'y', 'x' (4 columns, divided by ',')." in message
        assert "feed 'generic': started_at ('started_at' or 'start_time'" in message
        assert "origin_lat ('origin_lat' or" in message
        assert "origin_lng ('origin_lng' or" in message
        assert "H3_PIPELINE_FEEDS" in message
        feed = yaml.safe_load(snippet(message))["feeds"][0]
        assert feed == {
            "name": "a",
            "match": "my trips/a.csv",
            "timezone": "auto",
            "columns": {
                "ended_at": "Ended At",
                "started_at": "when",
                "origin_lat": "NAME OF THE COLUMN",
                "origin_lng": "NAME OF THE COLUMN",
            },
        }
        assert FeedCatalog.load(snippet(message)).user[0].name == "a"

    @pytest.mark.parametrize(
        ("header", "columns"),
        [
            (
                "Abfahrt date,geo_lat,geo_lon",
                {"started_at": "Abfahrt date", "origin_lat": "geo_lat", "origin_lng": "geo_lon"},
            ),
            (
                "end_date,begin_date,end latitude,end long,gps latitude,gps long",
                {"started_at": "begin_date", "origin_lat": "gps latitude", "origin_lng": "gps long"},
            ),
        ],
    )
    def test_the_feed_that_is_offered_works(
        self, refusal: Refusal, describe: Describe, header: str, columns: dict[str, str]
    ):
        row = ",".join("2014-04-01 00:11:00" if "date" in name else "40.7" for name in header.split(","))
        content = f"{header}\n{row}\n"
        _, message = refusal(content)
        description = describe(content, feeds=snippet(message).replace("auto", "UTC"))
        found = {column: description.column_names[place] for column, place in description.columns.items()}
        assert {column: found[column] for column in columns} == columns

    @pytest.mark.parametrize("name", ['a "b"', "a\nb", "a: {b}", "'", "\\", "#", "é", "😀", "a\u2028b", "NO", "1.0x"])
    def test_awkward_names_survive_the_snippet(self, refusal: Refusal, name: str):
        quoted = '"' + name.replace('"', '""') + '"'
        key = "x" + name.replace("\n", "") + "*.csv"
        _, message = refusal(f"{quoted} lat,lng,time\n1,2,3\n".replace('" lat', ' lat"'), key=key)
        (feed,) = FeedCatalog.load(snippet(message)).user
        assert feed.columns is not None
        assert feed.columns["origin_lat"] == (f"{name} lat",)
        assert feed.matches_key(key)
        assert not feed.matches_key("x" + name.replace("\n", "") + "2.csv")

    def test_ten_thousand_columns_are_shortened(self, refusal: Refusal):
        header = ",".join(f"column number {i} with a rather long name of its own" for i in range(10_000))
        code, message = refusal(header + "\n" + "," * 9_999 + "\n")
        assert code == "unknown_header"
        assert "and 9,976 more (10,000 columns" in message
        assert len(message) < 3_000

    def test_header_alone(self, refusal: Refusal):
        assert refusal("a,b,c\n")[0] == "unknown_header"

    def test_known_header_alone(self, refusal: Refusal):
        assert refusal(GENERIC)[0] == "no_data_rows"
        assert refusal(GENERIC + "\r\n\r\n")[0] == "no_data_rows"

    @pytest.mark.parametrize("content", ["hello", "<html>\n<body>\n", '{"a": 1}\n', "\x01\x02\x03"])
    def test_what_is_no_csv_at_all(self, refusal: Refusal, content: str):
        assert refusal(content)[0] == "unknown_header"


class TestDuplicates:
    def test_a_column_that_is_read(self, refusal: Refusal):
        code, message = refusal("started_at,Origin Lat,origin_lng,origin_lat\n2014-04-01 00:11:00,1,2,3\n")
        assert code == "duplicate_column"
        assert "'Origin Lat' 2 times (columns 2 and 4), and feed 'generic' reads origin_lat from it" in message

    def test_in_a_users_feed(self, refusal: Refusal):
        feeds = "feeds: [{name: mine, columns: {started_at: t, ended_at: e, origin_lat: y, origin_lng: x}}]"
        code, message = refusal("t,e,E,y,x\n2014-04-01 00:11:00,,,40.7,-74\n", feeds=feeds)
        assert code == "duplicate_column"
        assert "feed 'mine' reads ended_at" in message

    def test_a_column_that_is_not_read(self, describe: Describe):
        assert describe("note,started_at,note,origin_lat,origin_lng\nx,2014-04-01 00:11:00,y,1,2\n").feed == "generic"

    def test_two_synonyms_are_no_duplicates(self, describe: Describe):
        description = describe("start_time,pickup_datetime,origin_lat,origin_lng\n2014-04-01 00:11:00,x,1,2\n")
        assert description.columns["started_at"] == 0


class TestRefusedFiles:
    """Each fault once through the front door; the modules' own tests have the details."""

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"", "empty"),
            (b"\n\n", "no_data_rows"),
            ((GENERIC + ROW).encode("utf-16"), "undecodable"),
            (GENERIC.encode() + b"caf\xe9,,1,2\n", "undecodable"),
            ((GENERIC + ROW + "\0").encode(), "nul_bytes"),
            ((GENERIC + ROW).replace("\n", "\r").encode(), "cr_line_ends"),
            ((GENERIC + ROW + '"x').encode(), "unclosed_quote"),
            (GENERIC.replace("origin_lat", '"origin_lat').encode() + ROW.encode(), "unclosed_quote"),
            (b"PAR1\x15\x04", "not_csv"),
            (b"\x1f\x8b\x08", "truncated_archive"),
        ],
    )
    def test_codes(self, refusal: Refusal, content: bytes, code: str):
        assert refusal(content)[0] == code

    def test_the_place_of_a_nul_byte(self, refusal: Refusal):
        _, message = refusal(GENERIC + ROW + ROW.replace("40.7", "40.7\0"))
        assert message.startswith("Line 3, column 'origin_lat':")

    def test_a_head_without_an_end(self, refusal: Refusal):
        assert refusal("a" * 1000, complete=False)[0] == "record_too_long"

    def test_any_bytes_are_described_or_refused(self):
        numbers = random.Random(2014)
        catalog = FeedCatalog.load()
        good = (GENERIC + ROW * 20).encode()
        for _ in range(300):
            content = bytearray(good)
            for _ in range(numbers.randint(1, 4)):
                at = numbers.randrange(len(content))
                content[at : at + numbers.choice([0, 1, 30])] = numbers.choice(
                    [b'"', b"\r", b"\0", b"\xff", b"\n", b",", b"\x1f\x8b\x08", b""]
                )
            for complete in (True, False):
                with contextlib.suppress(UploadRefused):  # and nothing else
                    described = describe_upload("a.csv", bytes(content), catalog, complete=complete)
                    assert described.feed == "generic"
                    assert described.started_at_format == TimeFormat()
