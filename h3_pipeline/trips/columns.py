"""The canonical columns of a trip, defined once.

The warehouse's DDL, Dagster's column schema and the data contract in the docs derive from here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column of ``trips``.

    Attributes:
        name: Column name.
        type: ClickHouse type.
        description: Meaning and unit, for people.
        mappable: Whether a feed may map a source column to it.
    """

    name: str
    type: str
    description: str
    mappable: bool = False


_TEXT = "LowCardinality(String)"

TRIP_COLUMNS: tuple[Column, ...] = (
    Column("upload", _TEXT, "object key below uploads/"),
    Column("upload_etag", _TEXT, "version of the object (its ETag)"),
    Column("row_number", "UInt64", "1-based record number in the upload, header not counted"),
    Column("region", "LowCardinality(String)", "city or area; from the row, else from the feed, else ''", True),
    Column(
        "datasource", "LowCardinality(String)", "vendor or operator; from the row, else from the feed, else ''", True
    ),
    Column("started_at", "DateTime('UTC')", "departure, UTC", True),
    Column("ended_at", "Nullable(DateTime('UTC'))", "arrival, UTC", True),
    Column("utc_offset_minutes", "Int16", "local time minus UTC at the departure, minutes"),
    Column("origin_lat", "Float64", "latitude of the origin, degrees, WGS 84", True),
    Column("origin_lng", "Float64", "longitude of the origin, degrees, WGS 84", True),
    Column("destination_lat", "Nullable(Float64)", "latitude of the destination, degrees, WGS 84", True),
    Column("destination_lng", "Nullable(Float64)", "longitude of the destination, degrees, WGS 84", True),
    Column("origin_h3", "UInt64", "H3 cell of the origin at the base resolution"),
    Column(
        "destination_h3",
        "Nullable(UInt64)",
        "H3 cell of the destination at the base resolution; NULL where there is no usable destination",
    ),
    Column("distance_km", "Nullable(Float32)", "distance travelled, kilometres", True),
    Column("passenger_count", "Nullable(UInt8)", "passengers", True),
    Column("fare_amount", "Nullable(Float32)", "fare, in the feed's currency", True),
    Column("total_amount", "Nullable(Float32)", "total charged, in the feed's currency", True),
)

POINT_COLUMNS: tuple[str, ...] = ("origin_point", "destination_point")
"""Mappable stand-ins for a latitude and a longitude: WKT ``POINT (lng lat)``."""

MAPPABLE_COLUMNS: tuple[str, ...] = tuple(c.name for c in TRIP_COLUMNS if c.mappable) + POINT_COLUMNS
"""What a feed may map a source column to."""

PROCESSED_COLUMNS: tuple[str, ...] = tuple(c.name for c in TRIP_COLUMNS if c.name not in ("upload", "upload_etag"))
"""Columns of a clean CSV, in order: those of ``trips`` but for the two that are the same in every row."""
