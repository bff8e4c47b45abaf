"""Values of parameters: from text, within their types, and what they make of the place."""

from datetime import date

import pytest

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.values import ParameterType, PartitionKind

ROLLUPS = (9, 7, 5)


def query(parameters: str = "", partition: str = "none") -> Query:
    used = " ".join(
        f"{{{name}:{kind}}}" for name, kind in (("resolution", "UInt8"), ("region", "String")) if name in parameters
    )
    text = (
        f"-- title: T\n-- description: D\n-- formats: [csv]\n-- reads: [trips]\n-- partition: {partition}\n{parameters}"
        f"SELECT {used} {'{partition_start:Date}' if partition != 'none' else ''}\n"
    )
    return Query.parse("q", text, "q.sql")


PARAMETERS = (
    "-- parameters:\n"
    "--   resolution: {type: UInt8, default: 8, rollup: true, description: R}\n"
    "--   region: {type: String, default: '', description: R}\n"
)


def test_a_default_resolution_that_is_not_there_gives_way_to_the_nearest() -> None:
    bound = bind(query(PARAMETERS), {}, None, ROLLUPS)
    assert bound.values == {"resolution": 7, "region": ""}
    assert bound.place.prefix == "exports/q/"
    assert bind(query(PARAMETERS), {}, None, (6, 8)).values["resolution"] == 8


def test_other_values_have_a_place_of_their_own() -> None:
    def place(**given: str) -> str:
        return bind(query(PARAMETERS), given, None, ROLLUPS).place.prefix

    assert place(resolution="7") == "exports/q/"
    assert place(resolution="9").startswith("exports/q/parameters=")
    assert place(resolution="9") == place(region="", resolution=" 9 ")
    assert len({place(), place(resolution="9"), place(region="a"), place(region="a", resolution="9")}) == 4


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"resolution": "8"}, r"must be one of H3_ROLLUP_RESOLUTIONS \(9, 7, 5\), not 8"),
        ({"resolution": "nine"}, r"The parameter resolution of the export q must be a whole number, not 'nine'"),
        ({"resolution": "900"}, "must be between 0 and 255, not 900"),
        ({"size": "1"}, r"has no parameter 'size'; its parameters are resolution, region"),
    ],
)
def test_bad_values(given: dict[str, str], fault: str) -> None:
    with pytest.raises(ExportError, match=fault):
        bind(query(PARAMETERS), given, None, ROLLUPS)


def test_partitions() -> None:
    day = PartitionKind.DAILY.containing(date(2024, 2, 29))
    month = PartitionKind.MONTHLY.containing(date(2024, 12, 15))
    assert PartitionKind.NONE.containing(date(2024, 1, 1)) is None
    bound = bind(query(partition="daily"), {}, day, ROLLUPS)
    assert bound.values == {"partition_start": date(2024, 2, 29), "partition_end": date(2024, 3, 1)}
    assert bound.place.latest_key == "exports/q/partition=2024-02-29/latest.json"
    assert month is not None
    assert (month.key, month.end) == ("2024-12-01", date(2025, 1, 1))
    with pytest.raises(ExportError, match="is daily: it needs a date"):
        bind(query(partition="daily"), {}, None, ROLLUPS)
    with pytest.raises(ExportError, match="is about everything: it takes no date"):
        bind(query(), {}, day, ROLLUPS)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("UInt64", str(2**64 - 1), 2**64 - 1),
        ("Int8", "-128", -128),
        ("Float64", "1e3", 1000.0),
        ("Bool", "yes", True),
        ("Bool", False, False),
        ("Date", "2024-02-29", date(2024, 2, 29)),
        ("String", "a,b ", "a,b "),
        ("Array(UInt8)", "7, 8", [7, 8]),
        ("Array(String)", ["a,b", "c"], ["a,b", "c"]),
        ("Array(UInt8)", "", []),
    ],
)
def test_values(kind: str, given: object, value: object) -> None:
    assert ParameterType.parse(kind).value(given) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("UInt8", "-1"),
        ("UInt8", 1.0),
        ("UInt8", True),
        ("Float64", "nan"),
        ("Float64", "inf"),
        ("Bool", "maybe"),
        ("Date", "1.2.2024"),
        ("String", 5),
        ("Array(UInt8)", "7;8"),
        ("Array(UInt8)", 7),
    ],
)
def test_values_that_are_none(kind: str, given: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        ParameterType.parse(kind).value(given)


@pytest.mark.parametrize("kind", ["Int128", "Tuple(UInt8)", "Array(Array(UInt8))", "Nullable(UInt8)", ""])
def test_types_that_no_parameter_has(kind: str) -> None:
    with pytest.raises(ValueError, match="is not a type of parameters"):
        ParameterType.parse(kind)
