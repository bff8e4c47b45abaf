"""Helpers of the tests: SQL of the project evaluated by the real engine over values of a test."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from h3_pipeline.clickhouse.client import ClickHouse

# As the task engine runs such statements: planning them would take longer than running them.
PLAN_LITTLE = {"query_plan_merge_expressions": 0, "compile_expressions": 0}


def evaluate(engine: ClickHouse, stages: Iterable[Mapping[str, str]], **inputs: Sequence[str]) -> list[dict[str, Any]]:
    """Run stages of SQL over rows of texts.

    Args:
        engine: Any engine.
        stages: New columns by name, each stage over the columns of those before.
        inputs: Columns of texts, equally long.

    Returns:
        One mapping for each row, in the order of the inputs.
    """
    parameters = {name: list(texts) for name, texts in inputs.items()}  # a tuple would be a Tuple
    zipped = ", ".join(f"{{{name}:Array(String)}}" for name in inputs)
    columns = ", ".join(f"input.{i} AS {name}" for i, name in enumerate(inputs, start=2))
    query = (
        f"(SELECT input.1 AS place, {columns} FROM (SELECT arrayJoin(arrayZip("
        f"range(length({{{next(iter(inputs))}:Array(String)}})), {zipped})) AS input))"
    )
    for stage in stages:
        query = f"(SELECT *, {', '.join(f'{expression} AS {name}' for name, expression in stage.items())} FROM {query})"
    return engine.records(f"SELECT * FROM {query} ORDER BY place", parameters, PLAN_LITTLE)
