"""Writes metrics in CloudWatch's embedded metric format: a line of JSON on stdout, which CloudWatch Logs reads.

Until `use` is called nothing is written.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from h3_pipeline.telemetry.context import current
from h3_pipeline.telemetry.metric_names import NAMESPACE, OTHER, Dimension, Metric, Stage

Write = Callable[[str], object]

_lock = threading.Lock()
_write: Write | None = None
_admitted: dict[Dimension, set[str]] = {dimension: set() for dimension in Dimension}
_admitted[Dimension.STAGE] |= {stage.value for stage in Stage}


def use(write: Write | None) -> None:
    """Write metrics from now on; None stops that.

    Args:
        write: Takes one line with its end, such as `to_stdout`.
    """
    global _write
    _write = write


def to_stdout(line: str) -> None:
    """Write a line to what is stdout just now."""
    sys.stdout.write(line)
    sys.stdout.flush()


def are_on() -> bool:
    """Whether anybody wants metrics."""
    return _write is not None


def admit(dimension: Dimension, values: Iterable[str]) -> None:
    """Say which values a dimension may have; beyond its limit none is admitted any more."""
    with _lock:
        room = dimension.limit - len(_admitted[dimension])
        _admitted[dimension].update(islice((value for value in values if value not in _admitted[dimension]), room))


def emit(values: Mapping[Metric, float], dimension_value: str | None = None, **properties: str) -> None:
    """Write values of metrics that have the same dimension, or none.

    Args:
        values: Value by metric.
        dimension_value: The value of their dimension.
        properties: What else the line tells, beside what the thread is doing; no metric is broken down by it.

    Raises:
        ValueError: The metrics have not one dimension, or its value is lacking or too much.
    """
    if _write is None or not values:
        return
    [dimension, *others] = {metric.dimension for metric in values}
    if others or (dimension is None) != (dimension_value is None):
        raise ValueError(f"{[metric.name for metric in values]} cannot be told of {dimension_value!r}")
    document: dict[str, Any] = {**current(), **properties}
    sets: list[list[str]] = [[]]
    if dimension is not None and dimension_value is not None:
        sets.append([dimension.key])
        document[dimension.key] = dimension_value if dimension_value in _admitted[dimension] else OTHER
    document |= {metric.name: value for metric, value in values.items()}
    document["_aws"] = {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": NAMESPACE,
                "Dimensions": sets,
                "Metrics": [{"Name": metric.name, "Unit": metric.unit.value} for metric in values],
            }
        ],
    }
    line = json.dumps(document, ensure_ascii=False) + "\n"
    with _lock:
        _write(line)
