"""Tells which objects are new since the last look, without trusting a single timestamp.

An object may arrive with an earlier name than one already seen, in the same second as another, or
with the time at which its multipart upload was *started*, days ago. So every look lists everything
and compares it with what is known: each key and ETag within a window that is as long as an
unfinished multipart upload may live, and everything older by its age alone.
"""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from h3_pipeline.storage.bucket import StoredObject

logger = logging.getLogger(__name__)

LOOK_BACK = timedelta(days=7)
"""As long as the bucket's abort-incomplete-multipart rule."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What has been seen, small enough for a sensor's cursor.

    Attributes:
        horizon: Objects modified before it are known without being listed.
        digests: A short digest of key and ETag of each object modified since.
    """

    horizon: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    digests: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self:
        """Read a cursor; one that cannot be read starts over, which finds every object again."""
        if not cursor:
            return cls()
        try:
            document = json.loads(cursor)
            return cls(datetime.fromisoformat(document["horizon"]), frozenset(document["digests"]))
        except (ValueError, KeyError, TypeError):
            logger.warning("the sensor's cursor cannot be read; every object is looked at again")
            return cls()

    def to_cursor(self) -> str:
        """The cursor's text."""
        return json.dumps({"horizon": self.horizon.isoformat(), "digests": sorted(self.digests)})

    def is_new(self, stored: StoredObject) -> bool:
        """Whether an object was not seen before in this version."""
        return stored.modified_at >= self.horizon and digest(stored) not in self.digests

    def after(self, listing: Iterable[StoredObject], now: datetime, *, left: Iterable[StoredObject] = ()) -> Self:
        """What has been seen after a look.

        Args:
            listing: Everything that was listed.
            now: When.
            left: New objects that were not dealt with; they stay new.
        """
        left_digests = {digest(stored) for stored in left}
        kept = [stored for stored in listing if digest(stored) not in left_digests]
        oldest_left = min((stored.modified_at for stored in left), default=now)
        horizon = max(min(now - LOOK_BACK, oldest_left), self.horizon)
        return type(self)(horizon, frozenset(digest(stored) for stored in kept if stored.modified_at >= horizon))


def digest(stored: StoredObject) -> str:
    """A short name for one version of an object."""
    return hashlib.blake2b(f"{stored.key}\0{stored.etag}".encode(), digest_size=8).hexdigest()
