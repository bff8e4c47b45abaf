"""The built-in feeds on real files, and on files like those that are published."""

from pathlib import Path

import pytest

from h3_pipeline.feeds.describe import HEAD_BYTES
from h3_pipeline.trips.upload import Compression, TimeFormat, UploadDescription
from h3_pipeline_tests.feeds.conftest import Describe, Refusal

ISO = TimeFormat()
REQUIRED = {"started_at", "origin_lat", "origin_lng"}
TLC = REQUIRED | {
    "datasource",
    "ended_at",
    "destination_lat",
    "destination_lng",
    "distance_km",
    "passenger_count",
    "fare_amount",
    "total_amount",
}

# the heads of the files that the data folder has: (month, skipped lines, columns) from that month on
_YELLOW = ((2009, 1, 2, 18), (2010, 1, 2, 18), (2015, 1, 1, 19))
_GREEN = ((2013, 8, 2, 20), (2014, 1, 3, 20), (2015, 1, 1, 21), (2016, 1, 2, 21))


def tlc_heads() -> list[tuple[str, int, int]]:
    heads = []
    for colour, first, changes in (("yellow", (2009, 1), _YELLOW), ("green", (2013, 8), _GREEN)):
        for year in range(2009, 2017):
            for month in range(1, 13):
                if first <= (year, month) <= (2016, 6):
                    *_, (_, _, skip, width) = [change for change in changes if change[:2] <= (year, month)]
                    heads.append((f"{colour}_tripdata_{year}-{month:02}.csv", skip, width))
    return heads


def named(description: UploadDescription) -> dict[str, str]:
    """Canonical column to the name of its source column."""
    return {column: description.column_names[place] for column, place in description.columns.items()}


def test_every_head_is_tried(shared_data: Path):
    assert sorted(path.name for path in (shared_data / "nyc-tlc-heads").glob("*.csv")) == sorted(
        name for name, _, _ in tlc_heads()
    )


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(("name", "skip", "width"), tlc_heads())
def test_tlc_heads(shared_data: Path, describe: Describe, name: str, skip: int, width: int, complete: bool):
    content = (shared_data / "nyc-tlc-heads" / name).read_bytes()
    description = describe(content, key=name, complete=complete)
    assert description.feed == f"nyc-tlc-{name.split('_')[0]}"
    assert (description.skip_lines, len(description.column_names)) == (skip, width)
    assert set(description.columns) == TLC
    for column, source in named(description).items():
        assert source.strip() == source
        end = "dropoff" if column in ("ended_at", "destination_lat", "destination_lng") else "pickup"
        if column.endswith(("_lat", "_lng")):
            assert source.lower().startswith((end, "start" if end == "pickup" else "end"))
            assert ("lat" in source.lower()) == column.endswith("_lat")
        elif column.endswith("_at"):
            assert end in source.lower()
    assert (description.region, description.timezone, description.timezone_assumed) == (
        "New York",
        "America/New_York",
        False,
    )
    assert description.started_at_format == description.ended_at_format == ISO
    assert description.kilometres_per_unit == pytest.approx(1.609344)


@pytest.mark.parametrize("month", ["2015-01", "2016-01", "2016-02", "2016-03"])
def test_tlc_samples(shared_data: Path, describe: Describe, month: str):
    content = (shared_data / "nyc-yellow" / f"yellow_tripdata_{month}.csv").read_bytes()
    description = describe(content)
    assert (description.feed, description.skip_lines, description.delimiter) == ("nyc-tlc-yellow", 1, ",")
    assert set(description.columns) == TLC
    assert named(description)["datasource"] == "VendorID"


def test_chicago(shared_data: Path, describe: Describe):
    content = (shared_data / "chicago-taxi" / "simple_data.csv").read_bytes()
    description = describe(content[:HEAD_BYTES], complete=False)
    assert description.feed == "chicago-taxi"
    assert description.started_at_format == TimeFormat(kind="epoch_seconds")
    assert description.ended_at_format is None
    assert (description.timezone, description.timezone_assumed) == ("UTC", False)
    assert named(description) == {
        "datasource": "company",
        "started_at": "trip_start_timestamp",
        "origin_lat": "pickup_latitude",
        "origin_lng": "pickup_longitude",
        "destination_lat": "dropoff_latitude",
        "destination_lng": "dropoff_longitude",
        "distance_km": "trip_miles",
        "fare_amount": "fare",
    }
    assert description == describe(content, complete=True)


def test_citibike(shared_data: Path, describe: Describe):
    path = shared_data / "citibike-new" / "JC-202102-citibike-tripdata.csv.gz"
    description = describe(path.read_bytes())
    assert description.feed == "bikeshare"
    assert description.compression is Compression.GZIP
    assert (description.timezone, description.timezone_assumed) == ("America/New_York", False)
    assert (description.region, description.datasource) == ("", "")
    assert description.kilometres_per_unit == 1.0
    assert set(description.columns) == REQUIRED | {"ended_at", "destination_lat", "destination_lng"}


def test_ancestral(describe: Describe):
    description = describe(
        "region,origin_coord,destination_coord,datetime,datasource\n"
        "Prague,POINT (14.4973794438195 50.00136875782316),POINT (14.43109483523328 50.04052930943246),"
        "2018-05-28 09:03:40,funny_car\n"
    )
    assert description.feed == "ancestral"
    assert description.columns == {
        "region": 0,
        "origin_point": 1,
        "destination_point": 2,
        "started_at": 3,
        "datasource": 4,
    }
    assert (description.timezone, description.timezone_assumed) == ("UTC", True)


@pytest.mark.parametrize(
    ("header", "time", "expected"),
    [
        (
            "tripduration,starttime,stoptime,start station id,start station name,start station latitude,"
            "start station longitude,end station id,end station name,end station latitude,end station longitude,"
            "bikeid,usertype,birth year,gender",
            "2013-07-01 00:00:00",
            ISO,
        ),
        (
            '"tripduration","starttime","stoptime","start station id","start station name","start station latitude",'
            '"start station longitude","end station id","end station name","end station latitude",'
            '"end station longitude","bikeid","usertype","birth year","gender"',
            "9/1/2014 00:00:25",
            TimeFormat(order="mdy", date_separator="/"),
        ),
        (
            "Trip Duration,Start Time,Stop Time,Start Station ID,Start Station Name,Start Station Latitude,"
            "Start Station Longitude,End Station ID,End Station Name,End Station Latitude,End Station Longitude,"
            "Bike ID,User Type,Birth Year,Gender",
            "1/1/2015 0:01",
            TimeFormat(order="mdy", date_separator="/", has_seconds=False),
        ),
    ],
)
def test_citibike_old(describe: Describe, header: str, time: str, expected: TimeFormat):
    row = f'634,"{time}","{time}",164,"E 47 St & 2 Ave",40.753,-73.970,504,"1 Ave & E 15 St",40.732,-73.981,1,S,,0'
    description = describe(f"{header}\n{row}\n")
    assert (description.feed, description.timezone) == ("citibike-old", "America/New_York")
    assert description.started_at_format == description.ended_at_format == expected
    assert description.region == ""
    assert description.columns["origin_lat"] == 5
    assert description.columns["destination_lng"] == 10


BIKESHARE = (
    "ride_id,rideable_type,started_at,ended_at,start_station_name,start_station_id,end_station_name,end_station_id,"
    "start_lat,start_lng,end_lat,end_lng,member_casual\n"
)


def ride(lat: float | str, lng: float | str) -> str:
    return f"A1,docked_bike,2021-02-01 10:00:00,2021-02-01 10:10:00,a,1,b,2,{lat},{lng},,,member\n"


@pytest.mark.parametrize(
    ("lat", "lng", "zone"),
    [
        (40.735, -74.05, "America/New_York"),
        (41.88, -87.63, "America/Chicago"),
        (38.9, -77.03, "America/New_York"),
        (37.77, -122.42, "America/Los_Angeles"),
    ],
)
def test_bikeshare_zones(describe: Describe, lat: float, lng: float, zone: str):
    description = describe(BIKESHARE + ride("", "") + ride("0.0", "0.0") + ride(lat, lng))
    assert (description.feed, description.timezone, description.timezone_assumed) == ("bikeshare", zone, False)


CHICAGO_PORTAL = (
    "Trip ID,Taxi ID,Trip Start Timestamp,Trip End Timestamp,Trip Seconds,Trip Miles,Pickup Census Tract,"
    "Dropoff Census Tract,Pickup Community Area,Dropoff Community Area,Fare,Tips,Tolls,Extras,Trip Total,Payment Type,"
    "Company,Pickup Centroid Latitude,Pickup Centroid Longitude,Pickup Centroid Location,Dropoff Centroid Latitude,"
    "Dropoff Centroid Longitude,Dropoff Centroid  Location\n"
)


def test_chicago_portal(describe: Describe):
    description = describe(
        CHICAGO_PORTAL + "a,b,01/01/2015 12:00:00 AM,01/01/2015 12:15:00 AM,600,1.5,,,8,32,7.05,1,0,0,8.05,Cash,"
        "Flash Cab,41.89,-87.62,POINT (-87.62 41.89),41.88,-87.63,POINT (-87.63 41.88)\n"
    )
    assert (description.feed, description.region, description.timezone) == (
        "chicago-taxi-portal",
        "Chicago",
        "America/Chicago",
    )
    assert description.started_at_format == TimeFormat(order="mdy", date_separator="/", twelve_hour=True)
    assert named(description)["total_amount"] == "Trip Total"
    assert named(description)["datasource"] == "Company"
    assert description.kilometres_per_unit == pytest.approx(1.609344)
    assert "origin_point" not in description.columns


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("4/1/2014 0:11:00", TimeFormat(order="mdy", date_separator="/")),
        ("4/1/2014 0:11", TimeFormat(order="mdy", date_separator="/", has_seconds=False)),
    ],
)
def test_uber(describe: Describe, time: str, expected: TimeFormat):
    description = describe(f'"Date/Time","Lat","Lon","Base"\n"{time}",40.769,-73.9549,"B02512"\n')
    assert (description.feed, description.region, description.timezone) == (
        "uber-fivethirtyeight",
        "New York",
        "America/New_York",
    )
    assert description.columns == {"started_at": 0, "origin_lat": 1, "origin_lng": 2, "datasource": 3}
    assert description.started_at_format == expected
    assert description.ended_at_format is None


@pytest.mark.parametrize(
    "header",
    [
        "started_at,origin_lat,origin_lng",
        "Started At,Origin Lat,Origin Lng",
        "pickup_datetime,pickup_lat,pickup_lon",
        "start_time,start_lat,start_lng",
        "Start Time,Start Latitude,Start Longitude",
        "trip_start_timestamp,pickup_latitude,pickup_longitude",
        "datetime,from_lat,from_lng",
    ],
)
def test_synonyms(describe: Describe, header: str):
    description = describe(f"{header}\n2014-04-01 00:11:00,40.7,-74.0\n")
    assert description.feed == "generic"
    assert description.columns == {"started_at": 0, "origin_lat": 1, "origin_lng": 2}
    assert (description.timezone, description.timezone_assumed) == ("UTC", True)
    assert description.kilometres_per_unit == 1.0


def test_optional_synonyms(describe: Describe):
    description = describe(
        "pickup_datetime,dropoff_datetime,pickup_lat,pickup_lng,dropoff_longitude,dropoff_latitude,trip_distance,"
        "passengers,fare,total,city,operator\n"
        "2014-04-01 00:11:00,2014-04-01 00:21:00,40.7,-74.0,-74.1,40.8,3,1,5,6,x,y\n"
    )
    assert description.columns == {
        "started_at": 0,
        "ended_at": 1,
        "origin_lat": 2,
        "origin_lng": 3,
        "destination_lng": 4,
        "destination_lat": 5,
        "distance_km": 6,
        "passenger_count": 7,
        "fare_amount": 8,
        "total_amount": 9,
        "region": 10,
        "datasource": 11,
    }


@pytest.mark.parametrize("name", ["origin_point", "origin_coord"])
def test_generic_points(describe: Describe, name: str):
    description = describe(f"started_at;{name}\n2014-04-01 00:11:00;POINT (-74.0 40.7)\n")
    assert (description.feed, description.delimiter) == ("generic", ";")
    assert description.columns == {"started_at": 0, "origin_point": 1}


def test_half_a_pair_of_coordinates_is_left_out(describe: Describe):
    description = describe(
        "started_at,origin_lat,origin_point,end_lat\n2014-04-01 00:11:00,40.7,POINT (-74.0 40.7),1\n"
    )
    assert description.columns == {"started_at": 0, "origin_point": 2}


@pytest.mark.parametrize(
    ("header", "lacking"),
    [
        # Divvy and Capital Bikeshare before 2020, and TLC since mid-2016: stations and zones, no coordinates
        (
            "trip_id,start_time,end_time,bikeid,tripduration,from_station_id,from_station_name,to_station_id,"
            "to_station_name,usertype,gender,birthyear",
            "feed 'generic': origin_lat ('origin_lat' or 'origin_latitude'",
        ),
        (
            "Duration,Start date,End date,Start station number,Start station,End station number,End station,Bike no.",
            "feed 'generic': started_at",
        ),
        (
            "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,"
            "store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,total_amount",
            "feed 'nyc-tlc-yellow': origin_lat ('pickup_latitude' or 'start_lat'), origin_lng ('pickup_longitude'",
        ),
    ],
)
def test_files_without_coordinates(refusal: Refusal, header: str, lacking: str):
    code, message = refusal(f"{header}\n{','.join('1' * (header.count(',') + 1))}\n")
    assert code == "unknown_header"
    assert lacking in message
