"""What is measured of departures: duration, distance and fare, and how each is stored and finished.

Sums are integers of a small unit, quantile states hold each distinct value and its count: both
give the same number in whatever order rows are added or merged, so a recount is exact.
"""

from dataclasses import dataclass

from h3_pipeline.sql import literal

QUANTILE = "quantilesExactWeightedInterpolated"
"""Exact, with linear interpolation: the numbers that numpy and pandas give."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured quantity.

    Attributes:
        name: Prefix of its columns.
        value: SQL for a trip's value in its small unit, an integer; used only where `known` holds.
        sum_type: ClickHouse type of the sum.
        known: SQL condition: the trip has it.
        levels: Quantile levels that are kept; none for no state.
        description: Of the sum.
    """

    name: str
    value: str
    sum_type: str
    known: str
    levels: tuple[float, ...]
    description: str

    @property
    def state_type(self) -> str:
        """Type of the quantile state; values are kept in the small unit."""
        return f"AggregateFunction({QUANTILE}({self._levels}), Int64, UInt8)"

    @property
    def _levels(self) -> str:
        return ", ".join(str(level) for level in self.levels)

    def columns(self) -> list[str]:
        """Column definitions in the hourly tables."""
        columns = [
            f"{self.name}_sum SimpleAggregateFunction(sum, {self.sum_type}) COMMENT {literal(self.description)}",
            f"{self.name}_count SimpleAggregateFunction(sum, UInt64) COMMENT 'departures that have it'",
        ]
        if self.levels:
            columns.append(f"{self.name}_quantiles {self.state_type} COMMENT 'distinct values and their counts'")
        return columns

    def sums_from_trips(self, condition: str) -> list[str]:
        """The sum and the count over trips for which ``condition`` holds."""
        known = f"{condition} AND {self.known}"
        return [
            f"sumIf(to{self.sum_type}(assumeNotNull({self.value})), {known}) AS {self.name}_sum",
            f"countIf({known}) AS {self.name}_count",
        ]

    def from_trips(self, condition: str) -> list[str]:
        """All aggregates over trips for which ``condition`` holds."""
        aggregates = self.sums_from_trips(condition)
        if self.levels:
            value = f"toInt64(assumeNotNull({self.value}))"
            state = f"{QUANTILE}StateIf({self._levels})({value}, 1, {condition} AND {self.known})"
            aggregates.append(f"{state} AS {self.name}_quantiles")
        return aggregates

    def from_finer(self) -> list[str]:
        """Aggregates over rows of a finer resolution (``f``)."""
        aggregates = [
            f"sum(f.{self.name}_sum) AS {self.name}_sum",
            f"sum(f.{self.name}_count) AS {self.name}_count",
        ]
        if self.levels:
            aggregates.append(f"{QUANTILE}MergeState({self._levels})(f.{self.name}_quantiles) AS {self.name}_quantiles")
        return aggregates


DURATION = Measure(
    "duration_s",
    "dateDiff('second', started_at, ended_at)",
    "UInt64",
    "ended_at IS NOT NULL",
    (0.5, 0.9),
    "seconds from departure to arrival",
)
DISTANCE = Measure("distance_mm", "round(distance_km * 1e6)", "UInt64", "distance_km IS NOT NULL", (), "millimetres")
FARE = Measure(
    "fare_e4",
    "round(fare_amount * 1e4)",
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
        merged = f"{QUANTILE}Merge({levels})({table}.{measure.name}_quantiles)"
        return where_known(measure, f"{merged}[{position}] / {unit}")

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
