"""What a run of an export is about: the values of all its parameters."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from h3_pipeline.errors import ExportError
from h3_pipeline.exports.catalog import Query
from h3_pipeline.exports.header import Parameter
from h3_pipeline.exports.publication import Place
from h3_pipeline.exports.values import ParameterType, Partition, PartitionKind


@dataclass(frozen=True, slots=True)
class Bound:
    """A query with the values of its parameters.

    Attributes:
        query: The query.
        values: Values by parameter, those of the partition included.
        place: Where its versions lie.
    """

    query: Query
    values: Mapping[str, Any]
    place: Place


def bind(query: Query, given: Mapping[str, Any], partition: Partition | None, rollups: Sequence[int]) -> Bound:
    """Values for all parameters of a query.

    Args:
        query: The query.
        given: Values by name, as text or as what YAML and JSON know; others have their defaults.
        partition: The day or month, exactly where the query has partitions.
        rollups: Resolutions of the hourly tables.

    Raises:
        ExportError: A value does not fit its type, or a name is unknown.
    """
    declared = query.header.parameters
    for name in given:
        if name not in declared:
            known = f"its parameters are {', '.join(declared)}" if declared else "it has none"
            raise ExportError(f"The export {query.name} has no parameter {name!r}; {known}")
    if (partition is None) != (query.header.partition is PartitionKind.NONE):
        raise ExportError(
            f"The export {query.name} is about everything: it takes no date"
            if partition
            else f"The export {query.name} is {query.header.partition}: it needs a date"
        )
    defaults = {name: _default(parameter, rollups) for name, parameter in declared.items()}
    values = defaults | {name: _given(query, name, declared[name], value, rollups) for name, value in given.items()}
    differing = {name: value for name, value in values.items() if value != defaults[name]}
    place = Place(query.name, partition.key if partition else None, _digest(differing) if differing else None)
    if partition:
        values |= {"partition_start": partition.start, "partition_end": partition.end}
    return Bound(query, values, place)


def _default(parameter: Parameter, rollups: Sequence[int]) -> Any:
    value = ParameterType.parse(parameter.type).value(parameter.default)
    # of two equally near, the coarser
    return min(sorted(rollups), key=lambda rollup: abs(rollup - value)) if parameter.rollup else value


def _given(query: Query, name: str, parameter: Parameter, given: Any, rollups: Sequence[int]) -> Any:
    try:
        value = ParameterType.parse(parameter.type).value(given)
    except ValueError as error:
        raise ExportError(f"The parameter {name} of the export {query.name} {error}") from None
    if parameter.rollup and value not in rollups:
        raise ExportError(
            f"The parameter {name} of the export {query.name} must be one of H3_ROLLUP_RESOLUTIONS "
            f"({', '.join(map(str, rollups))}), not {value}"
        )
    return value


def _digest(values: Mapping[str, Any]) -> str:
    """Short, and the same for the same values."""
    text = json.dumps(values, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
