import pytest

from h3_pipeline.feeds.dialect import Record
from h3_pipeline.feeds.zones import Origin, check_zone, usable_origins, zones_of


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Europe/Berlin", "Etc/GMT+5"])
def test_zones(name: str):
    assert check_zone(name) == name


@pytest.mark.parametrize(
    ("name", "offer"),
    [
        ("America/NewYork", "did you mean 'America/New_York'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("utc", "did you mean 'UTC'?"),
        ("America", ""),
        ("../../etc/passwd", ""),
        ("/etc/localtime", ""),
        ("", ""),
        ("+02:00", ""),
    ],
)
def test_no_zones(name: str, offer: str):
    with pytest.raises(ValueError, match="is no IANA time zone") as caught:
        check_zone(name)
    assert offer in str(caught.value)


def origins(*fields: str, **columns: int) -> list[tuple[float, float]]:
    return [(origin.lat, origin.lng) for origin in usable_origins([Record(1, list(fields))], columns)]


def test_origins_of_two_columns():
    assert origins("40.7", " -74.0 ", origin_lat=0, origin_lng=1) == [(40.7, -74.0)]


@pytest.mark.parametrize("text", ["POINT (-74.0 40.7)", "point(-74.0   40.7)", " POINT ( -74.0 40.7 ) "])
def test_origins_of_a_point(text: str):
    assert origins(text, origin_point=0) == [(40.7, -74.0)]


@pytest.mark.parametrize(
    ("lat", "lng"),
    [("", ""), ("0", "0"), ("91", "0"), ("0", "181"), ("nan", "1"), ("inf", "1"), ("40,7", "-74"), ("x", "y")],
)
def test_origins_that_tell_nothing(lat: str, lng: str):
    assert origins(lat, lng, origin_lat=0, origin_lng=1) == []
    assert origins(f"POINT ({lng} {lat})", origin_point=0) == []


def test_an_origin_beyond_the_end_of_its_record():
    assert origins("40.7", origin_lat=0, origin_lng=1) == []


def test_zones_of_cities():
    found = zones_of([Origin(2, 40.73, -74.05), Origin(3, 41.88, -87.63), Origin(4, 40.75, -73.98)])
    assert found == {"America/New_York": [2, 4], "America/Chicago": [3]}


def test_the_open_sea_has_no_zone_of_use():
    assert zones_of([Origin(2, 30.0, -40.0)]) == {}
