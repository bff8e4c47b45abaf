"""Dagster's tables in a new SQLite file, without reading its migrations again for each file.

Dagster's own classes read all of them twice for every file that they make, and once for every file that is there.
"""

from enum import Enum, auto
from functools import lru_cache

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION
from sqlalchemy import Engine, MetaData, inspect
from sqlalchemy.exc import OperationalError


class Tables(Enum):
    """What became of the tables of a file."""

    MADE = auto()
    """There were none."""
    THERE = auto()
    """They say of which version they are."""
    UNCLEAR = auto()
    """They do not, as those of an old Dagster, or somebody else is about to make them: for Dagster to judge."""


def make_tables(engine: Engine, tables: MetaData) -> Tables:
    """Make the tables of Dagster's newest version in a file that has none: all of them, or none.

    Args:
        engine: The file; made if it does not exist.
        tables: Which ones.
    """
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        if context.get_current_revision() is not None:
            return Tables.THERE
        try:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # SQLite's driver begins none for tables
            if inspect(connection).get_table_names():
                return Tables.UNCLEAR
            tables.create_all(connection)
            context.stamp(_migrations(), "head")
            connection.commit()
        except OperationalError:  # locked
            return Tables.UNCLEAR
    return Tables.MADE


@lru_cache(1)
def _migrations() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", ALEMBIC_SCRIPTS_LOCATION)
    return ScriptDirectory.from_config(config)
