"""SQL for columns that hold one of a few known words.

The engine keeps such a column as small numbers. Building it from texts would cost as much as parsing a number does.
"""

from collections.abc import Iterable, Sequence

from h3_pipeline.sql import literal


def enum_type(words: Sequence[str]) -> str:
    """The engine's type of a column that holds one of ``words``; the first is 0."""
    return f"Enum8({', '.join(f'{literal(word)} = {number}' for number, word in enumerate(words))})"


def one_of(words: Sequence[str], cases: Iterable[tuple[str, str]]) -> str:
    """SQL for the word of the first case that applies, or the first of ``words``.

    Args:
        words: All words there are.
        cases: Word and condition, in the order in which they are tried.
    """
    tried = ", ".join(f"({condition}), {words.index(word)}" for word, condition in cases)
    return f"CAST(multiIf({tried}, 0), {literal(enum_type(words))})"
