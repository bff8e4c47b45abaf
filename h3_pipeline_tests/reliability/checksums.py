"""What the warehouse holds, in a few numbers: two warehouses agree in them if and only if their rows are the same."""

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.warehouse.schema import LOADED_TABLES

Checksums = dict[str, tuple[int, int]]
"""Rows and sum of the rows' hashes, by table, for the views by table and resolution."""

_QUERY = """
SELECT 'trips' AS part, count() AS rows, sum(sipHash64(formatRow('TSV', *))) AS hash FROM trips
UNION ALL
SELECT 'cell_hourly_view/' || toString(resolution), count(), sum(sipHash64(formatRow('TSV', *)))
FROM cell_hourly_view GROUP BY resolution
UNION ALL
SELECT 'flow_hourly_view/' || toString(resolution), count(), sum(sipHash64(formatRow('TSV', *)))
FROM flow_hourly_view GROUP BY resolution
"""


def checksums(engine: ClickHouse) -> Checksums:
    """Checksums of ``trips``, and of both views at every resolution."""
    return {part: (int(rows), int(total)) for part, rows, total in engine.rows(_QUERY)}


Census = dict[str, int]
"""Rows by ``table/partition/upload``."""


def census(engine: ClickHouse) -> Census:
    """How many rows of which upload each month partition of each table holds."""
    query = " UNION ALL ".join(
        f"SELECT '{table}' AS name, _partition_id AS partition, toString(upload) AS key, count() AS rows "
        f"FROM {table} GROUP BY ALL"
        for table in LOADED_TABLES
    )
    return {f"{name}/{partition}/{upload}": int(rows) for name, partition, upload, rows in engine.rows(query)}


def half_visible(found: Census, *whole: Census) -> list[str]:
    """Month partitions in which an upload has a number of rows that none of the given states has.

    Args:
        found: What a killed run left.
        whole: The states before and after each of its operations.
    """
    places = found.keys() | {place for state in whole for place in state}
    return sorted(place for place in places if found.get(place, 0) not in {state.get(place, 0) for state in whole})


def leftovers(engine: ClickHouse) -> list[str]:
    """Staging tables, of which there are none after a load, and uploads whose rollups do not add up to their trips."""
    staging = engine.rows("SELECT name FROM system.tables WHERE startsWith(name, 'staging_')")
    differing = engine.rows(
        "SELECT upload FROM (SELECT upload, toInt64(count()) AS n, 0 AS resolution FROM trips GROUP BY upload) AS t "
        "FULL OUTER JOIN (SELECT upload, resolution, toInt64(sum(departures)) AS n FROM cell_hourly "
        "GROUP BY upload, resolution) AS c USING (upload) WHERE t.n != c.n"
    )
    return [str(row[0]) for row in [*staging, *differing]]
