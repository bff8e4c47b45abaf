"""``status``: what is loaded, and what runs."""

import json
from dataclasses import dataclass
from typing import Any

from h3_pipeline.cli import screen
from h3_pipeline.cli.dev import running_ui
from h3_pipeline.cli.screen import Column, Grid
from h3_pipeline.local import object_store
from h3_pipeline.settings import Settings
from h3_pipeline.warehouse.connect import Shards, open_shard
from h3_pipeline.warehouse.overview import TableSize, UploadState, table_sizes, upload_states


@dataclass(frozen=True, slots=True)
class _Status:
    warehouse: str
    bucket: str
    bucket_runs: bool | None
    ui: str | None
    uploads: list[UploadState]
    tables: list[TableSize]

    def to_json(self) -> dict[str, Any]:
        return {
            "warehouse": self.warehouse,
            "bucket": self.bucket,
            "bucket_runs": self.bucket_runs,
            "ui": self.ui,
            "uploads": [
                {
                    "upload": state.latest.upload,
                    "event": state.latest.event,
                    "at": state.latest.at.isoformat() if state.latest.at else None,
                    "feed": state.latest.feed or None,
                    "rows_in": state.latest.rows_in,
                    "rows_loaded": state.latest.rows_loaded,
                    "rows_rejected": sum(state.latest.rejected.values()),
                    "rejected": dict(state.latest.rejected),
                    "warnings": dict(state.latest.warnings),
                    "error": state.latest.message or None,
                    "rows_in_tables": state.rows,
                    "months": state.months,
                    "run_id": state.latest.run_id or None,
                }
                for state in self.uploads
            ],
            "tables": [{"name": table.name, "rows": table.rows, "bytes": table.size} for table in self.tables],
        }


def status(*, as_json: bool) -> int:
    """Show what is loaded."""
    now = _look(Settings.load())
    if as_json:
        screen.say(json.dumps(now.to_json(), ensure_ascii=False, indent=2))
    else:
        _show(now)
    return 0


def _look(settings: Settings) -> _Status:
    uploads: list[UploadState] = []
    sizes: list[list[TableSize]] = []
    # an empty home stays empty
    if not settings.embedded or (settings.home / "warehouse").is_dir():
        for shard in Shards(settings).all:
            with open_shard(settings, shard, None, on_wait=screen.note) as warehouse:
                uploads += upload_states(warehouse.engine, warehouse.placement)
                sizes.append(table_sizes(warehouse.engine, warehouse.placement))
    if settings.local_object_store:
        server = object_store.running(settings.home)
        bucket, bucket_runs = server.endpoint_url if server else "", server is not None
    else:
        bucket, bucket_runs = settings.s3_endpoint_url or f"AWS S3, {settings.aws_region}", None
    return _Status(
        warehouse=str(settings.home / "warehouse")
        if settings.embedded
        else f"{settings.clickhouse_host}:{settings.warehouse_http_port}",
        bucket=f"{settings.s3_bucket} at {bucket}" if bucket else settings.s3_bucket,
        bucket_runs=bucket_runs,
        ui=running_ui(settings.home),
        uploads=sorted(uploads, key=lambda state: state.latest.upload),
        tables=[
            TableSize(same[0].name, sum(table.rows for table in same), sum(table.size for table in same))
            for same in zip(*sizes, strict=True)
        ],
    )


def _show(now: _Status) -> None:
    if now.uploads:
        grid = Grid(
            [
                Column("upload", folds=True),
                Column("event"),
                Column("at (UTC)"),
                Column("rows in", number=True),
                Column("loaded", number=True),
                Column("rejected", number=True),
                Column("months"),
            ]
        )
        for state in now.uploads:
            event = state.latest
            rejected = sum(event.rejected.values())
            grid.rows.append(
                [event.upload, event.event, event.at, event.rows_in, state.rows, rejected, _span(state.months)]
            )
        screen.show(grid)
        sizes = Grid([Column("table"), Column("rows", number=True), Column("on disk", number=True)])
        sizes.rows.extend([table.name, table.rows, screen.bytes_text(table.size)] for table in now.tables)
        screen.show(sizes)
    else:
        screen.say("Nothing is loaded yet. Begin with `h3-pipeline demo`, or `h3-pipeline ingest FILE...`")
    runs = {None: "", True: " (running)", False: " (starts when it is needed)"}[now.bucket_runs]
    screen.say(f"warehouse  {now.warehouse}")
    screen.say(f"bucket     {now.bucket}{runs}")
    screen.say(f"Dagster    {now.ui or 'not running; `h3-pipeline dev` starts it'}")


def _span(months: list[str]) -> str:
    if len(months) < 2:
        return "".join(months)
    first, last = months[0], months[-1]
    return f"{first}..{last[5:] if first[:4] == last[:4] else last}"
