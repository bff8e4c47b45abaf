"""Names of columns: how a header's names are compared, and where each column stands."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

_SEPARATORS = re.compile(r"[\s_]+")


def normalise(name: str) -> str:
    """The form in which names are compared: trimmed, case-folded, spaces and underscores alike.

    >>> normalise("  Start_Station  Latitude ")
    'start station latitude'
    """
    return _SEPARATORS.sub(" ", name.strip("\ufeff \t\r\n")).casefold()


@dataclass(frozen=True)
class Header:
    """The header of a file, read with one delimiter.

    Attributes:
        delimiter: Field separator that the header was read with.
        names: Names in file order, trimmed.
    """

    delimiter: str
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.names)

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = defaultdict(list)
        for place, name in enumerate(self.names):
            places[normalise(name)].append(place)
        return dict(places)

    def places(self, name: str) -> list[int]:
        """0-based positions of the columns with this name, however it is written."""
        return self._places.get(normalise(name), [])

    def has_all(self, names: Iterable[str]) -> bool:
        """Whether every one of the names is there."""
        return all(self.places(name) for name in names)
