"""Renders the warehouse's SQL files.

A template sees functions and values of this module, nothing of a user's; values that come from an
upload go through `sql.literal`.
"""

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from h3_pipeline.sql import literal
from h3_pipeline.warehouse.measures import MEASURES, finished

STATEMENTS = "h3_pipeline.warehouse.statements"
MIGRATIONS = "h3_pipeline.warehouse.migrations"


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
        measure_columns=_list(column for measure in MEASURES for column in measure.columns()),
        measures_from_trips=lambda condition: _list(
            column for measure in MEASURES for column in measure.from_trips(condition)
        ),
        sums=", ".join(f"{measure.name}_{kind}" for measure in MEASURES for kind in ("sum", "count")),
        sums_from_trips=lambda condition: _list(
            column for measure in MEASURES for column in measure.sums_from_trips(condition)
        ),
        measures_from_finer=_list(column for measure in MEASURES for column in measure.from_finer()),
        finished_measures=_list(f"{expression} AS {name}" for name, expression in finished("h").items()),
    )
    return environment


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _list(parts: Any) -> str:
    return ",\n    ".join(parts)
