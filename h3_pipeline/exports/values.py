"""Values of an export's parameters and of its partition: from text to what is bound."""

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from math import isfinite
from typing import Any, Self

_INTEGER = re.compile(r"^U?Int(8|16|32|64)$")
_ARRAY = re.compile(r"^Array\((?P<of>\w+)\)$")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True, slots=True)
class ParameterType:
    """A ClickHouse type that a parameter can have.

    Attributes:
        name: As ClickHouse writes it.
    """

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The type that is called so.

        Raises:
            ValueError: A parameter cannot be of that type.
        """
        name = "".join(text.split())
        array = _ARRAY.match(name)
        inner = array["of"] if array else name
        if inner not in _SCALARS and not _INTEGER.match(inner):
            raise ValueError(
                f"{text!r} is not a type of parameters; they are Int8 to UInt64, Float64, String, Bool, Date, "
                "and Array(…) of these"
            )
        return cls(name)

    def value(self, given: Any) -> Any:
        """A value of this type from a YAML value or from text; lists in text are separated by commas.

        Raises:
            ValueError: It is none.
        """
        if array := _ARRAY.match(self.name):
            items = given.split(",") if isinstance(given, str) else given
            if not isinstance(items, list):
                raise ValueError(f"must be a list, not {given!r}")
            one = ParameterType(array["of"])
            return [one.value(item) for item in items if item != ""]
        if integer := _INTEGER.match(self.name):
            return _integer(given, self.name, int(integer[1]))
        return _SCALARS[self.name](given)


def _integer(given: Any, name: str, bits: int) -> int:
    text = str(given).strip()
    if isinstance(given, bool | float) or not re.fullmatch(r"[+-]?\d+", text):
        raise ValueError(f"must be a whole number, not {given!r}")
    value = int(text)
    low, high = (0, 2**bits - 1) if name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if not low <= value <= high:
        raise ValueError(f"must be between {low} and {high}, not {value}")
    return value


def _float(given: Any) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        raise ValueError(f"must be a number, not {given!r}") from None
    if isinstance(given, bool) or not isfinite(value):
        raise ValueError(f"must be a finite number, not {given!r}")
    return value


def _bool(given: Any) -> bool:
    text = str(given).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"must be true or false, not {given!r}")
    return text in _TRUE


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise ValueError(f"must be text, not {given!r}; put it in quotes")  # noqa: TRY004 - pydantic wants a ValueError
    return given


def _date(given: Any) -> date:
    try:
        return date.fromisoformat(str(given).strip())
    except ValueError:
        raise ValueError(f"must be a day as YYYY-MM-DD, not {given!r}") from None


_SCALARS: dict[str, Callable[[Any], Any]] = {"Float64": _float, "String": _text, "Bool": _bool, "Date": _date}


class PartitionKind(StrEnum):
    """What one result is about: everything, a day or a month."""

    NONE = "none"
    DAILY = "daily"
    MONTHLY = "monthly"

    def containing(self, day: date) -> "Partition | None":
        """The partition that holds a day; None where there are none."""
        match self:
            case PartitionKind.DAILY:
                return Partition(day, day + timedelta(days=1))
            case PartitionKind.MONTHLY:
                first = day.replace(day=1)
                return Partition(first, first + timedelta(days=monthrange(first.year, first.month)[1]))
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Partition:
    """The days that one result is about.

    Attributes:
        start: The first.
        end: The day after the last.
    """

    start: date
    end: date

    @property
    def key(self) -> str:
        """Its name, in Dagster and in the bucket: the first day."""
        return self.start.isoformat()
