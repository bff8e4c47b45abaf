"""``ingest``: files into the bucket, and through the pipeline to its end."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from h3_pipeline.cli import screen
from h3_pipeline.cli.process import importing
from h3_pipeline.cli.screen import Column, Grid, Value
from h3_pipeline.cli.upload import plan, send
from h3_pipeline.errors import SettingsError
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog
from h3_pipeline.storage.bucket import Bucket

if TYPE_CHECKING:
    from h3_pipeline.ingestion import IngestReport

REFUSED = 2
"""Exit code: at least one upload was refused."""


def ingest(files: Sequence[Path], to: str, *, as_json: bool) -> int:
    """Upload files and load them."""
    sendings = plan(files, to)
    settings = Settings.load()
    load_catalog(settings)  # a bad feeds file is an error of the command, not of every upload
    with bucket_access(settings) as access:
        bucket = Bucket(access)
        send(bucket, sendings)
        report = load(settings, bucket, [sending.key for sending in sendings])
    if as_json:
        screen.say(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        show_report(report)
    return complain_of_refusals(report)


def load(settings: Settings, bucket: Bucket, keys: Sequence[str]) -> "IngestReport":
    """Load uploads that are in the bucket, in this process.

    Raises:
        PipelineError: Anything but what is in the files.
    """
    with screen.stage("Starting Dagster"), importing():
        from dagster import DagsterError, DagsterInstance

        from h3_pipeline import ingestion

    with dagster_home(settings.home) as folder:
        try:
            instance = DagsterInstance.get()
        except DagsterError as error:
            raise SettingsError(f"Dagster cannot use DAGSTER_HOME {folder}: {error}") from error
        with instance, screen.stage(f"Processing and loading {screen.counted(len(keys), 'upload')}"):
            return ingestion.ingest(keys, bucket=bucket, instance=instance)


def show_report(report: "IngestReport") -> None:
    """The table of what became of each upload; below each, the reasons and the warnings with their rows."""
    columns = [
        Column("upload", folds=True),
        Column("feed"),
        Column("rows in", number=True),
        Column("loaded", number=True),
        Column("rejected", number=True),
        Column("warned", number=True),
        Column("seconds", number=True),
    ]
    rows: list[Sequence[Value]] = []
    for upload in report.uploads:
        name: Value = upload.upload if upload.status == "loaded" else f"{upload.upload} (refused)"
        rows.append([name, upload.feed, upload.rows_in, upload.rows_loaded, upload.rows_rejected, None, upload.seconds])
        rows += [[_below(code), None, None, None, count, None, None] for code, count in _largest_first(upload.rejected)]
        rows += [[_below(code), None, None, None, None, count, None] for code, count in _largest_first(upload.warnings)]
    totals: Sequence[Value] = ()
    if len(report.uploads) > 1:
        totals = [
            "all",
            None,
            sum(upload.rows_in or 0 for upload in report.uploads),
            sum(upload.rows_loaded for upload in report.uploads),
            sum(upload.rows_rejected for upload in report.uploads),
            None,
            report.seconds,
        ]
    screen.show(Grid(columns, rows, totals=totals))


def _below(code: str) -> Text:
    return Text(f"  {code}", style="dim")


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def complain_of_refusals(report: "IngestReport") -> int:
    """Say why uploads were refused, a line each, and return the exit code."""
    refused = [upload for upload in report.uploads if upload.status != "loaded"]
    for upload in refused:
        screen.complain(f"{upload.upload} refused: {upload.error}")
    return REFUSED if refused else 0
