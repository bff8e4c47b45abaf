"""All exports: the shipped queries, and the user's own before them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.header import PLACEHOLDER, Header
from h3_pipeline.exports.values import ParameterType, PartitionKind
from h3_pipeline.feeds import located

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
_ENDING = ".sql"
_SHIPPED = "h3_pipeline.exports.queries"

PARTITION_PARAMETERS = {"partition_start": "Date", "partition_end": "Date"}
"""Parameters that a query of days or months has, without declaring them."""


@dataclass(frozen=True, slots=True)
class Query:
    """One export's question.

    Attributes:
        name: The file's name without its ending; also the asset's and the prefix's.
        filename: The file, for messages.
        text: All of the file: header and statement.
        header: What the leading comment says.
        lines: Line of each key of the header.
        shipped: Whether it came with this project.
        replaces_shipped: Whether a shipped query of the same name stands back for it.
    """

    name: str
    filename: str
    text: str
    header: Header
    lines: located.Located
    shipped: bool
    replaces_shipped: bool = False

    @classmethod
    def parse(cls, name: str, text: str, filename: str, *, shipped: bool = False) -> Self:
        """Read a query's file.

        Raises:
            ExportError: The header or its parameters are not valid; the message names file and line.
        """
        if not _NAME.match(name):
            raise ExportError(
                f"{filename}: an export's name is lower-case letters, digits and underscores, up to 63, not {name!r}"
            )
        header, lines = _header(text, filename)
        query = cls(name, filename, text, header, lines, shipped)
        query._check_parameters()
        return query

    def fault(self, path: Iterable[str | int], message: str) -> ExportError:
        """An error about a key of the header."""
        return _fault(self.filename, self.lines, tuple(path), message)

    def engine_fault(self, message: str) -> ExportError:
        """An error that the engine found, with the line where that can be told from its words."""
        return ExportError(f"{self.filename}{_line(message, self.text)}: {message}")

    def parameter_types(self) -> dict[str, str]:
        """Types of all parameters of the statement, by name."""
        declared = {name: parameter.type for name, parameter in self.header.parameters.items()}
        return declared | (PARTITION_PARAMETERS if self.header.partition is not PartitionKind.NONE else {})

    def _check_parameters(self) -> None:
        """Every placeholder is declared with the same type, and every declared parameter is used."""
        types = self.parameter_types()
        used = set()
        for number, line in enumerate(self.text.splitlines(), 1):
            for found in PLACEHOLDER.finditer(line.split("--", 1)[0]):
                name, kind = found["name"], "".join(found["type"].split())
                used.add(name)
                if name not in types:
                    close = get_close_matches(name, types, n=1)
                    hint = f"; did you mean {close[0]!r}?" if close else "; declare it under parameters"
                    raise ExportError(f"{self.filename}:{number}: the parameter {name!r} is not declared{hint}")
                if kind != ParameterType.parse(types[name]).name:
                    raise ExportError(
                        f"{self.filename}:{number}: the parameter {name!r} is declared as {types[name]}, not {kind}"
                    )
        for name in self.header.parameters:
            if name not in used:
                raise self.fault(("parameters", name), "the query does not use it")
        if self.header.partition is not PartitionKind.NONE and "partition_start" not in used:
            raise self.fault(("partition",), "the query does not use {partition_start:Date}")


@dataclass(frozen=True, slots=True)
class ExportCatalog:
    """The exports by name."""

    queries: dict[str, Query]

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Read the shipped queries and the user's; of two of one name the user's counts.

        Args:
            folder: The user's folder; None if there is none.

        Raises:
            ExportError: A file cannot be read or is not valid; the message names file and line.
        """
        queries = {query.name: query for query in shipped_queries()}
        for name, filename, text in _user_files(folder) if folder else ():
            query = Query.parse(name, text, filename)
            queries[name] = (
                Query(query.name, filename, text, query.header, query.lines, shipped=False, replaces_shipped=True)
                if name in queries
                else query
            )
        return cls(dict(sorted(queries.items())))

    @property
    def user(self) -> list[Query]:
        """The user's own queries."""
        return [query for query in self.queries.values() if not query.shipped]

    def get(self, name: str) -> Query:
        """One export.

        Raises:
            ExportError: There is none of this name.
        """
        if name not in self.queries:
            close = get_close_matches(name, self.queries, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the exports are {', '.join(self.queries)}"
            raise ExportError(f"There is no export {name!r}; {hint}")
        return self.queries[name]


def shipped_queries() -> Iterator[Query]:
    """The queries that come with this project, by name."""
    for file in sorted(resources.files(_SHIPPED).iterdir(), key=lambda file: file.name):
        if file.name.endswith(_ENDING):
            name = file.name.removesuffix(_ENDING)
            yield Query.parse(name, file.read_text("utf-8"), file.name, shipped=True)


def _user_files(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Name, file name and text of each of the user's queries."""
    try:
        files = sorted(path for path in folder.expanduser().iterdir() if path.suffix == _ENDING and path.is_file())
    except OSError as error:
        raise ExportError(f"H3_EXPORTS: cannot read the folder {folder}: {error.strerror}") from None
    for path in files:
        try:
            yield path.name.removesuffix(_ENDING), str(path), path.read_text(encoding="utf-8")
        except OSError as error:
            raise ExportError(f"H3_EXPORTS: cannot read {path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ExportError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None


def _header(text: str, filename: str) -> tuple[Header, located.Located]:
    try:
        document = located.load(_comment(text))
    except located.YamlError as error:
        where = located.Located(None, {error.path: error.line, (): error.line})
        raise _fault(filename, where, error.path, str(error)) from None
    if document.data is None:
        raise ExportError(f"{filename}:1: has no header; it begins with lines like `-- title: Busiest cells`")
    if not isinstance(document.data, dict):
        raise _fault(filename, document, (), "the header must be a mapping of keys to values")
    try:
        return Header.model_validate(document.data), document
    except ValidationError as error:
        faults = [(_path(fault["loc"]), fault) for fault in error.errors()]
        # a key that is spelt wrong is both unknown and missing
        path, fault = min(faults, key=lambda each: (document.line(each[0]), each[1]["type"] != "extra_forbidden"))
        raise _fault(filename, document, path, _in_words(fault, path)) from None


def _comment(text: str) -> str:
    """The YAML of the leading comment, each line where it stands in the file."""
    lines = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.strip() and not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").removeprefix(" "))
    return "\n".join(lines)


def _path(location: tuple[int | str, ...]) -> located.Path:
    return tuple(part for part in location if part != "[key]")


def _fault(filename: str, document: located.Located, path: located.Path, message: str) -> ExportError:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    place = f"{filename}:{document.line(path)}"
    return ExportError(f"{place}: {where}: {message}" if where else f"{place}: {message}")


def _in_words(fault: Any, path: located.Path) -> str:
    """A validation fault in the words of a header."""
    given = fault["input"]
    match fault["type"]:
        case "value_error":
            return str(fault["ctx"]["error"])
        case "extra_forbidden":
            close = get_close_matches(str(path[-1]), Header.model_fields, n=1)
            return (
                f"unknown key; did you mean {close[0]!r}?"
                if close
                else f"unknown key; the keys are {', '.join(Header.model_fields)}"
                if len(path) == 1
                else "unknown key"
            )
        case "missing":
            return "is missing"
        case "string_type":
            return f"must be text, not {given!r}"
        case "string_pattern_mismatch":
            return f"{given!r} is not a name, or not one line"
        case "literal_error":
            return f"must be {fault['ctx']['expected']}, not {given!r}"
        case "list_type":
            return "must be a list"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a mapping of keys to values"
        case "bool_type":
            return f"must be true or false, not {given!r}"
        case _:
            return f"{fault['msg']}, not {given!r}"


def _line(message: str, text: str) -> str:
    """``:LINE`` of what the engine's message is about: one that it says, or where something that it names stands.

    Otherwise the statement's first line.
    """
    if found := re.search(r"\(line (\d+), col \d+\)", message):
        return f":{found[1]}"
    statement = [(number, line.split("--", 1)[0]) for number, line in enumerate(text.splitlines(), 1)]
    for word in re.findall(r"[`']([A-Za-z_][\w.]*)[`']", message):
        pattern = re.compile(rf"\b{re.escape(word.split('.')[-1])}\b")
        for number, line in statement:
            if pattern.search(line):
                return f":{number}"
    first = next((number for number, line in statement if line.strip()), 1)
    return f":{first}"
