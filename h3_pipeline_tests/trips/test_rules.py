"""Every reason and every warning, each by a row that has just that fault."""

from itertools import combinations
from typing import Any

import pytest

from h3_pipeline.trips.rules import REASONS, WARNINGS
from h3_pipeline_tests.trips.conftest import Judge

COLUMNS = (
    "region",
    "started_at",
    "ended_at",
    "origin_lat",
    "origin_lng",
    "destination_lat",
    "destination_lng",
    "distance_km",
    "passenger_count",
    "fare_amount",
    "total_amount",
)
GOOD = {
    "region": "Somewhere",
    "started_at": "2015-01-15 19:05:39",
    "ended_at": "2015-01-15 19:23:42",
    "origin_lat": "40.75",
    "origin_lng": "-73.99",
    "destination_lat": "40.76",
    "destination_lng": "-73.97",
    "distance_km": "1.59",
    "passenger_count": "1",
    "fare_amount": "12",
    "total_amount": "17.05",
}
NEW_YORK = 'feeds: [{name: city, match: "*", timezone: America/New_York}]'

DOCUMENTED_ORDER = (
    "missing_started_at",
    "started_at_out_of_range",
    "invalid_started_at",
    "missing_origin",
    "invalid_origin",
    "origin_out_of_range",
    "origin_null_island",
    "ends_before_start",
    "wrong_column_count",
)

REFUSED: list[tuple[str, dict[str, str]]] = [
    ("missing_started_at", {"started_at": ""}),
    ("missing_started_at", {"started_at": "NULL"}),
    ("missing_started_at", {"started_at": r"\N"}),
    ("started_at_out_of_range", {"started_at": "1969-12-31 23:59:59", "ended_at": ""}),
    ("started_at_out_of_range", {"started_at": "2106-02-07 06:28:16", "ended_at": ""}),
    ("started_at_out_of_range", {"started_at": "2200-01-01 00:00:00"}),
    ("started_at_out_of_range", {"started_at": "1800-01-01 00:00:00"}),
    ("started_at_out_of_range", {"started_at": "3000-01-01 00:00:00"}),
    ("invalid_started_at", {"started_at": "2015-02-29 00:00:00"}),
    ("invalid_started_at", {"started_at": "15-01-15 00:00:00"}),
    ("invalid_started_at", {"started_at": "15/01/2015 19:05:39"}),
    ("invalid_started_at", {"started_at": "3000-13-45 00:00:00"}),
    ("missing_origin", {"origin_lat": ""}),
    ("missing_origin", {"origin_lng": "null"}),
    ("missing_origin", {"origin_lat": "", "origin_lng": "x"}),
    ("invalid_origin", {"origin_lat": "nan"}),
    ("invalid_origin", {"origin_lng": "inf"}),
    ("invalid_origin", {"origin_lat": '"40,75"'}),
    ("invalid_origin", {"origin_lng": "west"}),
    ("origin_out_of_range", {"origin_lat": "90.1"}),
    ("origin_out_of_range", {"origin_lng": "-180.1"}),
    ("origin_null_island", {"origin_lat": "0", "origin_lng": "0.0"}),
    ("ends_before_start", {"ended_at": "2015-01-15 19:05:38"}),
    ("wrong_column_count", {"total_amount": "17.05,more"}),
    ("wrong_column_count", {"total_amount": "17.05,,,,more"}),
]

WARNED: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    ("local_time_in_gap", {"started_at": "2015-03-08 02:30:00", "ended_at": "2015-03-08 04:00:00"}, {}),
    ("local_time_in_gap", {"started_at": "2015-03-08 01:50:00", "ended_at": "2015-03-08 02:10:00"}, {}),
    ("local_time_in_fold", {"started_at": "2015-11-01 01:30:00", "ended_at": "2015-11-01 03:00:00"}, {}),
    ("missing_ended_at", {"ended_at": ""}, {"ended_at": None}),
    ("ended_at_out_of_range", {"ended_at": "2300-01-01 00:00:00"}, {"ended_at": None}),
    ("ended_at_out_of_range", {"ended_at": "1900-01-01 00:00:00"}, {"ended_at": None}),
    ("invalid_ended_at", {"ended_at": "soon"}, {"ended_at": None}),
    ("invalid_ended_at", {"ended_at": "2015-02-30 00:00:00"}, {"ended_at": None}),
    ("missing_destination", {"destination_lat": ""}, {"destination_h3": None, "destination_lng": None}),
    ("invalid_destination", {"destination_lng": "nan"}, {"destination_h3": None, "destination_lat": None}),
    ("destination_out_of_range", {"destination_lat": "91"}, {"destination_h3": None, "destination_lat": None}),
    (
        "destination_null_island",
        {"destination_lat": "0", "destination_lng": "0"},
        {"destination_h3": None, "destination_lat": None, "destination_lng": None},
    ),
    ("invalid_distance_km", {"distance_km": "-1"}, {"distance_km": None}),
    ("invalid_distance_km", {"distance_km": "far"}, {"distance_km": None}),
    ("invalid_distance_km", {"distance_km": "inf"}, {"distance_km": None}),
    ("invalid_distance_km", {"distance_km": "1e39"}, {"distance_km": None}),
    ("invalid_passenger_count", {"passenger_count": "256"}, {"passenger_count": None}),
    ("invalid_passenger_count", {"passenger_count": "1.5"}, {"passenger_count": None}),
    ("invalid_passenger_count", {"passenger_count": "-1"}, {"passenger_count": None}),
    ("invalid_fare_amount", {"fare_amount": "nan"}, {"fare_amount": None}),
    ("invalid_fare_amount", {"fare_amount": "$5"}, {"fare_amount": None}),
    ("invalid_total_amount", {"total_amount": "1e39"}, {"total_amount": None}),
    ("invalid_total_amount", {"total_amount": "free"}, {"total_amount": None}),
]


def table(*rows: dict[str, str], last: str = "") -> str:
    lines = [",".join({**GOOD, **row}[name] for name in COLUMNS) for row in rows]
    return "\n".join([",".join(COLUMNS), *lines, last]) + "\n"


class TestReasons:
    def test_each_reason(self, judge: Judge) -> None:
        found = judge(table({}, *(fault for _, fault in REFUSED), last="Somewhere,2015-01-15 19:05:39"))
        assert [record["reason"] for record in found] == ["", *(code for code, _ in REFUSED), "wrong_column_count"]
        assert all(record["warnings"] == set() for record in found[1:])

    def test_each_documented_reason_was_tried_and_there_is_no_other(self) -> None:
        assert {code for code, _ in REFUSED} == set(DOCUMENTED_ORDER) == {rule.code for rule in REASONS}

    def test_of_several_reasons_the_first_is_given(self, judge: Judge) -> None:
        # One example of each reason, such that any two that touch different fields can be put together.
        examples = {code: fault for code, fault in REFUSED if code != "ends_before_start"}
        pairs = [
            (first, {**examples[first], **examples[second]})
            for first, second in combinations([code for code in DOCUMENTED_ORDER if code in examples], 2)
            if not examples[first].keys() & examples[second].keys()
        ]
        assert len(pairs) > 15
        found = judge(table({}, *(fault for _, fault in pairs)))
        assert [record["reason"] for record in found] == ["", *(first for first, _ in pairs)]

    def test_an_end_before_the_start_comes_after_a_bad_origin_and_before_a_surplus_field(self, judge: Judge) -> None:
        early = {"ended_at": "2015-01-15 19:05:38"}
        found = judge(table({}, early | {"origin_lat": "x"}, early | {"total_amount": "1,more"}))
        assert [record["reason"] for record in found] == ["", "invalid_origin", "ends_before_start"]

    def test_nothing_tells_which_fields_a_short_record_lacks_so_that_comes_first(self, judge: Judge) -> None:
        found = judge(table({}, last=","))
        assert [record["reason"] for record in found] == ["", "wrong_column_count"]

    def test_surplus_empty_fields_are_no_fault(self, judge: Judge) -> None:
        found = judge(table({"total_amount": "1,,"}, {"total_amount": "2" + "," * 30}, {"total_amount": '3,"",'}))
        assert [record["reason"] for record in found] == ["", "", ""]
        assert [record["total_amount"] for record in found] == [1, 2, 3]

    def test_a_refused_record_keeps_its_fields_and_a_good_one_does_not(self, judge: Judge) -> None:
        good, bad, short = judge(table({}, {"started_at": '"a ""b"", c"'}, last="x, y "))
        assert good["fields"] == []
        assert bad["fields"][:3] == ["Somewhere", 'a "b", c', GOOD["ended_at"]]
        assert short["fields"][:3] == ["x", "y", None]

    def test_the_end_may_be_the_start(self, judge: Judge) -> None:
        assert judge(table({"ended_at": GOOD["started_at"]}))[0]["reason"] == ""


class TestWarnings:
    def test_each_warning(self, judge: Judge) -> None:
        found = judge(table({}, *(fault for _, fault, _ in WARNED)), feeds=NEW_YORK)
        assert [record["reason"] for record in found] == [""] * len(found)
        assert [record["warnings"] for record in found] == [set(), *({code} for code, _, _ in WARNED)]
        values = [
            {name: record[name] for name in fields} for record, (_, _, fields) in zip(found[1:], WARNED, strict=True)
        ]
        assert values == [fields for _, _, fields in WARNED]

    def test_each_warning_was_tried(self) -> None:
        tried = {code for code, _, _ in WARNED} | {"timezone_assumed_utc"}
        assert tried == {rule.code for rule in WARNINGS}

    def test_several_at_once(self, judge: Judge) -> None:
        fault = {"ended_at": "", "destination_lat": "", "distance_km": "x", "fare_amount": "y"}
        (found,) = judge(table(fault), feeds=NEW_YORK)
        assert found["warnings"] == {
            "missing_ended_at",
            "missing_destination",
            "invalid_distance_km",
            "invalid_fare_amount",
        }

    def test_an_assumed_zone_is_said_of_every_row(self, judge: Judge) -> None:
        assert [record["warnings"] for record in judge(table({}, {}))] == [{"timezone_assumed_utc"}] * 2
        stated = table({"started_at": "2015-01-15T19:05:39Z", "ended_at": ""})
        assert judge(stated)[0]["warnings"] == {"missing_ended_at"}

    def test_a_column_that_the_file_has_not_is_not_missed(self, judge: Judge) -> None:
        text = "started_at,origin_lat,origin_lng\n2015-01-15T19:05:39Z,40.75,-73.99\n"
        (found,) = judge(text)
        assert found["warnings"] == set()
        optional = ("ended_at", "destination_lat", "destination_lng", "destination_h3", "distance_km", "fare_amount")
        assert [found[name] for name in optional] == [None] * len(optional)

    def test_empty_numbers_are_no_fault(self, judge: Judge) -> None:
        numbers = dict.fromkeys(("distance_km", "passenger_count", "fare_amount", "total_amount"), "")
        (found,) = judge(table(numbers), feeds=NEW_YORK)
        assert found["warnings"] == set()
        assert [found[name] for name in numbers] == [None] * 4

    def test_passengers_may_be_written_as_pandas_writes_counts_with_gaps(self, judge: Judge) -> None:
        found = judge(table(*({"passenger_count": count} for count in ("0", "255", "1.0", "3.000"))), feeds=NEW_YORK)
        assert [record["passenger_count"] for record in found] == [0, 255, 1, 3]
        assert [record["warnings"] for record in found] == [set()] * 4


class TestValues:
    def test_a_whole_row(self, judge: Judge) -> None:
        (found,) = judge(table({}), feeds=NEW_YORK)
        assert str(found["started_at"])[:19] == "2015-01-16 00:05:39"
        assert str(found["ended_at"])[:19] == "2015-01-16 00:23:42"
        assert found["utc_offset_minutes"] == -300
        assert (found["origin_lat"], found["destination_lng"]) == (40.75, -73.97)
        assert (found["region"], found["datasource"]) == ("Somewhere", "")

    def test_region_and_datasource_are_the_rows_and_else_the_feeds(self, judge: Judge) -> None:
        feed = """feeds: [{name: city, match: "*", region: O'Fallon, datasource: 'a \\ "b"'}]"""
        named, empty, null = judge(table({}, {"region": ""}, {"region": "NULL"}), feeds=feed)
        assert [record["region"] for record in (named, empty, null)] == ["Somewhere", "O'Fallon", "O'Fallon"]
        assert named["datasource"] == 'a \\ "b"'

    @pytest.mark.parametrize(("unit", "factor"), [("km", 1.0), ("mi", 1.609344), ("m", 0.001)])
    def test_distances_are_converted(self, judge: Judge, unit: str, factor: float) -> None:
        (found,) = judge(table({}), feeds=f'feeds: [{{name: city, match: "*", distance_unit: {unit}}}]')
        assert found["distance_km"] == pytest.approx(1.59 * factor, rel=1e-6)

    def test_fields_beside_the_first_record_may_begin_with_a_byte_order_mark(self, judge: Judge) -> None:
        places = "{started_at: 1, origin_lat: 2, origin_lng: 3}"
        feed = f"feeds: [{{name: bare, match: '*', has_header: false, columns: {places}}}]"
        for first in ("2015-01-15 19:05:39,40.75,-73.99", '"2015-01-15 19:05:39","40.75",-73.99'):
            found = judge("\ufeff" + first + "\n2015-01-15 19:05:40,40.75,-73.99\n", feeds=feed)
            assert [str(record["started_at"])[:19] for record in found] == [
                "2015-01-15 19:05:39",
                "2015-01-15 19:05:40",
            ]
