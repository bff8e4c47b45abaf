-- Which month partitions of which table may hold rows of an upload. A row is written before the
-- partition is touched, so that no row here proves that the upload has none there: a first load
-- never has to look into the tables.
CREATE TABLE IF NOT EXISTS {{ table("publications") }}
(
    upload String COMMENT 'object key below uploads/',
    table_name LowCardinality(String) COMMENT 'trips, cell_hourly or flow_hourly',
    partition_id LowCardinality(String) COMMENT 'month, YYYYMM',
    state Enum8('intended' = 1, 'published' = 2, 'withdrawn' = 3) COMMENT 'how far it got',
    rows UInt64 COMMENT 'rows published there',
    version UInt64 COMMENT 'nanoseconds since 1970; the latest row counts'
)
ENGINE = {{ engine("ReplacingMergeTree", "version") }}
ORDER BY (upload, table_name, partition_id)
SETTINGS {{ no_deduplication }}
COMMENT 'Where each upload''s rows are'
