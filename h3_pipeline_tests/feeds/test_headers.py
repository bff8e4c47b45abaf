import pytest

from h3_pipeline.feeds.headers import Header, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("start_lat", "Start Lat"),
        (" pickup_datetime", "pickup_datetime"),
        ("Trip_type ", "trip type"),
        ("\ufeffride_id", "RIDE_ID"),
        ("start station  id", "start_station_id"),
        ("STRASSE", "straße"),
    ],
)
def test_names_alike(one: str, other: str):
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(("one", "other"), [("startlat", "start_lat"), ("id", "_id"), ("VendorID", "vendor_id")])
def test_names_not_alike(one: str, other: str):
    assert normalise(one) != normalise(other)


def test_places_of_a_name():
    header = Header(",", ("id", "Start Lat", "x", "start_lat"))
    assert header.width == 4
    assert header.places("START_LAT") == [1, 3]
    assert header.places("y") == []
    assert header.has_all(["ID", "x"])
    assert not header.has_all(["ID", "y"])
