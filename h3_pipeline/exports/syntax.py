"""Parses queries with the engine's own parser, when they are read and not only when they run.

The parser is part of an engine of half a gigabyte, of which a process can have one open; so it works
in a process of its own, for the queries that a user brought and no others. A text that was found
well is not parsed again.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.binding import bind
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.values import PartitionKind

_SECONDS = 120
_well: set[str] = set()


def check_syntax(queries: Iterable[Query]) -> None:
    """Check that each query is one statement that can only read, as far as that can be told without tables.

    Raises:
        ExportError: One is not; the message names its file and the line.
    """
    unknown = [query for query in queries if query.text not in _well]
    for fault in syntax_faults(unknown):
        if fault is not None:
            raise fault
    _well.update(query.text for query in unknown)


def syntax_faults(queries: Sequence[Query]) -> list[ExportError | None]:
    """What is wrong with each query; None for a good one."""
    if not queries:
        return []
    texts = [{"sql": query.text, "parameters": _defaults(query)} for query in queries]
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(texts, default=str),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ExportError(f"The engine that parses the queries of H3_EXPORTS failed: {_last_line(done.stderr)}")
    faults = json.loads(done.stdout.splitlines()[-1])
    return [None if fault is None else query.engine_fault(fault) for query, fault in zip(queries, faults, strict=True)]


def _defaults(query: Query) -> dict[str, Any]:
    """Some value for each parameter: which one does not matter to a parser."""
    day = query.header.first_partition
    partition = query.header.partition.containing(day) if query.header.partition is not PartitionKind.NONE else None
    return dict(bind(query, {}, partition, range(16)).values)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _main() -> None:
    """Reads queries from stdin, writes for each null or what is wrong with it."""
    from h3_pipeline.clickhouse.embedded import open_embedded
    from h3_pipeline.errors import WarehouseError
    from h3_pipeline.warehouse.read_only import parsed_select

    faults: list[str | None] = []
    queries: list[Mapping[str, Any]] = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="h3-pipeline-") as folder, open_embedded(Path(folder) / "engine") as engine:
        for query in queries:
            try:
                parsed_select(engine, query["sql"], query["parameters"])
            except WarehouseError as error:
                faults.append(str(error))
            else:
                faults.append(None)
    print(json.dumps(faults))


if __name__ == "__main__":
    _main()
