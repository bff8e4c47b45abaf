"""What a feed may say: one entry of a feeds file, checked."""

import re
from datetime import timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from h3_pipeline.feeds.timeformat import DateOrder, from_strptime
from h3_pipeline.feeds.zones import check_zone
from h3_pipeline.trips.columns import MAPPABLE_COLUMNS
from h3_pipeline.trips.upload import TimeFormat

AUTO = "auto"
"""``timezone`` of a feed whose zone is that of the file's origins."""

KILOMETRES_PER_UNIT = {"km": 1.0, "mi": 1.609344, "m": 0.001}

_DURATION = re.compile(r"(\d{1,6}) ?([mhd])")
_MINUTES = {"m": 1, "h": 60, "d": 60 * 24}

_DELIMITER_WORDS = {"tab": "\t", "\\t": "\t"}

Source = str | int
"""A column of the file: its name, or its 1-based position."""

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")
]


def _canonical(column: str) -> str:
    if column not in MAPPABLE_COLUMNS:
        close = get_close_matches(column, MAPPABLE_COLUMNS, n=1)
        offer = f"did you mean {close[0]!r}?" if close else f"the columns are {', '.join(MAPPABLE_COLUMNS)}"
        raise ValueError(f"{column!r} is no column of a trip; {offer}")
    return column


def _one_source(source: Any) -> tuple[Source, ...]:
    if isinstance(source, bool) or not isinstance(source, str | int):
        raise ValueError(f"must be a column's name or its position, not {source!r}")  # noqa: TRY004 - for pydantic
    if isinstance(source, int) and source < 1:
        raise ValueError(f"{source} is no position; positions count from 1")
    if isinstance(source, str) and not source.strip():
        raise ValueError("must not be an empty name")
    return (source,)


def _alternative_sources(source: Any) -> tuple[Source, ...]:
    sources = source if isinstance(source, list) else [source]
    return tuple(one for each in sources for one in _one_source(each))


Canonical = Annotated[str, AfterValidator(_canonical)]


def _delimiter(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = _DELIMITER_WORDS.get(value, value)
    if len(value) != 1 or not value.isascii() or value.isalnum() or value in "\"'\r\n\0.-+:_/\\":
        raise ValueError(f"{value!r} cannot divide fields; write one of ',' ';' '|' or tab, or another ASCII sign")
    return value


def _timezone(value: Any) -> Any:
    return value if not isinstance(value, str) or value == AUTO else check_zone(value)


def _duration(value: Any) -> Any:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if value is None or isinstance(value, timedelta):
        return value
    if found is None or not int(found[1]):
        raise ValueError(f"{value!r} is no time; write a number and m, h or d, such as 26h")
    return timedelta(minutes=int(found[1]) * _MINUTES[found[2]])


class Feed(BaseModel):
    """How to read the files that match.

    Attributes:
        name: The feed's name.
        match: Glob over object keys below ``uploads/``, as `fnmatch.fnmatchcase` has it: ``*``
            stands for any characters, ``/`` included; upper and lower case differ.
        region: Value of ``region`` where the row gives none.
        datasource: Value of ``datasource`` where the row gives none.
        timezone: IANA zone of naive timestamps, or ``auto``: the zone of the file's origins.
        has_header: Whether the first record names the columns.
        delimiter: Field separator; None to detect it.
        time_format: Codes of strptime for ``started_at`` and ``ended_at``; None to detect them.
        distance_unit: Unit of the column mapped to ``distance_km``; None for kilometres.
        columns: Canonical column to source columns, of which the first present is read. None to keep
            those of the built-in feed that the header matches.
        expect_every: Alert when no upload that matches came for so long: a number and ``m``, ``h`` or
            ``d``, as in ``26h``. None expects nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    _takes_alternatives: ClassVar[bool] = False

    name: Name
    match: Annotated[str, StringConstraints(min_length=1)] = "*"
    region: str = ""
    datasource: str = ""
    timezone: Annotated[str | None, BeforeValidator(_timezone)] = None
    has_header: bool = True
    delimiter: Annotated[str | None, BeforeValidator(_delimiter)] = None
    time_format: str | None = None
    distance_unit: Literal["km", "mi", "m"] | None = None
    columns: dict[Canonical, Annotated[tuple[Source, ...], BeforeValidator(_one_source)]] | None = None
    expect_every: Annotated[timedelta | None, BeforeValidator(_duration)] = None

    @field_validator("time_format")
    @classmethod
    def _is_supported(cls, value: str | None) -> str | None:
        if value is not None:
            from_strptime(value)
        return value

    @field_validator("columns")
    @classmethod
    def _says_when_and_where(cls, value: dict[str, tuple[Source, ...]] | None) -> dict[str, tuple[Source, ...]] | None:
        if value is None:
            return None
        if "started_at" not in value:
            raise ValueError("'started_at' is not mapped; a trip needs the time of its start")
        for end in ("origin", "destination"):
            point, lat, lng = f"{end}_point", f"{end}_lat", f"{end}_lng"
            if (lat in value) != (lng in value):
                given, lacking = (lat, lng) if lat in value else (lng, lat)
                raise ValueError(f"{given!r} is mapped but {lacking!r} is not; they go together")
            if point in value and lat in value and not cls._takes_alternatives:
                raise ValueError(f"map either {point!r} or {lat!r} and {lng!r}, not all of them")
        if "origin_lat" not in value and "origin_point" not in value:
            raise ValueError("no origin is mapped; map 'origin_lat' and 'origin_lng', or 'origin_point'")
        return value

    @model_validator(mode="after")
    def _headerless_by_position(self) -> Self:
        if self.has_header:
            return self
        if self.columns is None or "match" not in self.model_fields_set:
            raise ValueError(
                "a feed with 'has_header: false' needs 'match' and 'columns', for no header tells its files"
            )
        named = [column for column, sources in self.columns.items() if any(isinstance(one, str) for one in sources)]
        if named:
            raise ValueError(f"{named[0]!r} is mapped to a name, but with 'has_header: false' it must be a position")
        return self

    def matches_key(self, key: str) -> bool:
        """Whether the feed is for this object key below ``uploads/``."""
        return fnmatchcase(key, self.match)

    @property
    def stated_time_format(self) -> TimeFormat | None:
        """The ``time_format``, read; None if the feed has none."""
        return None if self.time_format is None else from_strptime(self.time_format)

    @property
    def kilometres_per_unit(self) -> float:
        """Factor from the feed's distance unit to kilometres."""
        return KILOMETRES_PER_UNIT[self.distance_unit or "km"]


class BuiltinFeed(Feed):
    """A feed that recognises files by their header, whatever their name.

    Attributes:
        recognised_by: Lists of column names; a header that has all names of one list is the feed's.
            Empty if the mapped columns are enough.
        date_order: Order of month and day where a file's sample does not prove one.
    """

    _takes_alternatives: ClassVar[bool] = True

    columns: dict[Canonical, Annotated[tuple[Source, ...], BeforeValidator(_alternative_sources)]] | None = None
    recognised_by: list[list[str]] = Field(default_factory=list)
    date_order: DateOrder | None = None

    def changed_by(self, feed: Feed) -> "BuiltinFeed":
        """This feed, with what a user's feed without columns names changed."""
        named = feed.model_fields_set - {"columns"}
        return self.model_copy(update={field: getattr(feed, field) for field in named})
