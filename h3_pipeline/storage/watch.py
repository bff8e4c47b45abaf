"""Finds what is new below a prefix, without trusting a timestamp and without remembering every object.

An object may arrive with an earlier name than one already seen, in the same second as another, or
with the time at which its multipart upload was *started*, days ago. So a scan goes through the whole
listing. It cuts the listing into *stretches* whose ends depend on the keys alone, so that a new key
changes its own stretch and no other, and asks somebody who knows (`Judge`) about the stretches that
are not exactly as they were when nothing in them was new. Only the fingerprints of those are kept:
losing them costs time, never an object, and never a second run.

A scan may stop after any stretch and go on at the next look.
"""

import binascii
import json
import logging
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Self

from h3_pipeline.storage.bucket import Bucket, StoredObject

logger = logging.getLogger(__name__)

KEYS_PER_STRETCH = 1024
"""On the average; a stretch has at most four times as many."""

MAX_FINGERPRINTS = 4096
"""Stretches beyond are looked at in every scan: four million objects, in a cursor of 90 KB."""

_FORMAT = 2
_FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done about some objects; those in neither list need nothing.

    Attributes:
        new: Versions that nobody has asked for.
        waiting: New versions whose time has not come; they will be looked at again.
    """

    new: Sequence[StoredObject] = ()
    waiting: Sequence[StoredObject] = ()


Judge = Callable[[Sequence[StoredObject]], Judgement]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is, and what it need not look at.

    Attributes:
        after: Last key that the scan under way has dealt with; empty between two scans.
        settled: Fingerprints of the stretches in which the last scan found nothing new.
        passed: The same of the scan under way.
        completed_at: When the last scan came to its end.
    """

    after: str = ""
    settled: frozenset[bytes] = frozenset()
    passed: frozenset[bytes] = frozenset()
    completed_at: datetime | None = None

    @classmethod
    def from_cursor(cls, cursor: str | None) -> Self:
        """Read a sensor's cursor; one that cannot be read starts over, which asks about every object again."""
        if not cursor:
            return cls()
        try:
            return cls._from_document(json.loads(cursor))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            logger.warning("the sensor's cursor cannot be read; every object is looked at again")
            return cls()

    @classmethod
    def _from_document(cls, document: Any) -> Self:
        if document["format"] != _FORMAT:
            raise ValueError
        completed = document["completed_at"]
        return cls(
            str(document["after"]),
            _unpacked(document["settled"]),
            _unpacked(document["passed"]),
            datetime.fromisoformat(completed).astimezone(UTC) if completed else None,
        )

    def to_cursor(self) -> str:
        """The cursor's text."""
        return json.dumps(
            {
                "format": _FORMAT,
                "after": self.after,
                "settled": _packed(self.settled),
                "passed": _packed(self.passed),
                "completed_at": self.completed_at.isoformat() if self.completed_at else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found.

    Attributes:
        new: New versions, in key order.
        progress: Where the next look goes on.
    """

    new: list[StoredObject] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)


def look(
    bucket: Bucket,
    prefix: str,
    progress: Progress,
    judge: Judge,
    *,
    room: int,
    is_over: Callable[[], bool],
    watched: Callable[[str], bool] | None = None,
) -> Look:
    """Scan on from where the last look ended, until the listing, the room or the time ends.

    However little time there is, one stretch is dealt with, so that repeated looks get to the end.

    Args:
        bucket: The bucket.
        prefix: What the keys begin with.
        progress: Where the last look ended.
        judge: Tells what is new; asked about stretches that are not known to be settled.
        room: Take at most so many new versions; what does not fit is found again.
        is_over: Whether the time is up.
        watched: Whether an object of this key matters at all; None says that all do.
    """
    new: list[StoredObject] = []
    stretch: list[StoredObject] = []
    for stored in bucket.list(prefix, after=progress.after):
        if watched is None or watched(stored.key):
            stretch.append(stored)
        if not _ends_stretch(stored.key) and len(stretch) < 4 * KEYS_PER_STRETCH:
            continue
        progress, fits = _deal_with(stretch, progress, judge, new, room)
        if not fits:
            return Look(new, progress)
        progress = replace(progress, after=stored.key)
        stretch = []
        if is_over() or len(new) >= room:
            return Look(new, progress)
    progress, fits = _deal_with(stretch, progress, judge, new, room)
    if fits:
        progress = Progress(settled=progress.passed, completed_at=datetime.now(UTC))
    return Look(new, progress)


def _deal_with(
    stretch: Sequence[StoredObject], progress: Progress, judge: Judge, new: list[StoredObject], room: int
) -> tuple[Progress, bool]:
    """Add what is new in a stretch; tells the progress, and whether all of it was taken."""
    if not stretch:
        return progress, True
    fingerprint = _fingerprint(stretch)
    if fingerprint not in progress.settled and fingerprint not in progress.passed:
        judgement = judge(stretch)
        taken = judgement.new[: room - len(new)]
        new += taken
        if judgement.new or judgement.waiting:
            return progress, len(taken) == len(judgement.new)
    if len(progress.passed) < MAX_FINGERPRINTS:
        progress = replace(progress, passed=progress.passed | {fingerprint})
    return progress, True


def _ends_stretch(key: str) -> bool:
    return zlib.crc32(key.encode()) % KEYS_PER_STRETCH == 0


def _fingerprint(stretch: Sequence[StoredObject]) -> bytes:
    digest = blake2b(digest_size=_FINGERPRINT_BYTES)
    for stored in stretch:
        digest.update(version(stored))
    return digest.digest()


def version(stored: StoredObject) -> bytes:
    """A short name for one version of an object: its key, its content, and the second of its arrival.

    Without the time, content that comes back after another would be taken for the first.
    """
    text = f"{stored.key}\0{stored.etag}\0{int(stored.modified_at.timestamp())}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _packed(fingerprints: frozenset[bytes]) -> str:
    return b64encode(b"".join(sorted(fingerprints))).decode("ascii")


def _unpacked(text: Any) -> frozenset[bytes]:
    packed = b64decode(text, validate=True)
    if len(packed) % _FINGERPRINT_BYTES:
        raise ValueError
    places = range(0, len(packed), _FINGERPRINT_BYTES)
    return frozenset(packed[place : place + _FINGERPRINT_BYTES] for place in places)
