"""Which feed reads a file, and which column is where."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds import hints
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.dialect import DELIMITERS, Text
from h3_pipeline.feeds.headers import Header
from h3_pipeline.feeds.model import AUTO, BuiltinFeed, Feed, Source

_SHOWN_ALTERNATIVES = 4


@dataclass(frozen=True, slots=True)
class Match:
    """The feed that reads a file.

    Attributes:
        feed: The feed; a built-in one that a user's feed without columns changes is already changed.
        users: Whether the user's feeds file names it.
        delimiter: Field separator.
        names: Names of the columns in file order.
        columns: Canonical column to 0-based position.
    """

    feed: Feed
    users: bool
    delimiter: str
    names: tuple[str, ...]
    columns: Mapping[str, int]


@dataclass(slots=True)
class _Columns:
    """What of a feed's columns a header has."""

    found: dict[str, int] = field(default_factory=dict)
    lacking: dict[str, tuple[Source, ...]] = field(default_factory=dict)
    twice: dict[str, list[int]] = field(default_factory=dict)


def match_feed(key: str, text: Text, catalog: FeedCatalog) -> Match:
    """Find the feed for a file.

    The first of the user's feeds whose glob matches and whose columns are there wins. Without one,
    the first built-in feed that recognises the header does, unless a feed of the user's states a
    glob for the key: it was meant for the file, which therefore is refused.

    Raises:
        UploadRefused: ``unknown_header`` or ``duplicate_column``; or what is wrong with the text, if
            that is why the header cannot be told.
    """
    meant: UploadRefused | None = None
    for feed in catalog.for_key(key):
        if feed.columns is None:
            match = _match_builtin(text, catalog, feed)
        elif feed.has_header:
            match = _match_by_header(feed, text)
        else:
            match = _match_by_position(feed, text)
        if match:
            return match
        if meant is None and feed.columns is not None and "match" in feed.model_fields_set:
            meant = _columns_lacking(feed, text)
    if meant:
        raise meant
    match = _match_builtin(text, catalog, None)
    if match is None:
        raise _unknown_header(key, text, catalog)
    return match


def _headers(text: Text, delimiter: str | None) -> list[Header]:
    if delimiter is None:
        return text.headers()
    header = text.header(delimiter)
    return [header] if header else []


def _match_builtin(text: Text, catalog: FeedCatalog, change: Feed | None) -> Match | None:
    """The first built-in feed that recognises the header, with a user's feed's changes if there is one."""
    headers = _headers(text, change.delimiter if change else None)
    for builtin in catalog.builtin:
        for header in headers:
            if not _is_recognised(builtin, header):
                continue
            columns = _locate(builtin, header)
            if not _required_lacking(columns):
                places = _whole_places(columns.found)
                _refuse_twice(builtin, header, columns, places)
                feed = builtin.changed_by(change) if change else builtin
                return Match(feed, change is not None, header.delimiter, header.names, places)
    return None


def _is_recognised(feed: BuiltinFeed, header: Header) -> bool:
    return not feed.recognised_by or any(header.has_all(names) for names in feed.recognised_by)


def _match_by_header(feed: Feed, text: Text) -> Match | None:
    for header in _headers(text, feed.delimiter):
        columns = _locate(feed, header)
        if not columns.lacking:
            _refuse_twice(feed, header, columns, columns.found)
            return Match(feed, True, header.delimiter, header.names, columns.found)
    return None


def _match_by_position(feed: Feed, text: Text) -> Match | None:
    places = {column: sources[0] - 1 for column, sources in (feed.columns or {}).items() if isinstance(sources[0], int)}
    widths = {delimiter: text.usual_width(delimiter) for delimiter in _candidates(feed)}
    wide_enough = [delimiter for delimiter, (width, _) in widths.items() if width > max(places.values())]
    if not wide_enough:
        return None
    delimiter = max(wide_enough, key=lambda one: (widths[one][1] > 0.5, widths[one][0]))
    names = tuple(f"column_{place}" for place in range(1, widths[delimiter][0] + 1))
    return Match(feed, True, delimiter, names, places)


def _candidates(feed: Feed) -> Iterable[str]:
    return (feed.delimiter,) if feed.delimiter else DELIMITERS


def _locate(feed: Feed, header: Header) -> _Columns:
    """Where the header has the feed's columns."""
    columns = _Columns()
    for column, sources in (feed.columns or {}).items():
        for source in sources:
            if isinstance(source, int):
                places = [source - 1] if source <= header.width else []
            else:
                places = header.places(source)
            if places:
                columns.found[column] = places[0]
                if len(places) > 1:
                    columns.twice[column] = places
                break
        else:
            columns.lacking[column] = sources
    return columns


def _required_lacking(columns: _Columns) -> list[str]:
    """Canonical columns without which there is no trip, as far as they are lacking."""
    lacking = [] if "started_at" in columns.found else ["started_at"]
    pair = ("origin_lat", "origin_lng")
    if "origin_point" not in columns.found:
        mapped = [column for column in pair if column in columns.lacking or column in columns.found]
        lacking += [column for column in mapped or ["origin_point"] if column not in columns.found]
    return lacking


def _whole_places(found: dict[str, int]) -> dict[str, int]:
    """Of an end of the trip, either both coordinates or the point; not half of them, and not both."""
    columns = dict(found)
    for end in ("origin", "destination"):
        if f"{end}_lat" in found and f"{end}_lng" in found:
            columns.pop(f"{end}_point", None)
        else:
            columns.pop(f"{end}_lat", None)
            columns.pop(f"{end}_lng", None)
    return columns


def _refuse_twice(feed: Feed, header: Header, columns: _Columns, used: Mapping[str, int]) -> None:
    for column, places in columns.twice.items():
        if column not in used:
            continue
        where = " and ".join(str(place + 1) for place in places[:5])
        raise UploadRefused(
            "duplicate_column",
            f"The header has {hints.shown(header.names[places[0]])} {len(places)} times (columns {where}), and feed"
            f" {feed.name!r} reads {column} from it; rename all but one, or write a feed that maps {column} to a"
            " position",
        )


def _columns_lacking(feed: Feed, text: Text) -> UploadRefused:
    """The refusal of a file that a user's feed is meant for but cannot read."""
    headers = _headers(text, feed.delimiter)
    if not headers:
        text.sample(feed.delimiter or DELIMITERS[0], has_header=feed.has_header)
    elif feed.has_header:
        _refuse_bad_structure(text, headers[0].delimiter)
    if not feed.has_header:
        delimiter = max(_candidates(feed), key=lambda one: text.usual_width(one)[0])
        width = text.usual_width(delimiter)[0]
        beyond = [
            f"{column} (column {source})"
            for column, (source, *_) in (feed.columns or {}).items()
            if isinstance(source, int) and source > width
        ]
        return UploadRefused(
            "unknown_header",
            f"Feed {feed.name!r} (match: {feed.match!r}) has columns that the file has not: {', '.join(beyond)};"
            f" its records have {width} fields, divided by {delimiter!r}. Correct the feed",
        )
    best = min(headers, key=lambda header: len(_locate(feed, header).lacking)) if headers else None
    lacking = _locate(feed, best).lacking if best else dict(feed.columns or {})
    listed = ", ".join(f"{source!r} (for {column})" for column, (source, *_) in lacking.items())
    return UploadRefused(
        "unknown_header",
        f"Feed {feed.name!r} (match: {feed.match!r}) names columns that the header has not: {listed}."
        f" {_found(best)} Correct the feed's columns or its match",
    )


def _unknown_header(key: str, text: Text, catalog: FeedCatalog) -> UploadRefused:
    """The refusal of a file whose header no feed knows, with a feed to paste."""
    headers = text.headers()
    if not headers:
        text.sample(DELIMITERS[0], has_header=True)  # says why there is none
        raise AssertionError("a text with a readable header gives one")
    _refuse_bad_structure(text, headers[0].delimiter)
    record = headers[0]
    if hints.looks_like_data(record):
        snippet = hints.feed_line(key, has_header=False, timezone=AUTO, columns=hints.columns_by_position(record))
        return UploadRefused(
            "unknown_header",
            f"The first line is data, not a header: {hints.shown_names(record.names)}. If the file has no header, write"
            " a feed with the positions of its columns (check those proposed) into the file that H3_PIPELINE_FEEDS"
            f" names: {snippet}",
        )
    nearest, header, columns = _nearest(headers, catalog)
    lacking = _required_lacking(columns)
    listed = ", ".join(f"{column} ({_alternatives(columns.lacking[column])})" for column in lacking) or "its marks"
    snippet = hints.feed_line(key, timezone=AUTO, columns=hints.columns_by_name(header, _whole_places(columns.found)))
    return UploadRefused(
        "unknown_header",
        f"No feed knows this header. {_found(header)} Required columns not found, going by feed {nearest.name!r}:"
        f" {listed}. If the file has them under other names, write a feed (check the columns) into the file that"
        f" H3_PIPELINE_FEEDS names: {snippet}",
    )


def _refuse_bad_structure(text: Text, likely: str) -> None:
    """Refuse what makes a header unreadable rather than unknown."""
    unreadable = [delimiter for delimiter in DELIMITERS if text.header(delimiter) is None]
    for delimiter in (*unreadable, likely):
        try:
            text.sample(delimiter, has_header=True)
        except UploadRefused as error:
            if error.code in ("unclosed_quote", "cr_line_ends"):
                raise


def _nearest(headers: list[Header], catalog: FeedCatalog) -> tuple[BuiltinFeed, Header, _Columns]:
    """The built-in feed that comes nearest to reading the file; in doubt the most general, the last."""
    choices = [(feed, header, _locate(feed, header)) for feed in reversed(catalog.builtin) for header in headers]

    def nearness(choice: tuple[BuiltinFeed, Header, _Columns]) -> tuple[bool, int, int]:
        feed, header, columns = choice
        recognised = bool(feed.recognised_by) and _is_recognised(feed, header)
        required = len(columns.found.keys() & {"started_at", "origin_lat", "origin_lng", "origin_point"})
        return recognised, required, len(columns.found)

    return max(choices, key=nearness)


def _alternatives(sources: tuple[Source, ...]) -> str:
    text = " or ".join(repr(source) for source in sources[:_SHOWN_ALTERNATIVES])
    return text + (" …" if len(sources) > _SHOWN_ALTERNATIVES else "")


def _found(header: Header | None) -> str:
    if header is None:
        return "The header cannot be read."
    count = hints.counted(header.width, "column")
    return f"Header found: {hints.shown_names(header.names)} ({count}, divided by {header.delimiter!r})."
