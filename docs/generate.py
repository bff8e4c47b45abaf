"""Writes the parts of the documents that come from the code: ``make docs``.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; what is between them is
replaced. ``--check`` changes nothing, and fails if a document is out of date.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from inspect import getdoc
from pathlib import Path
from textwrap import fill
from typing import Any

from pydantic import SecretStr

from benchmarks import documents as benchmarked
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.errors import FeedError, UploadRefused
from h3_pipeline.exports.catalog import ExportCatalog
from h3_pipeline.exports.header import Header
from h3_pipeline.exports.publication import ExportManifest
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.describe import describe_upload
from h3_pipeline.feeds.model import BuiltinFeed, Feed
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.settings import Settings
from h3_pipeline.telemetry.metric_names import METRICS
from h3_pipeline.trips.columns import MAPPABLE_COLUMNS, POINT_COLUMNS, TRIP_COLUMNS
from h3_pipeline.trips.rules import REASONS, WARNINGS, Rule
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement

REPOSITORY = Path(__file__).resolve().parents[1]

_BLOCK = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
_ATTRIBUTE = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.+(?:\n {8}\S.*)*)", re.MULTILINE)


def documents() -> list[Path]:
    """The documents that may have generated blocks; those of `aws.md` come from the app in `infra/`."""
    found = (REPOSITORY / "docs").rglob("*.md")
    return [REPOSITORY / "README.md", *sorted(document for document in found if document.name != "aws.md")]


def render(text: str) -> str:
    """A document with its generated blocks as the code has them now.

    Raises:
        KeyError: A block has a name that this module does not know.
    """
    return _BLOCK.sub(lambda match: f"{match['begin']}{_BLOCKS[match['name']]()}\n{match['end']}", text)


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or with ``--check`` name those that are out of date."""
    check = "--check" in arguments
    stale = []
    for path in documents():
        text = path.read_text(encoding="utf-8")
        rendered = render(text)
        if rendered == text:
            continue
        stale.append(path.relative_to(REPOSITORY))
        if not check:
            path.write_text(rendered, encoding="utf-8")
    for path in stale:
        print(f"{path}: out of date; run `make docs`" if check else f"{path}: written")
    return 1 if check and stale else 0


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    # a literal of reStructuredText is one of Markdown with single quotes
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def _code(text: object) -> str:
    return f"`{text}`"


def _attributes(kind: type) -> dict[str, str]:
    """What a class's docstring says of its attributes."""
    section = (getdoc(kind) or "").split("Attributes:", 1)[-1]
    return {match["name"]: match["text"] for match in _ATTRIBUTE.finditer(section)}


def _trips() -> str:
    return _table(["column", "type", "meaning"], ([_code(c.name), _code(c.type), c.description] for c in TRIP_COLUMNS))


def _rules(rules: Sequence[Rule], header: str) -> str:
    return _table([header, "meaning"], ([_code(rule.code), rule.description] for rule in rules))


def _manifest() -> str:
    texts = _attributes(Manifest)
    return _table(["key", "what"], ([_code(field.name), texts[field.name]] for field in fields(Manifest)))


@cache
def _warehouse_columns() -> Mapping[str, Sequence[tuple[str, str, str]]]:
    """Name, type and comment of the columns of every table, as the engine itself tells them."""
    with tempfile.TemporaryDirectory() as folder, open_embedded(Path(folder) / "warehouse") as engine:
        placement = Placement("h3_pipeline")
        migrate(engine, placement)
        rows = engine.rows(
            "SELECT table, name, type, comment FROM system.columns WHERE database = {database:String} "
            "ORDER BY table, position",
            {"database": placement.database},
        )
    tables: dict[str, list[tuple[str, str, str]]] = {}
    for table, *column in rows:
        name, kind, comment = (str(value) for value in column)
        tables.setdefault(str(table), []).append((name, kind, comment))
    return tables


def _warehouse_table(name: str) -> Callable[[], str]:
    return lambda: _table(
        ["column", "type", "meaning"],
        ([_code(column), _code(kind), comment] for column, kind, comment in _warehouse_columns()[name]),
    )


def _view(name: str) -> Callable[[], str]:
    return lambda: _table(
        ["column", "type"], ([_code(column), _code(kind)] for column, kind, _ in _warehouse_columns()[name])
    )


def _feed_keys() -> str:
    texts = _attributes(Feed)
    rows = []
    for name, field in Feed.model_fields.items():
        default = "required" if field.is_required() else "" if field.default in (None, "") else _code(_yaml(field))
        rows.append([_code(name), default, texts[name].replace("None", "absent")])
    return _table(["key", "default", "meaning"], rows)


def _yaml(field: Any) -> str:
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _mappable() -> str:
    descriptions = {column.name: column.description for column in TRIP_COLUMNS}
    points = {name: f"{name.split('_')[0]} as WKT, `POINT (lng lat)`" for name in POINT_COLUMNS}
    return _table(["column", "meaning"], ([_code(name), (descriptions | points)[name]] for name in MAPPABLE_COLUMNS))


def _builtin_feeds() -> str:
    return _table(
        ["feed", "recognised by a header with", "region", "zone of naive times", "distances"],
        (_builtin_feed(feed) for feed in FeedCatalog.load().builtin),
    )


def _builtin_feed(feed: BuiltinFeed) -> list[str]:
    headers = "<br>or ".join(", ".join(map(_code, names)) for names in feed.recognised_by)
    zone = {None: "UTC, with a warning", "auto": "that of the origins"}.get(feed.timezone, str(feed.timezone))
    has_distance = "distance_km" in (feed.columns or {})
    distances = (feed.distance_unit or "km") if has_distance else ""
    return [_code(feed.name), headers or "the names below", feed.region, zone, distances]


def _generic_names() -> str:
    generic = FeedCatalog.load().builtin[-1]
    return _table(
        ["column", "names, the first that is there is read"],
        ([_code(column), ", ".join(map(_code, sources))] for column, sources in (generic.columns or {}).items()),
    )


_WRONG_FEEDS = (
    "{name: taxis, timezon: Europe/Paris}",
    "{name: taxis, timezone: Europe/Pari}",
    "{name: taxis, time_format: '%d/%m/%y %H:%M'}",
    "{name: taxis, delimiter: comma}",
    "{name: taxis, columns: {started_at: start, origin_lat: lat}}",
    "{name: taxis, columns: {started_at: start, origin: from}}",
    "{name: taxis, has_header: false, columns: {started_at: 3, origin_lat: 8, origin_lng: 9}}",
)

_WRONG_FILES = (
    ("No feed knows the header", "when,where_lat,where_lon\n2024-05-01 08:00:00,48.85,2.35\n"),
    ("There is no header", "2024-05-01 08:00:00,48.85,2.35\n2024-05-01 08:05:00,48.86,2.34\n"),
    ("No date tells month from day", "started_at,origin_lat,origin_lng\n05/04/2024 08:00,48.85,2.35\n"),
    (
        "Both orders of date occur",
        "started_at,origin_lat,origin_lng\n5/13/2024 8:00,48.8,2.3\n13/5/2024 8:00,48.8,2.3\n",
    ),
    ("No time is in a known format", "started_at,origin_lat,origin_lng\nyesterday,48.85,2.35\n"),
    (
        "The trips of one file lie in two zones",
        "ride_id,rideable_type,started_at,start_lat,start_lng\n"
        "a,bike,2024-05-01 08:00:00,40.71,-74.0\nb,bike,2024-05-01 08:00:00,41.88,-87.63\n",
    ),
)


def _feed_messages() -> str:
    return _texts(f"  - {feed}\n{_feed_message(feed)}" for feed in _WRONG_FEEDS)


def _feed_message(feed: str) -> str:
    try:
        FeedCatalog.load(f"feeds:\n  - {feed}\n")
    except FeedError as error:
        return str(error)
    raise AssertionError(f"{feed} is a valid feed")


def _file_messages() -> str:
    return "\n\n".join(f"{case}:\n\n{_texts([_file_message(text)])}" for case, text in _WRONG_FILES)


def _file_message(text: str) -> str:
    try:
        describe_upload("paris/may.csv", text.encode(), FeedCatalog.load(), complete=True)
    except UploadRefused as refusal:
        return f"{refusal.code}: {refusal}"
    raise AssertionError(f"{text!r} is a file that can be loaded")


def _texts(texts: Iterable[str]) -> str:
    """Texts as they are, long lines broken."""
    lines = (fill(line, 110, subsequent_indent="    ") for text in texts for line in (*text.split("\n"), ""))
    return "```text\n" + "\n".join(lines).rstrip("\n") + "\n```"


def _export_keys() -> str:
    texts = _attributes(Header)
    rows = []
    for name, field in Header.model_fields.items():
        given = field.default if field.default_factory is None else None
        default = "required" if field.is_required() else "" if given is None else _code(given)
        rows.append([_code(name), default, texts[name]])
    return _table(["key", "default", "meaning"], rows)


def _exports() -> str:
    rows = []
    for name, query in ExportCatalog.load().queries.items():
        header = query.header
        parameters = ", ".join(_code(f"{key}={_shown(one.default)}") for key, one in header.parameters.items())
        formats = ", ".join(each.header_name for each in header.formats)
        rows.append([_code(name), f"**{header.title}.** {header.description}", parameters, formats])
    return _table(["export", "what its rows say", "parameters", "formats"], rows)


def _export_manifest() -> str:
    texts = _attributes(ExportManifest)
    return _table(["key", "what"], ([_code(field.name), texts[field.name]] for field in fields(ExportManifest)))


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        if isinstance(shown, bool):
            shown = int(shown)
        rows.append([_code(name.upper()), "" if shown in (None, "") else _code(shown), field.description or ""])
    return _table(["variable", "default", "meaning"], rows)


def _metrics() -> str:
    rows = (
        [_code(m.name), m.unit.value, _code(m.dimension.key) if m.dimension else "", m.statistic.value, m.description]
        for m in METRICS
    )
    return _table(["metric", "unit", "dimension", "statistic", "what"], rows)


_BLOCKS: Mapping[str, Callable[[], str]] = {
    "metrics": _metrics,
    "trips": _trips,
    "reasons": lambda: _rules(REASONS, "reason"),
    "warnings": lambda: _rules(WARNINGS, "warning"),
    "manifest": _manifest,
    "cell-hourly": _warehouse_table("cell_hourly"),
    "flow-hourly": _warehouse_table("flow_hourly"),
    "cell-hourly-view": _view("cell_hourly_view"),
    "flow-hourly-view": _view("flow_hourly_view"),
    "load-history": _warehouse_table("load_history"),
    "feed-keys": _feed_keys,
    "mappable-columns": _mappable,
    "builtin-feeds": _builtin_feeds,
    "generic-names": _generic_names,
    "export-keys": _export_keys,
    "exports": _exports,
    "export-manifest": _export_manifest,
    "feed-messages": _feed_messages,
    "file-messages": _file_messages,
    "settings": _settings,
    **benchmarked.BLOCKS,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
