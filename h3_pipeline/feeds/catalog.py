"""All feeds: the user's own from a YAML text, then the built-in ones."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from h3_pipeline.errors import FeedError
from h3_pipeline.feeds import located
from h3_pipeline.feeds.model import BuiltinFeed, Feed

_BUILTIN = "builtin.yaml"

F = TypeVar("F", bound=Feed)


class _FeedsFile(BaseModel, Generic[F]):
    model_config = ConfigDict(extra="forbid", strict=True)

    feeds: Annotated[list[F], BeforeValidator(lambda value: [] if value is None else value)] = Field(
        default_factory=list
    )


@dataclass(frozen=True, slots=True)
class FeedCatalog:
    """The feeds by which uploads are read.

    Attributes:
        user: The user's feeds, in the order of their file.
        builtin: The built-in feeds; the first that recognises a header reads the file.
    """

    user: tuple[Feed, ...]
    builtin: tuple[BuiltinFeed, ...]

    @classmethod
    def load(cls, user_yaml: str | None = None, filename: str = "feeds.yaml") -> Self:
        """Read the user's feeds and put them before the built-in ones.

        Args:
            user_yaml: Text of the user's feeds file; None if there is none.
            filename: Its name, for messages.

        Raises:
            FeedError: The text is not valid; the message names file, line and key.
        """
        return cls(() if user_yaml is None else _read(Feed, user_yaml, filename), _builtin())

    def for_key(self, key: str) -> list[Feed]:
        """The user's feeds whose glob matches an object key below ``uploads/``."""
        return [feed for feed in self.user if feed.matches_key(key)]


@cache
def _builtin() -> tuple[BuiltinFeed, ...]:
    return _read(BuiltinFeed, resources.files("h3_pipeline.feeds").joinpath(_BUILTIN).read_text("utf-8"), _BUILTIN)


def _read(kind: type[F], text: str, filename: str) -> tuple[F, ...]:
    try:
        document = located.load(text)
    except located.YamlError as error:
        raise _fault(filename, error.line, error.path, str(error)) from None
    if document.data is None:
        return ()
    if not isinstance(document.data, dict):
        raise _fault(filename, 1, (), "must be a mapping with the key 'feeds'")
    try:
        feeds = _FeedsFile[kind].model_validate(document.data).feeds
    except ValidationError as error:
        faults = [(tuple(part for part in fault["loc"] if part != "[key]"), fault) for fault in error.errors()]
        path, fault = min(faults, key=lambda each: document.line(each[0]))
        raise _fault(filename, document.line(path), path, _in_words(fault, path, kind)) from None
    first: dict[str, int] = {}
    for place, feed in enumerate(feeds):
        path = ("feeds", place, "name")
        if feed.name in first:
            before = document.line(("feeds", first[feed.name], "name"))
            raise _fault(
                filename, document.line(path), path, f"{feed.name!r} names another feed too (line {before}); rename one"
            )
        first[feed.name] = place
    return tuple(feeds)


def _fault(filename: str, line: int, path: located.Path, message: str) -> FeedError:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return FeedError(f"{filename}:{line}: {where}: {message}" if where else f"{filename}:{line}: {message}")


def _in_words(fault: Any, path: located.Path, kind: type[Feed]) -> str:
    """A validation fault in the words of a feeds file."""
    given = fault["input"]
    match fault["type"]:
        case "value_error":
            return str(fault["ctx"]["error"])
        case "extra_forbidden":
            keys = list(kind.model_fields) if len(path) > 1 else ["feeds"]
            close = get_close_matches(str(fault["loc"][-1]), keys, n=1)
            return (
                f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; the keys are {', '.join(keys)}"
            )
        case "missing":
            return "is missing"
        case "string_type":
            return f"must be text, not {given!r}" + (
                "; put it in quotes" if isinstance(given, bool | int | float) else ""
            )
        case "string_too_short":
            return "must not be empty"
        case "string_pattern_mismatch":
            return "must be one line, without control characters"
        case "bool_type":
            return f"must be true or false, not {given!r}"
        case "literal_error":
            return f"must be {fault['ctx']['expected']}, not {given!r}"
        case "list_type":
            return "must be a list"
        case "dict_type" | "model_type":
            return "must be a mapping of keys to values"
        case _:
            return f"{fault['msg']}, not {given!r}"
