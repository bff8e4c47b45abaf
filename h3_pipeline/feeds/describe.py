"""From an object's key and first bytes to everything needed to read it."""

from collections.abc import Sequence
from dataclasses import replace

from h3_pipeline.errors import UploadRefused
from h3_pipeline.feeds import hints
from h3_pipeline.feeds.catalog import FeedCatalog
from h3_pipeline.feeds.compression import unpack
from h3_pipeline.feeds.dialect import Sample, Text
from h3_pipeline.feeds.encoding import decode
from h3_pipeline.feeds.matching import Match, match_feed
from h3_pipeline.feeds.model import AUTO, BuiltinFeed
from h3_pipeline.feeds.timeformat import (
    SUPPORTED,
    DateOrder,
    UndecidedTimeFormat,
    detect_time_format,
    matches,
    to_strptime,
)
from h3_pipeline.feeds.zones import usable_origins, zones_of
from h3_pipeline.trips.upload import TimeFormat, UploadDescription

HEAD_BYTES = 1024 * 1024
"""How many of an object's first bytes are enough to describe it."""


def describe_upload(key: str, head: bytes, catalog: FeedCatalog, *, complete: bool) -> UploadDescription:
    """Describe an upload.

    Args:
        key: Object key below ``uploads/``.
        head: The object's first bytes as stored, `HEAD_BYTES` of them or all.
        catalog: The feeds.
        complete: Whether ``head`` is the whole object.

    Raises:
        UploadRefused: The file cannot be loaded. Codes: ``empty``, ``not_csv``,
            ``unsupported_compression``, ``truncated_archive``, ``corrupt_archive``,
            ``nested_archive``, ``archive_members``, ``encrypted_archive``, ``undecodable``,
            ``nul_bytes``, ``cr_line_ends``, ``unclosed_quote``, ``record_too_long``,
            ``unknown_header``, ``duplicate_column``, ``no_data_rows``, ``unknown_time_format``,
            ``ambiguous_dates``, ``mixed_dates``, ``ambiguous_timezone``.
    """
    content = unpack(head, complete=complete)
    text = Text(decode(content.data, complete=content.complete), complete=content.complete)
    text.refuse_nul(has_header=all(feed.has_header for feed in catalog.for_key(key)))
    match = match_feed(key, text, catalog)
    sample = text.sample(match.delimiter, has_header=match.feed.has_header)
    started_at_format, ended_at_format = _time_formats(key, match, sample)
    timezone = _timezone(key, match, sample)
    stated_by_values = started_at_format.kind != "text" or started_at_format.zone != "none"
    return UploadDescription(
        key=key,
        feed=match.feed.name,
        compression=content.compression,
        archive_member=content.archive_member,
        delimiter=match.delimiter,
        skip_lines=sample.skip_records,
        column_names=match.names,
        columns=dict(match.columns),
        region=match.feed.region,
        datasource=match.feed.datasource,
        started_at_format=started_at_format,
        ended_at_format=ended_at_format,
        timezone=timezone or "UTC",
        timezone_assumed=timezone is None and not stated_by_values,
        kilometres_per_unit=match.feed.kilometres_per_unit,
        quoted=text.quoted,
    )


def _time_formats(key: str, match: Match, sample: Sample) -> tuple[TimeFormat, TimeFormat | None]:
    """Formats of ``started_at`` and, if it is mapped, ``ended_at``."""
    started = sample.column(match.columns["started_at"])
    ended = sample.column(match.columns["ended_at"]) if "ended_at" in match.columns else None
    stated = match.feed.stated_time_format
    if stated:
        _refuse_other_format(match, sample, started, stated)
        return stated, stated if ended is not None else None
    try:
        started_at_format = _detect_started_at(match, started, ended or [])
    except UndecidedTimeFormat as undecided:
        raise _undecided(key, match, sample, started, undecided) from None
    if ended is None:
        return started_at_format, None
    try:
        return started_at_format, detect_time_format(ended, hint=_order(started_at_format))
    except UndecidedTimeFormat:  # an unreadable end is no fault of the file
        return started_at_format, started_at_format


def _detect_started_at(match: Match, started: Sequence[str], ended: Sequence[str]) -> TimeFormat:
    try:
        return detect_time_format(started)
    except UndecidedTimeFormat as undecided:
        if undecided.code != "ambiguous_dates":
            raise
    try:  # the same hand wrote both columns, and the ends may reach into another day
        hint = _order(detect_time_format(ended))
    except UndecidedTimeFormat:
        hint = None
    known = match.feed.date_order if isinstance(match.feed, BuiltinFeed) else None
    return detect_time_format(started, hint=hint or known)


def _order(time_format: TimeFormat) -> DateOrder | None:
    return None if time_format.order == "ymd" else time_format.order


def _refuse_other_format(match: Match, sample: Sample, started: Sequence[str], stated: TimeFormat) -> None:
    """Refuse a file none of whose times is in the feed's format: every row would be refused."""
    if any(matches(stated, value) for value in started):
        return
    raise UploadRefused(
        "unknown_time_format",
        f"Feed {match.feed.name!r} states time_format {match.feed.time_format!r}, but"
        f" {_not_one(match, sample, started)}. Correct the feed",
    )


def _undecided(
    key: str, match: Match, sample: Sample, started: Sequence[str], undecided: UndecidedTimeFormat
) -> UploadRefused:
    """The refusal that tells how to decide the time format."""
    examples = [f"line {sample.records[place].line} {hints.shown(started[place])}" for place in undecided.examples]
    column = _column(match, "started_at")
    if undecided.month_first is None:
        return UploadRefused(
            "unknown_time_format", f"started_at: {_not_one(match, sample, started)}. Known formats: {SUPPORTED}"
        )
    state_it = _mend(key, match, time_format=to_strptime(undecided.month_first))
    day_first = to_strptime(replace(undecided.month_first, order="dmy"))
    if undecided.code == "mixed_dates":
        return UploadRefused(
            "mixed_dates",
            f"started_at ({column}) is month-first in {examples[0]} and day-first in {examples[1]}; write all dates in"
            f" one order, or state one, and the rows in the other are refused: {state_it} (or {day_first!r})",
        )
    return UploadRefused(
        "ambiguous_dates",
        f"started_at ({column}): no date of {_sampled(sample)} tells whether month or day comes first,"
        f" e.g. {examples[0]}; state it. Month first: {state_it}. Day first: the same with {day_first!r}",
    )


def _not_one(match: Match, sample: Sample, started: Sequence[str]) -> str:
    count = _sampled(sample)
    column = _column(match, "started_at")
    place = next((place for place, value in enumerate(started) if value), None)
    if place is None:
        return f"{column} is empty in {count}"
    where = f"line {sample.records[place].line} {hints.shown(started[place])}"
    return f"{column} has no time in {'it' if match.feed.time_format else 'a known format'} in {count}, e.g. {where}"


def _timezone(key: str, match: Match, sample: Sample) -> str | None:
    """The zone that the feed states, or that of the sample's origins; None if the feed states none."""
    if match.feed.timezone != AUTO:
        return match.feed.timezone
    zones = zones_of(usable_origins(sample.records, match.columns))
    if len(zones) == 1:
        return next(iter(zones))
    if not zones:
        raise UploadRefused(
            "ambiguous_timezone",
            f"None of {_sampled(sample)} has an origin on land to tell the time zone by; state"
            f" the zone: {_mend(key, match, timezone='UTC')}",
        )
    by_count = sorted(zones.items(), key=lambda item: -len(item[1]))
    listed = ", ".join(
        f"{zone} ({hints.counted(len(lines), 'record')}, first in line {lines[0]})" for zone, lines in by_count[:5]
    )
    raise UploadRefused(
        "ambiguous_timezone",
        f"The origins lie in {len(zones)} time zones: {listed}; state the one in which the times are written:"
        f" {_mend(key, match, timezone=by_count[0][0])}",
    )


def _sampled(sample: Sample) -> str:
    return f"the first {hints.counted(len(sample.records), 'record')}"


def _mend(key: str, match: Match, **says: str) -> str:
    """Where the user's feed is to say something, or the feed that says it."""
    if match.users:
        entries = ", ".join(f'{name}: "{value}"' for name, value in says.items())
        return f"in feed {match.feed.name!r} write {entries}"
    return f"write a feed into the file that H3_PIPELINE_FEEDS names: {hints.feed_line(key, **says)}"


def _column(match: Match, canonical: str) -> str:
    place = match.columns[canonical]
    return f"column {hints.shown(match.names[place])}"
