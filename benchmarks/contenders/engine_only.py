"""The limit: the engine reads the CSV, indexes and loads in one statement, and Python only says so.

Typed parsing on all cores, no clean copy, no refused rows kept, no bookkeeping. `row_number` is not
right: with parallel parsing no engine knows the number of a record.
"""

from benchmarks.contenders.job import KILOMETRES_PER_MILE, REGION, TIMEZONE, Job

_SOURCE = {
    "VendorID": "String",
    "tpep_pickup_datetime": f"DateTime('{TIMEZONE}')",
    "tpep_dropoff_datetime": f"DateTime('{TIMEZONE}')",
    "pickup_latitude": "Nullable(Float64)",
    "pickup_longitude": "Nullable(Float64)",
    "dropoff_latitude": "Nullable(Float64)",
    "dropoff_longitude": "Nullable(Float64)",
    "trip_distance": "Float64",
    "passenger_count": "UInt8",
    "fare_amount": "Float32",
    "total_amount": "Float32",
}

_TRIPS = {
    "upload": "{upload:String}",
    "upload_etag": "{etag:String}",
    "row_number": "_row_number + 1",
    "region": f"'{REGION}'",
    "datasource": "VendorID",
    "started_at": "tpep_pickup_datetime",
    "ended_at": "tpep_dropoff_datetime",
    "utc_offset_minutes": "intDiv(timeZoneOffset(tpep_pickup_datetime), 60)",
    "origin_lat": "pickup_latitude",
    "origin_lng": "pickup_longitude",
    "destination_lat": "dropoff_latitude",
    "destination_lng": "dropoff_longitude",
    "origin_h3": "geoToH3(assumeNotNull(pickup_latitude), assumeNotNull(pickup_longitude), 10)",
    "destination_h3": "geoToH3(dropoff_latitude, dropoff_longitude, 10)",
    "distance_km": f"toFloat32(trip_distance * {KILOMETRES_PER_MILE})",
    "passenger_count": "passenger_count",
    "fare_amount": "fare_amount",
    "total_amount": "total_amount",
}


def main() -> None:
    """Do the job."""
    job = Job.from_command_line()
    client = job.open_warehouse()
    # one statement makes each group once, so that there is nothing to merge before it is written
    client.set_client_setting("optimize_on_insert", 0)
    structure = ", ".join(f"{name} {kind}" for name, kind in _SOURCE.items())
    access_key, secret_key = job.credentials
    client.command(
        f"INSERT INTO trips ({', '.join(_TRIPS)}) SELECT {', '.join(_TRIPS.values())} "
        "FROM s3({url:String}, {access_key:String}, {secret_key:String}, 'CSVWithNames', {structure:String}) "
        "WHERE pickup_latitude IS NOT NULL AND pickup_longitude IS NOT NULL "
        "AND NOT (pickup_latitude = 0 AND pickup_longitude = 0) AND tpep_dropoff_datetime >= tpep_pickup_datetime",
        parameters={
            "url": f"{job.endpoint_url}/{job.bucket}/{job.key}",
            "access_key": access_key,
            "secret_key": secret_key,
            "structure": structure,
            "upload": job.upload,
            "etag": job.upload_etag,
        },
    )
    job.roll_up(client)
    client.close()


if __name__ == "__main__":
    main()
