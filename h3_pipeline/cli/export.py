"""``export``: questions into files, by hand."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from h3_pipeline.cli import screen
from h3_pipeline.cli.screen import Column, Grid
from h3_pipeline.errors import ExportError, PipelineError, SettingsError
from h3_pipeline.exports.binding import Bound, bind
from h3_pipeline.exports.catalog import ExportCatalog, Query
from h3_pipeline.exports.header import Format
from h3_pipeline.exports.runner import Exported, last_day, run_export
from h3_pipeline.exports.values import PartitionKind
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_exports
from h3_pipeline.storage.bucket import Bucket


@dataclass(frozen=True, slots=True)
class ExportedByHand:
    """An export, and where a person finds its files.

    Attributes:
        query: The export.
        exported: What was made.
        paths: The files on this machine, or their keys in the bucket where none is here.
    """

    query: Query
    exported: Exported
    paths: Sequence[str]

    @property
    def map(self) -> str | None:
        """The map, if there is one."""
        return next((path for path in self.paths if path.endswith(f".{Format.MAP.value}")), None)


def export(names: Sequence[str], parameters: Sequence[str], day: str | None, out: Path | None, *, as_json: bool) -> int:
    """Run exports and show where their files are."""
    settings = Settings.load()
    catalog = load_exports(settings)
    queries = [catalog.get(name) for name in dict.fromkeys(names)] or list(catalog.queries.values())
    given = _given(parameters, queries)
    wanted_day = _day(day, queries)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    with bucket_access(settings) as access:
        done = run_exports(settings, Bucket(access), queries, given, wanted_day, out)
    if as_json:
        screen.say(json.dumps({"exports": [_document(one) for one in done]}, ensure_ascii=False, indent=2, default=str))
    else:
        show_exports(done)
    return 0


def run_exports(
    settings: Settings,
    bucket: Bucket,
    queries: Sequence[Query],
    given: Mapping[str, str] | None = None,
    day: date | None = None,
    out: Path | None = None,
) -> list[ExportedByHand]:
    """Run exports one after the other, and tell Dagster.

    Args:
        settings: Which warehouse.
        bucket: Where the files go.
        queries: The exports.
        given: Values of parameters, each for the exports that have it.
        day: The day or month of exports that are about one; by default the last one with trips.
        out: A folder that gets the files as well.

    Raises:
        PipelineError: An export failed; those before it stand.
    """
    bound = _bound(settings, queries, given or {}, day)
    done = []
    for one in bound:
        with screen.stage(f"Exporting {one.query.name}"):
            exported = run_export(one, settings=settings, bucket=bucket, on_wait=screen.note)
        if damaged := exported.damaged:
            raise ExportError(
                f"The {damaged[0].format} file of {one.query.name} reads back as {damaged[0].found}, not as "
                f"{damaged[0].expected}; nothing was published. Run it again"
            )
        done.append(ExportedByHand(one.query, exported, _paths(exported, bucket, out)))
    _tell_dagster(settings, done)
    return done


def show_exports(done: Sequence[ExportedByHand]) -> None:
    """The table of what was exported."""
    grid = Grid(
        [Column("export"), Column("rows", number=True), Column("size", number=True), Column("file", folds=True)]
    )
    for one in done:
        manifest = one.exported.manifest
        name = manifest.name if manifest.partition is None else f"{manifest.name} {manifest.partition}"
        for position, (file, path) in enumerate(zip(manifest.files, one.paths, strict=True)):
            first = position == 0
            grid.rows.append(
                [name if first else None, manifest.rows if first else None, screen.bytes_text(file.bytes), path]
            )
    screen.show(grid)


def show_overview(done: Sequence[ExportedByHand]) -> None:
    """A line for each export."""
    grid = Grid([Column("export"), Column("rows", number=True), Column("formats"), Column("folder", folds=True)])
    for one in done:
        manifest = one.exported.manifest
        formats = ", ".join(file.format for file in manifest.files)
        grid.rows.append([manifest.name, manifest.rows, formats, str(Path(one.paths[0]).parent)])
    screen.show(grid)


def list_exports(*, as_json: bool) -> int:
    """Show which exports there are."""
    catalog = load_exports(Settings.load())
    if as_json:
        screen.say(json.dumps({"exports": _listed(catalog)}, ensure_ascii=False, indent=2, default=str))
        return 0
    grid = Grid(
        [
            Column("export"),
            Column("title", folds=True),
            Column("about"),
            Column("schedule"),
            Column("formats", folds=True),
        ]
    )
    for query in catalog.queries.values():
        header = query.header
        about = "all" if header.partition is PartitionKind.NONE else header.partition.value
        formats = ", ".join(each.header_name for each in header.formats)
        grid.rows.append([query.name, header.title, about, header.schedule, formats])
        for name, parameter in header.parameters.items():
            grid.rows.append([f"  {name}", f"{parameter.description} ({_shown(parameter.default)})", None, None, None])
        if not query.shipped:
            instead = ", instead of the shipped one" if query.replaces_shipped else ""
            grid.rows.append([None, f"from {query.filename}{instead}", None, None, None])
    screen.show(grid)
    return 0


def _bound(settings: Settings, queries: Sequence[Query], given: Mapping[str, str], day: date | None) -> list[Bound]:
    """Every export with its values: a wrong one is found before the first export runs."""
    kinds = {query.header.partition for query in queries} - {PartitionKind.NONE}
    if kinds and day is None:
        with screen.stage("Looking for the last day with trips"):
            day = last_day(settings, on_wait=screen.note)
        if day is None and len(queries) == 1:
            raise PipelineError("There are no trips in the tables yet; say which day with --date")
    bound = []
    for query in queries:
        own = {name: value for name, value in given.items() if name in query.header.parameters}
        partition = query.header.partition.containing(day or date.today() - timedelta(days=1))
        bound.append(bind(query, own, partition, settings.h3_rollup_resolutions))
    return bound


def _given(parameters: Sequence[str], queries: Sequence[Query]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise PipelineError(f"--param takes NAME=VALUE, not {text!r}")
        if name in given:
            raise PipelineError(f"--param {name} is there twice")
        if not any(name in query.header.parameters for query in queries):
            known = sorted({known for query in queries for known in query.header.parameters})
            raise PipelineError(f"No such parameter: {name}; there are {', '.join(known) or 'none'}")
        given[name] = value
    return given


def _day(text: str | None, queries: Sequence[Query]) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise PipelineError(f"--date takes a day as YYYY-MM-DD, not {text!r}") from None
    if all(query.header.partition is PartitionKind.NONE for query in queries):
        raise PipelineError(f"--date is for exports by day or month; {queries[0].name} is about everything")
    return day


def _paths(exported: Exported, bucket: Bucket, out: Path | None) -> list[str]:
    """Where the files are: in the folder that was asked for, else on this machine, else in the bucket."""
    files = exported.manifest.files
    names = [file.key.rsplit("/", 1)[1] for file in files]
    if out is None:
        folder = exported.folder
        return [file.key if folder is None else str(folder / name) for file, name in zip(files, names, strict=True)]
    paths = []
    for file, name in zip(files, names, strict=True):
        stem, ending = name.split(".", 1)
        partition = exported.manifest.partition
        target = out / (f"{stem}-{partition}.{ending}" if partition else name)
        draft = target.with_name(f".{target.name}.draft")
        if exported.folder is not None:
            shutil.copyfile(exported.folder / name, draft)
        else:
            with draft.open("wb") as opened:
                bucket.download(file.key, opened)
        draft.replace(target)
        paths.append(str(target))
    return paths


def _tell_dagster(settings: Settings, done: Sequence[ExportedByHand]) -> None:
    """Show the exports in Dagster as ones that runs made."""
    with screen.stage("Telling Dagster"):
        from dagster import DagsterError, DagsterInstance

        from h3_pipeline.assets.exports import export_events

        with dagster_home(settings.home) as folder:
            try:
                with DagsterInstance.get() as instance:
                    for one in done:
                        for event in export_events(one.query, one.exported):
                            instance.report_runless_asset_event(event)
            except DagsterError as error:
                raise SettingsError(f"Dagster cannot use DAGSTER_HOME {folder}: {error}") from error


def _document(one: ExportedByHand) -> dict[str, Any]:
    manifest = one.exported.manifest
    return {
        "name": manifest.name,
        "partition": manifest.partition,
        "parameters": dict(manifest.parameters),
        "rows": manifest.rows,
        "version": manifest.version,
        "is_latest": one.exported.is_latest,
        "manifest": one.exported.place.key(manifest.version, "manifest.json"),
        "files": [
            {"format": file.format, "bytes": file.bytes, "sha256": file.sha256, "key": file.key, "path": path}
            for file, path in zip(manifest.files, one.paths, strict=True)
        ],
        "seconds": manifest.seconds,
    }


def _listed(catalog: ExportCatalog) -> list[dict[str, Any]]:
    return [
        {
            "name": query.name,
            "title": query.header.title,
            "description": query.header.description,
            "partition": query.header.partition.value,
            "schedule": query.header.schedule,
            "formats": [each.header_name for each in query.header.formats],
            "parameters": {
                name: {"type": one.type, "default": one.default, "description": one.description}
                for name, one in query.header.parameters.items()
            },
            "file": None if query.shipped else query.filename,
        }
        for query in catalog.queries.values()
    ]


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, list) else str(default) or '""'
