"""What a scan finds: each version once, in bounded time, memory and cursor, whatever is lost on the way."""

import gc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from h3_pipeline.storage.bucket import Bucket, StoredObject
from h3_pipeline.storage.watch import KEYS_PER_STRETCH, Judgement, Look, Progress, look, version
from h3_pipeline_tests.servers.s3_listing import Listing, s3_listing

PREFIX = "uploads/"
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def listing() -> Iterator[Listing]:
    with s3_listing() as listing:
        yield listing


class Records:
    """Somebody who knows what was asked for; remembers what he was asked about."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.waiting: set[str] = set()
        self.asked: list[str] = []

    def judge(self, objects: Sequence[StoredObject]) -> Judgement:
        self.asked += [stored.key for stored in objects]
        unknown = [stored for stored in objects if version(stored) not in self.known]
        return Judgement(
            [stored for stored in unknown if stored.key not in self.waiting],
            [stored for stored in unknown if stored.key in self.waiting],
        )

    def scan(
        self, listing: Listing, progress: Progress | None = None, *, room: int = 10**6, over: bool = False
    ) -> Look:
        """Look, and have what is new asked for."""
        found = look(listing.bucket, PREFIX, progress or Progress(), self.judge, room=room, is_over=lambda: over)
        self.known |= {version(stored) for stored in found.new}
        return Look(found.new, Progress.from_cursor(found.progress.to_cursor()))

    def to_the_end(self, listing: Listing, progress: Progress | None = None) -> tuple[list[str], Progress]:
        """Look with no time at all until the scan is through; the keys found, in their order."""
        keys: list[str] = []
        progress = progress or Progress()
        while True:
            found = self.scan(listing, progress, over=True)
            keys += [stored.key for stored in found.new]
            progress = found.progress
            if not progress.after:
                return keys, progress


def keys(count: int) -> list[str]:
    return [f"{PREFIX}{n % 7}/é {n:05d}.csv" for n in range(count)]


def test_each_version_once_and_settled_stretches_are_not_asked_about_again(listing: Listing) -> None:
    listing.fill(keys(3000))
    records = Records()
    found, progress = records.to_the_end(listing)
    assert found == sorted(keys(3000))
    _, progress = records.to_the_end(listing, progress)  # settled now
    records.asked.clear()
    assert records.to_the_end(listing, progress)[0] == []
    assert records.asked == []
    listing.put(f"{PREFIX}0/é 00000.csv", etag="2")
    listing.put(f"{PREFIX}0/a.csv")
    found, _ = records.to_the_end(listing, progress)
    assert found == [f"{PREFIX}0/a.csv", f"{PREFIX}0/é 00000.csv"]
    assert len(records.asked) <= 4 * KEYS_PER_STRETCH


@pytest.mark.parametrize(
    "change",
    [
        {"etag": "2"},
        {"modified_at": "2024-06-01T12:00:05.000Z"},
        {"etag": "2", "modified_at": "2024-05-20T12:00:00.000Z"},
    ],
    ids=["other content, same second", "same content again", "a multipart upload begun days before"],
)
def test_every_kind_of_change_is_seen(listing: Listing, change: dict[str, str]) -> None:
    listing.fill(keys(10))
    records = Records()
    _, progress = records.to_the_end(listing)
    _, progress = records.to_the_end(listing, progress)
    listing.put(keys(10)[3], **change)
    assert records.to_the_end(listing, progress)[0] == [keys(10)[3]]


def test_what_arrives_behind_and_before_the_place_of_a_scan_under_way(listing: Listing) -> None:
    listing.fill(keys(5000))
    records = Records()
    first = records.scan(listing, over=True)
    assert first.progress.after
    listing.put(f"{PREFIX}0.csv")  # behind: the scan is past it
    listing.put(f"{PREFIX}9.csv")
    listing.delete(first.progress.after)  # the very place
    rest, progress = records.to_the_end(listing, first.progress)
    assert rest[-1] == f"{PREFIX}9.csv"
    assert len(rest) + len(first.new) == 5000 + 1
    assert records.to_the_end(listing, progress)[0] == [f"{PREFIX}0.csv"]


def test_what_does_not_fit_is_found_again(listing: Listing) -> None:
    listing.fill(keys(2500))
    records = Records()
    found: list[str] = []
    progress = Progress()
    for _ in range(100):
        one = records.scan(listing, progress, room=700)
        assert len(one.new) <= 700
        found += [stored.key for stored in one.new]
        progress = one.progress
        if not progress.after and progress.completed_at:
            break
    assert found == sorted(keys(2500))


def test_what_waits_is_looked_at_until_it_is_asked_for(listing: Listing) -> None:
    listing.fill(keys(5))
    records = Records()
    records.waiting = {keys(5)[2]}
    found, progress = records.to_the_end(listing)
    assert len(found) == 4
    assert records.to_the_end(listing, progress)[0] == []
    records.waiting.clear()
    found, progress = records.to_the_end(listing, progress)
    assert found == [keys(5)[2]]


def test_a_lost_cursor_costs_time_only(listing: Listing) -> None:
    listing.fill(keys(50))
    records = Records()
    records.to_the_end(listing)
    assert records.to_the_end(listing, Progress())[0] == []


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "{",
        "[]",
        "3",
        '{"horizon": "2024-06-01", "digests": []}',
        '{"format": 2}',
        '{"format": 2, "after": "", "settled": "AAAA", "passed": "", "completed_at": null}',
        '{"format": 2, "after": "", "settled": "é", "passed": "", "completed_at": null}',
        '{"format": 2, "after": "", "settled": "", "passed": "", "completed_at": "yesterday"}',
    ],
)
def test_an_unreadable_cursor_starts_over(cursor: str) -> None:
    assert Progress.from_cursor(cursor) == Progress()


def test_a_cursor_is_read_as_it_was_written() -> None:
    progress = Progress("uploads/é\n\x01.csv", frozenset({b"12345678", b"abcdefgh"}), frozenset({b"\0" * 8}), NOW)
    assert Progress.from_cursor(progress.to_cursor()) == progress


def test_a_real_store_lists_on_from_a_key(bucket: Bucket) -> None:
    names = [f"{PREFIX}after/{name}.csv" for name in ("a", "a b", "a+b", "b", "é", "日本", "😀")]
    for name in names:
        bucket.write(name, b"x", "text/csv")
    names.sort(key=str.encode)
    for place, name in enumerate(names):
        assert [stored.key for stored in bucket.list(f"{PREFIX}after/", after=name)] == names[place + 1 :]


@pytest.mark.slow
def test_a_hundred_thousand_objects(listing: Listing) -> None:
    """A look ends when its time is up, and neither memory nor the cursor grows with the bucket."""
    count = 100_000
    listing.fill([f"{PREFIX}2024/{n % 331:03d}/trips-{n:06d}.csv" for n in range(count)])
    judged: list[str] = []
    in_memory: list[int] = []
    stretches = 0

    def judge(objects: Sequence[StoredObject]) -> Judgement:
        nonlocal stretches
        stretches += 1
        judged.extend(stored.key for stored in objects)
        if stretches % 25 == 0:
            in_memory.append(sum(type(each) is StoredObject for each in gc.get_objects()))
        return Judgement()

    progress, looks, pages = Progress(), 0, listing.pages
    while looks == 0 or progress.after:
        until = stretches + 10  # what stands for the time
        found = look(listing.bucket, PREFIX, progress, judge, room=1, is_over=lambda until=until: stretches >= until)
        progress = Progress.from_cursor(found.progress.to_cursor())
        looks += 1
        assert len(progress.to_cursor()) < 4000
    assert judged == sorted(judged)
    assert len(judged) == len(set(judged)) == count
    assert looks >= 5
    assert max(in_memory) <= 4 * KEYS_PER_STRETCH + 1
    # a scan in pieces asks for little more than one in one go
    assert listing.pages - pages <= count / 1000 + looks
