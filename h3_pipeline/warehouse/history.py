"""What was done with each upload: loaded, refused, retracted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import Placement

TABLE = "load_history"


@dataclass(frozen=True, slots=True)
class UploadEvent:
    """One thing that was done with an upload.

    Attributes:
        upload: Key below ``uploads/``.
        upload_etag: Version of the object.
        event: ``loaded``, ``refused`` or ``retracted``.
        feed: Feed that matched, or ``''``.
        rows_in: Records in the upload, or None where it was not read to its end.
        rows_loaded: Rows in ``trips``.
        rejected: Rows refused, by reason.
        warnings: Rows noted, by warning.
        message: Why it was refused, or ``''``.
        run_id: Dagster run, or ``''``.
        at: When, UTC; set by the warehouse when it is recorded.
    """

    upload: str
    upload_etag: str
    event: str
    feed: str = ""
    rows_in: int | None = None
    rows_loaded: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    warnings: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    run_id: str = ""
    at: datetime | None = None


def record(engine: ClickHouse, placement: Placement, event: UploadEvent) -> None:
    """Write an event; it is complete by now."""
    engine.command(
        f"INSERT INTO {placement.table(TABLE)} "
        "(upload, upload_etag, event, at, feed, rows_in, rows_loaded, rejected, warnings, message, run_id) SELECT "
        "{upload:String}, {etag:String}, {event:String}, now64(6, 'UTC'), {feed:String}, {rows_in:Nullable(UInt64)}, "
        "{rows_loaded:UInt64}, mapFromArrays({rejected_codes:Array(String)}, {rejected_rows:Array(UInt64)}), "
        "mapFromArrays({warning_codes:Array(String)}, {warning_rows:Array(UInt64)}), {message:String}, "
        "{run_id:String}",
        {
            "upload": event.upload,
            "etag": event.upload_etag,
            "event": event.event,
            "feed": event.feed,
            "rows_in": event.rows_in,
            "rows_loaded": event.rows_loaded,
            "rejected_codes": list(event.rejected),
            "rejected_rows": list(event.rejected.values()),
            "warning_codes": list(event.warnings),
            "warning_rows": list(event.warnings.values()),
            "message": event.message,
            "run_id": event.run_id,
        },
    )


def latest(engine: ClickHouse, placement: Placement) -> list[UploadEvent]:
    """The latest event of every upload, by key."""
    rows = engine.records(f"SELECT * FROM {placement.table(TABLE)} ORDER BY upload, at DESC LIMIT 1 BY upload")
    return [UploadEvent(**row) for row in rows]


def latest_loads(engine: ClickHouse, placement: Placement) -> list[UploadEvent]:
    """The latest load of every upload that has not been retracted since; a refusal changes nothing."""
    rows = engine.records(
        f"SELECT * FROM {placement.table(TABLE)} WHERE event != 'refused' ORDER BY upload, at DESC LIMIT 1 BY upload"
    )
    return [UploadEvent(**row) for row in rows if row["event"] == "loaded"]


def retracted_versions(engine: ClickHouse, placement: Placement) -> dict[str, str]:
    """Uploads that were retracted and not loaded since, with the version whose rows were taken out.

    A refused version that came in between was never in the tables, so it changes nothing.
    """
    return engine.pairs(
        "SELECT upload, if(countIf(event = 'loaded') > 0, argMaxIf(upload_etag, at, event = 'loaded'), "
        f"argMax(upload_etag, at)) FROM {placement.table(TABLE)} WHERE event != 'refused' "
        "GROUP BY upload HAVING argMax(event, at) = 'retracted'"
    )
