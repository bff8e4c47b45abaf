"""Splits a sequence into batches that are bounded in number, or in number and in size, and names them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def bounded(items: Iterable[T], size_of: Callable[[T], int], *, most: int, most_size: int) -> Iterator[list[T]]:
    """Split items, in order.

    Args:
        items: What to split.
        size_of: An item's size.
        most: Items of a batch.
        most_size: Size of a batch, unless a single item is larger.
    """
    batch: list[T] = []
    size = 0
    for item in items:
        if batch and (len(batch) == most or size + size_of(item) > most_size):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch


def batched(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Split items, in order, into batches of so many."""
    return (items[start : start + most] for start in range(0, len(items), most))


def named(items: Sequence[str]) -> str:
    """A batch in a few words."""
    return items[0] if len(items) == 1 else f"{items[0]} and {len(items) - 1} more"
