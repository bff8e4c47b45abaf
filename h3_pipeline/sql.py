"""Quoting for SQL text: the one place where a value or a name becomes part of a statement.

Most statements bind their values as parameters. What cannot be bound (table functions' arguments,
statements that take no parameters) goes through here.
"""

from collections.abc import Mapping
from typing import Any

from clickhouse_connect.driver.binding import format_query_value, quote_identifier

__all__ = ["assignments", "identifier", "literal", "mapped", "settings_clause"]


def literal(value: str | int | float | None) -> str:
    """A value as a SQL literal, strings escaped."""
    return "NULL" if value is None else str(format_query_value(value))


def identifier(name: str) -> str:
    """A table, column or database name, quoted. Names come from this project, never from a user."""
    return quote_identifier(name)


def settings_clause(settings: Mapping[str, Any]) -> str:
    """``SETTINGS a = 1, b = 'x'``, or nothing for no settings."""
    return f"SETTINGS {assignments(settings)}" if settings else ""


def mapped(expression: str, values: Mapping[Any, Any], otherwise: str | int) -> str:
    """SQL for what belongs to the value of an expression.

    Args:
        expression: SQL of the value.
        values: What belongs to each value.
        otherwise: What belongs to any other.
    """
    known, belonging = (", ".join(map(literal, each)) for each in (values, values.values()))
    return f"transform({expression}, [{known}], [{belonging}], {literal(otherwise)})"


def assignments(settings: Mapping[str, Any]) -> str:
    """``a = 1, b = 'x'``, as ``SETTINGS`` and ``SET`` take them."""
    return ", ".join(f"{name} = {literal(value)}" for name, value in settings.items())
