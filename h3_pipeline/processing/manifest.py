"""What became of one upload: the counts, and where the results are."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record that is written beside a processed upload and shown to people.

    Attributes:
        upload: Key below ``uploads/``.
        upload_etag: ETag of the version that was read.
        upload_version_id: Version id on a versioned bucket, else None.
        upload_bytes: Size as stored.
        feed: Name of the feed that matched.
        dialect: How the file was read: compression, delimiter, columns, time format, zone.
        rows_in: Records in the file, blank lines and header not counted.
        rows_loaded: Rows in the clean CSV.
        rows_rejected: Rows refused; ``rows_in = rows_loaded + rows_rejected``.
        rejected: Rows refused, by reason.
        warnings: Loaded rows noted, by warning.
        h3_resolution: Base resolution of the cells.
        processed_key: Object key of the clean CSV.
        processed_etag: Its ETag.
        processed_bytes: Its size.
        rejected_key: Object key of the refused rows, or None where there are none.
        first_started_at: Earliest departure, ISO 8601 in UTC.
        last_started_at: Latest departure.
        code_version: Version of this project that wrote it.
        seconds: How long it took.
    """

    upload: str
    upload_etag: str
    upload_version_id: str | None
    upload_bytes: int
    feed: str
    dialect: dict[str, Any]
    rows_in: int
    rows_loaded: int
    rows_rejected: int
    rejected: dict[str, int]
    warnings: dict[str, int]
    h3_resolution: int
    processed_key: str
    processed_etag: str
    processed_bytes: int
    rejected_key: str | None
    first_started_at: str
    last_started_at: str
    code_version: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The manifest as a JSON document."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """A manifest from its JSON document; unknown keys of later versions are ignored."""
        return cls(**{name: document[name] for name in cls.__slots__ if name in document})


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of an upload after judging.

    Attributes:
        rows_in: Records, blank lines not counted.
        rejected: Rows refused, by reason.
        warnings: Loaded rows noted, by warning.
    """

    rows_in: int
    rejected: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def rows_rejected(self) -> int:
        """Rows refused for any reason."""
        return sum(self.rejected.values())

    @property
    def rows_loaded(self) -> int:
        """Rows that became trips."""
        return self.rows_in - self.rows_rejected

    def too_many_rejected(self, most: float) -> bool:
        """Whether so many rows are refused that none is to be loaded.

        Args:
            most: Share of the rows that may be refused.
        """
        return self.rows_rejected > self.rows_in * most or not self.rows_loaded
