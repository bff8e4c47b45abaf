"""What was done with each upload: loaded, refused, retracted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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


def record(engine: ClickHouse, placement: Placement, events: Sequence[UploadEvent]) -> None:
    """Write events; what they tell of is complete by now."""
    if not events:
        return
    columns = {
        "String": ("upload", "upload_etag", "event", "feed", "message", "run_id"),
        "Nullable(UInt64)": ("rows_in",),
        "UInt64": ("rows_loaded",),
    }
    values: dict[str, tuple[str, list[Any]]] = {
        name: (kind, [getattr(event, name) for event in events]) for kind, names in columns.items() for name in names
    }
    for name in ("rejected", "warnings"):
        counts = [getattr(event, name) for event in events]
        values[f"{name}_codes"] = ("Array(String)", [list(each) for each in counts])
        values[f"{name}_rows"] = ("Array(UInt64)", [list(each.values()) for each in counts])
    arrays = ", ".join(f"{{{name}:Array({kind})}}" for name, (kind, _) in values.items())
    place = {name: f"event.{number}" for number, name in enumerate(values, 1)}
    plain = [name for names in columns.values() for name in names]
    maps = [f"mapFromArrays({place[f'{name}_codes']}, {place[f'{name}_rows']})" for name in ("rejected", "warnings")]
    engine.command(
        f"INSERT INTO {placement.table(TABLE)} ({', '.join(plain)}, rejected, warnings, at) "
        f"SELECT {', '.join(place[name] for name in plain)}, {', '.join(maps)}, now64(6, 'UTC') "
        f"FROM (SELECT arrayJoin(arrayZip({arrays})) AS event)",
        {name: given for name, (_, given) in values.items()},
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
