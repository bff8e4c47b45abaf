"""The script that most people write: pandas reads the CSV, h3-py indexes point by point, `insert_df` loads."""

from collections.abc import Iterator

import boto3
import h3.api.basic_int as h3
import pandas as pd

from benchmarks.contenders.job import KILOMETRES_PER_MILE, REGION, TIMEZONE, Job

RESOLUTION = 10
COLUMNS = {
    "VendorID": "datasource",
    "tpep_pickup_datetime": "started_at",
    "tpep_dropoff_datetime": "ended_at",
    "pickup_latitude": "origin_lat",
    "pickup_longitude": "origin_lng",
    "dropoff_latitude": "destination_lat",
    "dropoff_longitude": "destination_lng",
    "trip_distance": "distance_km",
    "passenger_count": "passenger_count",
    "fare_amount": "fare_amount",
    "total_amount": "total_amount",
}


def main() -> None:
    """Do the job."""
    job = Job.from_command_line()
    client = job.open_warehouse()
    for raw in read(job):
        client.insert_df("trips", trips(raw, job))
    job.roll_up(client)
    client.close()


def read(job: Job) -> Iterator[pd.DataFrame]:
    """The file, whole or in chunks."""
    body = boto3.client("s3", endpoint_url=job.endpoint_url).get_object(Bucket=job.bucket, Key=job.key)["Body"]
    options = {"usecols": list(COLUMNS), "dtype": {"VendorID": str}}
    if job.chunk_rows is None:
        yield pd.read_csv(body, **options)
    else:
        yield from pd.read_csv(body, chunksize=job.chunk_rows, **options)


def trips(raw: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Clean trips with their cells, as the table has them."""
    data = raw.rename(columns=COLUMNS)
    data["row_number"] = data.index + 1
    local = pd.to_datetime(data["started_at"], format="%Y-%m-%d %H:%M:%S")
    data["started_at"] = local.dt.tz_localize(TIMEZONE).dt.tz_convert("UTC")
    data["utc_offset_minutes"] = (local - data["started_at"].dt.tz_localize(None)).dt.total_seconds() // 60
    data["ended_at"] = (
        pd.to_datetime(data["ended_at"], format="%Y-%m-%d %H:%M:%S").dt.tz_localize(TIMEZONE).dt.tz_convert("UTC")
    )
    located = data["origin_lat"].notna() & data["origin_lng"].notna()
    null_island = (data["origin_lat"] == 0) & (data["origin_lng"] == 0)
    data = data[located & ~null_island & ~(data["ended_at"] < data["started_at"])].copy()
    data["origin_h3"] = cells(data["origin_lat"], data["origin_lng"])
    data["destination_h3"] = cells(data["destination_lat"], data["destination_lng"])
    data["distance_km"] = data["distance_km"] * KILOMETRES_PER_MILE
    data["region"] = REGION
    data["upload"] = job.upload
    data["upload_etag"] = job.upload_etag
    return data.astype(
        {
            "row_number": "uint64",
            "utc_offset_minutes": "int16",
            "origin_h3": "uint64",
            "destination_h3": "uint64",
            "distance_km": "float32",
            "passenger_count": "uint8",
            "fare_amount": "float32",
            "total_amount": "float32",
        }
    )


def cells(lat: pd.Series, lng: pd.Series) -> list[int]:
    """The H3 cell of each point."""
    return [h3.latlng_to_cell(y, x, RESOLUTION) for y, x in zip(lat, lng, strict=True)]


if __name__ == "__main__":
    main()
