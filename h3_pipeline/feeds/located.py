"""YAML with the line of every key, so that a fault can be shown where it stands."""

import re
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]


class YamlError(Exception):
    """The text is not YAML, or has a key twice.

    Attributes:
        line: Line of the fault, from 1.
        path: Keys and positions that lead to the fault; empty for a fault of syntax.
    """

    def __init__(self, line: int, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.line = line
        self.path = path


@dataclass(frozen=True, slots=True)
class Located:
    """A YAML document.

    Attributes:
        data: What it holds: dicts, lists and scalars.
        lines: Line, from 1, of each key and list item, by the path that leads to it.
    """

    data: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Line of what the path leads to, or of the nearest that contains it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """The safe loader, without dates: ``2014-04-01`` is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> Located:
    """Read one YAML document.

    Raises:
        YamlError: The text is not YAML, has more than one document, or has a key twice in a mapping.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Located(None, {})
        lines: dict[Path, int] = {}
        _locate(node, (), lines, set())
        return Located(loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, f"not valid YAML: {_one_line(error.problem or error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"not valid YAML: {error.reason}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(1, f"not valid YAML: {_one_line(error)}") from None


def _locate(node: yaml.Node, path: Path, lines: dict[Path, int], inside: set[int]) -> None:
    if id(node) in inside:  # an alias of something that contains it
        raise YamlError(node.start_mark.line + 1, "an alias must not contain itself", path)
    inside = inside | {id(node)}
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            line = key.start_mark.line + 1
            if below in lines:
                raise YamlError(line, f"the key {key.value!r} is there twice (first in line {lines[below]})", below)
            lines[below] = line
            _locate(value, below, lines, inside)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _locate(value, (*path, place), lines, inside)


def _one_line(problem: object) -> str:
    return re.sub(r"\s+", " ", str(problem)).strip()
