"""What a person sees of a materialization in Dagster's UI."""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster import MetadataValue, TableColumn, TableMetadataValue, TableRecord, TableSchema

from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.trips.columns import TRIP_COLUMNS, Column
from h3_pipeline.trips.rules import REASONS, WARNINGS
from h3_pipeline.warehouse.loading import LoadedUpload

_PREVIEW_ROWS = 10

Metadata = dict[str, Any]


def column_schema(columns: Sequence[Column]) -> TableSchema:
    """Columns as Dagster shows them."""
    return TableSchema(columns=[TableColumn(name=c.name, type=c.type, description=c.description) for c in columns])


TRIPS_SCHEMA = column_schema(TRIP_COLUMNS)


def processed_metadata(manifest: Manifest, sample: Sequence[Mapping[str, Any]]) -> Metadata:
    """Metadata of a processed upload."""
    metadata: Metadata = {
        "rows in": manifest.rows_in,
        "rows loaded": manifest.rows_loaded,
        "rows rejected": manifest.rows_rejected,
        "dagster/row_count": manifest.rows_loaded,
        "feed": manifest.feed,
        "time zone": manifest.dialect["timezone"],
        "upload bytes": manifest.upload_bytes,
        "rows per second": round(manifest.rows_in / max(manifest.seconds, 0.001)),
        "seconds": manifest.seconds,
        "first departure": manifest.first_started_at,
        "last departure": manifest.last_started_at,
        "processed object": MetadataValue.path(manifest.processed_key),
        "preview": preview(sample),
    }
    if manifest.rejected:
        metadata["rejected by reason"] = counts_table("reason", manifest.rejected, _REASON_TEXTS)
        metadata["rejected rows"] = MetadataValue.path(manifest.rejected_key or "")
    if manifest.warnings:
        metadata["warnings"] = counts_table("warning", manifest.warnings, _WARNING_TEXTS)
    return metadata


def loaded_metadata(table: str, loaded: LoadedUpload) -> Metadata:
    """Metadata of an upload's rows in one table of the warehouse."""
    metadata: Metadata = {"dagster/row_count": loaded.rows[table], "seconds": loaded.seconds}
    if loaded.months:
        metadata["months"] = ", ".join(f"{month[:4]}-{month[4:]}" for month in loaded.months)
    recounts = [check for check in loaded.recounts if check.table == table]
    if recounts:
        metadata["recount by resolution"] = MetadataValue.table(
            [
                TableRecord(
                    {
                        "resolution": check.resolution,
                        "groups": check.groups,
                        "trips": check.trips,
                        "recounted trips": check.recounted_trips,
                        "equal": check.equal,
                    }
                )
                for check in recounts
            ]
        )
    return metadata


def preview(rows: Sequence[Mapping[str, Any]]) -> TableMetadataValue | str:
    """The first few rows as a table."""
    if not rows:
        return "no rows"
    records = [TableRecord({name: _plain(value) for name, value in row.items()}) for row in rows[:_PREVIEW_ROWS]]
    return MetadataValue.table(records)


def counts_table(label: str, counts: Mapping[str, int], texts: Mapping[str, str]) -> TableMetadataValue:
    """Counts by code, largest first, each with what the code means."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return MetadataValue.table(
        [TableRecord({label: code, "rows": rows, "meaning": texts.get(code, "")}) for code, rows in ordered]
    )


_REASON_TEXTS = {rule.code: rule.description for rule in REASONS}
_WARNING_TEXTS = {rule.code: rule.description for rule in WARNINGS}


def _plain(value: Any) -> str | int | float | bool | None:
    # an H3 cell has more digits than the UI's numbers
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return f"{value:x}"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
