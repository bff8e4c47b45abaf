"""Renders the warehouse's SQL files.

A template sees functions and values of this module, nothing of a user's; values that come from an
upload go through `sql.literal`.
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from h3_pipeline.sql import literal
from h3_pipeline.warehouse.codecs import NARROW, RISING
from h3_pipeline.warehouse.measures import MEASURES, Measure, finished, weight_factor

STATEMENTS = "h3_pipeline.warehouse.statements"
MIGRATIONS = "h3_pipeline.warehouse.migrations"

LABEL = "cityHash64(region, datasource, utc_offset_minutes, upload)"
"""The keys of a group that are no place and no time, as one number: grouping by texts takes twice as long."""


def render_statement(name: str, **values: Any) -> str:
    """Render ``statements/{name}.sql``."""
    return _environment(STATEMENTS).get_template(name).render(**values)


def render_migration(name: str, **values: Any) -> str:
    """Render ``migrations/{name}.sql``."""
    return _environment(MIGRATIONS).get_template(name).render(**values)


def migration_names() -> list[str]:
    """Names of all migrations, without their ending, in the order in which they are applied."""
    files = resources.files(MIGRATIONS).iterdir()
    return sorted(file.name.removesuffix(".sql") for file in files if file.name.endswith(".sql"))


def migration_text(name: str) -> str:
    """A migration as written, not rendered."""
    return _read(MIGRATIONS, name)


@cache
def _environment(package: str) -> Environment:
    # the output is SQL, not a page: nothing to escape for HTML
    environment = Environment(  # noqa: S701
        loader=FunctionLoader(lambda name: _read(package, name)), undefined=StrictUndefined
    )
    environment.globals.update(
        literal=literal,
        label=LABEL,
        narrow=NARROW,
        rising=RISING,
        measure_columns=_of_measures(Measure.columns),
        plain_measure_columns=_of_measures(Measure.plain_columns),
        measure_names=_of_measures(Measure.column_names),
        measures_from_trips=_of_measures(Measure.from_trips),
        measures_from_finer=_of_measures(Measure.from_finer),
        finished_measures=_list(f"{expression} AS {name}" for name, expression in finished("h").items()),
        weight_factor=weight_factor,
        weight_of_trip=" + ".join(measure.weight_of_trip() for measure in MEASURES),
        weight_of_group=" + ".join(measure.weight_of_group() for measure in MEASURES),
    )
    return environment


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _of_measures(part: Callable[[Measure], Iterable[str]]) -> str:
    return _list(text for measure in MEASURES for text in part(measure))


def _list(parts: Iterable[str]) -> str:
    return ",\n    ".join(parts)
