"""What is measured of departures: duration, distance and fare, and how each is stored and finished.

Sums are integers of a small unit, and what quantiles are made of are the values themselves: both give the
same number in whatever order rows are added or merged, so a recount is exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from h3_pipeline.sql import literal
from h3_pipeline.warehouse.codecs import NARROW

QUANTILES = "quantilesExactInclusive"
"""Exact, with linear interpolation: the numbers that numpy and pandas give."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured quantity.

    Attributes:
        name: Prefix of its columns.
        value: SQL for a trip's value in its small unit, an integer; used only where `known` holds.
        value_type: ClickHouse type of a value.
        sum_type: ClickHouse type of the sum.
        known: SQL condition: the trip has it.
        levels: Quantile levels that the views give; none where no values are kept.
        description: Of the sum.
    """

    name: str
    value: str
    value_type: str
    sum_type: str
    known: str
    levels: tuple[float, ...]
    description: str

    def columns(self) -> Iterator[str]:
        """Column definitions in the hourly tables."""
        for name, kind, comment in self._columns():
            function = "groupArrayArray" if kind.startswith("Array") else "sum"
            yield f"{name} SimpleAggregateFunction({function}, {kind}) COMMENT {literal(comment)} {NARROW}"

    def plain_columns(self) -> Iterator[str]:
        """Column definitions in a table of groups that are complete."""
        return (f"{name} {kind}" for name, kind, _ in self._columns())

    def column_names(self) -> Iterator[str]:
        """Names of its columns."""
        return (name for name, _, _ in self._columns())

    def from_trips(self) -> Iterator[str]:
        """Its columns as aggregates over trips."""
        yield f"sumIf({self._of_trip(self.sum_type)}, {self.known}) AS {self.name}_sum"
        yield f"countIf({self.known}) AS {self.name}_count"
        if self.levels:
            yield f"groupArrayIf({self._of_trip(self.value_type)}, {self.known}) AS {self.name}_values"

    def from_finer(self) -> Iterator[str]:
        """Its columns as aggregates over groups of a finer resolution (``f``)."""
        for name, kind, _ in self._columns():
            function = "groupArrayArray" if kind.startswith("Array") else "sum"
            yield f"{function}(f.{name}) AS {name}"

    def weight_of_trip(self) -> str:
        """What one trip adds to the weight of its group: a number that is the same as `weight_of_group` in sum."""
        value = self._of_trip(self.value_type)
        weight = f"toUInt64({value}) * {self._factor('sum')} + {self._factor('count')}"
        if self.levels:
            weight += f" + intHash64({value}) * {self._factor('values')}"
        return f"if({self.known}, {weight}, 0)"

    def weight_of_group(self) -> str:
        """Its part of a group's weight: every number, each times a factor of its own."""
        weight = f"toUInt64({self.name}_sum) * {self._factor('sum')} + {self.name}_count * {self._factor('count')}"
        if self.levels:
            hashes = f"arraySum(arrayMap(value -> intHash64(value), {self.name}_values))"
            weight += f" + {hashes} * {self._factor('values')}"
        return weight

    def _columns(self) -> Iterator[tuple[str, str, str]]:
        yield f"{self.name}_sum", self.sum_type, self.description
        yield f"{self.name}_count", "UInt64", "departures that have it"
        if self.levels:
            yield f"{self.name}_values", f"Array({self.value_type})", "the value of each, for quantiles"

    def _of_trip(self, kind: str) -> str:
        return f"to{kind}(assumeNotNull({self.value}))"

    def _factor(self, column: str) -> int:
        return weight_factor(f"{self.name}_{column}")


def weight_factor(name: str) -> int:
    """An odd number of 64 bits for each name, so that no two numbers of a group can make up for one another."""
    return int.from_bytes(sha256(name.encode()).digest()[:8]) | 1


DURATION = Measure(
    "duration_s",
    "dateDiff('second', started_at, ended_at)",
    "UInt32",
    "UInt64",
    "ended_at IS NOT NULL",
    (0.5, 0.9),
    "seconds from departure to arrival",
)
DISTANCE = Measure(
    "distance_mm", "round(distance_km * 1e6)", "UInt64", "UInt64", "distance_km IS NOT NULL", (), "millimetres"
)
FARE = Measure(
    "fare_e4",
    "round(fare_amount * 1e4)",
    "Int64",
    "Int64",
    "fare_amount IS NOT NULL",
    (0.5,),
    "ten-thousandths of the feed's currency",
)

MEASURES = (DURATION, DISTANCE, FARE)


def finished(table: str) -> dict[str, str]:
    """The views' columns: finished numbers by name, as aggregates over ``table``."""

    def total(measure: Measure) -> str:
        return f"sum({table}.{measure.name}_sum)"

    def count(measure: Measure) -> str:
        return f"sum({table}.{measure.name}_count)"

    def where_known(measure: Measure, expression: str) -> str:
        return f"if({count(measure)} = 0, NULL, {expression})"

    def quantile(measure: Measure, position: int, unit: int) -> str:
        levels = ", ".join(str(level) for level in measure.levels)
        # an aggregate function over the elements of all arrays
        quantiles = f"{QUANTILES}Array({levels})({table}.{measure.name}_values)"
        return where_known(measure, f"{quantiles}[{position}] / {unit}")

    return {
        "duration_min_avg": where_known(DURATION, f"{total(DURATION)} / {count(DURATION)} / 60"),
        "duration_min_p50": quantile(DURATION, 1, 60),
        "duration_min_p90": quantile(DURATION, 2, 60),
        "distance_km_sum": where_known(DISTANCE, f"{total(DISTANCE)} / 1000000"),
        "distance_km_avg": where_known(DISTANCE, f"{total(DISTANCE)} / {count(DISTANCE)} / 1000000"),
        "fare_sum": where_known(FARE, f"{total(FARE)} / 10000"),
        "fare_avg": where_known(FARE, f"{total(FARE)} / {count(FARE)} / 10000"),
        "fare_p50": quantile(FARE, 1, 10000),
    }
