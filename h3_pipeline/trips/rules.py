"""Why a row is refused, and what is noted about a row that is not.

A refused row carries exactly one reason: the first in `REASONS` that applies. A row that is loaded
may carry any number of warnings. Codes are a contract: manifests, metadata and users rely on them.
"""

from collections.abc import Collection
from dataclasses import dataclass

from h3_pipeline.trips.codes import one_of
from h3_pipeline.trips.times import MAX_TIMESTAMP


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason or warning.

    Attributes:
        code: Stable name.
        condition: SQL over the columns that `trips.select` prepares; true where the rule applies.
        description: For people.
        column: The canonical column that a warning is about; it is judged only where mapped.
    """

    code: str
    condition: str
    description: str
    column: str | None = None


def _out_of_range(name: str) -> str:
    return f"({name}_utc < 0 OR {name}_utc > {MAX_TIMESTAMP})"


_WRONG_COLUMN_COUNT = "more filled fields, or fewer fields, than the header has columns"

REASONS: tuple[Rule, ...] = (
    # In a record that is too short nothing says which fields are there, so this comes first.
    Rule("wrong_column_count", "too_short", _WRONG_COLUMN_COUNT),
    Rule("missing_started_at", "started_at_text = ''", "no departure time"),
    Rule("started_at_out_of_range", _out_of_range("started_at"), "departure outside 1970-01-01 to 2106-02-07, UTC"),
    Rule("invalid_started_at", "started_at_utc IS NULL", "departure not in the file's time format, or no real date"),
    Rule("missing_origin", "origin_fault = 'missing'", "no origin coordinates"),
    Rule("invalid_origin", "origin_fault = 'invalid'", "origin coordinates that are no finite numbers"),
    Rule("origin_out_of_range", "origin_fault = 'out_of_range'", "latitude beyond 90 or longitude beyond 180 degrees"),
    Rule("origin_null_island", "origin_fault = 'null_island'", "both origin coordinates are 0"),
    Rule("ends_before_start", "ended_at_usable AND ended_at_utc < started_at_utc", "arrival before departure"),
    Rule("wrong_column_count", "surplus", _WRONG_COLUMN_COUNT),
)
"""Reasons to refuse a row, in the order in which they are tried."""


def _bad_number(column: str, description: str) -> Rule:
    return Rule(f"invalid_{column}", f"{column}_text != '' AND {column} IS NULL", description, column)


WARNINGS: tuple[Rule, ...] = (
    Rule("timezone_assumed_utc", "timezone_assumed", "no feed states the time zone; the time was read as UTC"),
    Rule("local_time_in_gap", "started_at_gap OR ended_at_gap", "a local time skipped by the clocks; moved forward"),
    Rule(
        "local_time_in_fold",
        "started_at_fold OR ended_at_fold",
        "a local time that occurs twice; read as the earlier",
    ),
    Rule("missing_ended_at", "ended_at_text = ''", "no arrival time", "ended_at"),
    Rule("ended_at_out_of_range", _out_of_range("ended_at"), "arrival outside 1970 to 2106; NULL", "ended_at"),
    Rule(
        "invalid_ended_at",
        "ended_at_text != '' AND ended_at_utc IS NULL",
        "arrival that cannot be read; NULL",
        "ended_at",
    ),
    Rule("missing_destination", "destination_fault = 'missing'", "no destination coordinates; NULL", "destination"),
    Rule(
        "invalid_destination",
        "destination_fault = 'invalid'",
        "destination coordinates that are no finite numbers; NULL",
        "destination",
    ),
    Rule(
        "destination_out_of_range",
        "destination_fault = 'out_of_range'",
        "destination beyond 90 or 180 degrees; NULL",
        "destination",
    ),
    Rule(
        "destination_null_island",
        "destination_fault = 'null_island'",
        "both destination coordinates are 0; NULL",
        "destination",
    ),
    _bad_number("distance_km", "distance that is no finite number or negative; NULL"),
    _bad_number("passenger_count", "passenger count that is no whole number from 0 to 255; NULL"),
    _bad_number("fare_amount", "fare that is no finite number; NULL"),
    _bad_number("total_amount", "total that is no finite number; NULL"),
)
"""What may be noted about a row that is loaded; a row's warnings are bits in this order."""


REASON_CODES = ("", *dict.fromkeys(rule.code for rule in REASONS))
"""What the reason of a row can be; ``''`` for one that is loaded."""


def reason_expression() -> str:
    """SQL for a row's reason, one of `REASON_CODES`; a blank line has none."""
    return one_of(REASON_CODES, [("", "blank"), *((rule.code, rule.condition) for rule in REASONS)])


def warnings_expression(mapped: Collection[str]) -> str:
    """SQL for a row's warnings: a UInt32 with bit ``i`` set where ``WARNINGS[i]`` applies.

    Args:
        mapped: What the upload has: canonical columns, and ``destination`` for coordinates of one.
    """
    bits = [
        f"if(ifNull({rule.condition}, false), {1 << bit}, 0)"
        for bit, rule in enumerate(WARNINGS)
        if rule.column is None or rule.column in mapped
    ]
    return f"toUInt32({' + '.join(bits)})"
