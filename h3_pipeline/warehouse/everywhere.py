"""All shards read as one: a database beside the warehouse's, with the same names in it.

So a query asks the same wherever it is asked, and nobody has to know of shards but who loads. Nothing is written
through these tables.
"""

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse import history, publications
from h3_pipeline.warehouse.schema import LOADED_TABLES, Placement
from h3_pipeline.warehouse.sharding import SHARDING_KEY
from h3_pipeline.warehouse.templates import render_migration, render_statement

TABLES = (*LOADED_TABLES, publications.TABLE, history.TABLE)
"""Tables that are read over all shards; each has a column ``upload``."""

_VIEWS = {"cell_hourly_view": "0004_cell_hourly_view", "flow_hourly_view": "0005_flow_hourly_view"}


def everywhere(placement: Placement) -> Placement:
    """Where the tables over all shards are.

    Args:
        placement: Where those of each shard are.
    """
    return Placement(f"{placement.database}_everywhere", placement.cluster)


def everywhere_is_current(engine: ClickHouse, placement: Placement) -> bool:
    """Whether the tables and views over all shards are what those of this server are.

    Args:
        engine: A server of the cluster.
        placement: Where the tables of each shard are.
    """
    wanted = (*TABLES, *_VIEWS)
    there = _columns(engine, everywhere(placement), wanted)
    return there.keys() == set(wanted) and there == _columns(engine, placement, wanted)


def keep_everywhere(engine: ClickHouse, placement: Placement, *, cluster: str) -> None:
    """Make the tables and views over all shards, unless they are what they should be.

    Args:
        engine: A server of the cluster, with all migrations applied.
        placement: Where the tables of each shard are.
        cluster: The cluster whose shards are meant.
    """
    if everywhere_is_current(engine, placement):
        return
    for statement in everywhere_statements(placement, cluster=cluster):
        engine.command(statement, repeatable=True)


def everywhere_statements(placement: Placement, *, cluster: str) -> list[str]:
    """What makes the tables and views over all shards, anew where they are there.

    Args:
        placement: Where the tables of each shard are.
        cluster: The cluster whose shards are meant.
    """
    over_all = everywhere(placement)
    on_cluster = placement.on_cluster()
    statements = [f"CREATE DATABASE IF NOT EXISTS `{over_all.database}` {on_cluster}"]
    for table in TABLES:
        statements.append(
            render_statement(
                "distributed",
                everywhere=over_all.table(table),
                local=placement.table(table),
                on_cluster=on_cluster,
                cluster=cluster,
                database=placement.database,
                table=table,
                key=SHARDING_KEY,
            )
        )
    for view, migration in _VIEWS.items():
        statements.append(f"DROP VIEW IF EXISTS {over_all.table(view)} {on_cluster}")
        statements.append(
            render_migration(
                migration,
                table=lambda name: f"{over_all.table(name)} {on_cluster}",
                qualified=over_all.table,
            )
        )
    return statements


def _columns(engine: ClickHouse, placement: Placement, tables: tuple[str, ...]) -> dict[str, list[tuple[str, str]]]:
    """Names and types of the columns of those tables that are there."""
    return engine.pairs(
        "SELECT table, groupArray((name, type)) FROM (SELECT table, name, type FROM system.columns "
        "WHERE database = {database:String} AND table IN {tables:Array(String)} ORDER BY table, position) "
        "GROUP BY table",
        {"database": placement.database, "tables": list(tables)},
    )
