-- The trips themselves: one row a trip, partitioned by month of departure so that an upload's
-- months can be exchanged whole. The deduplication window is 0: a part that was taken out and is
-- attached again must not be dropped as a duplicate.
CREATE TABLE IF NOT EXISTS {{ table("trips") }}
(
    {{ trip_columns }}
)
ENGINE = {{ engine("MergeTree") }}
PARTITION BY toYYYYMM(started_at)
ORDER BY (origin_h3, started_at)
SETTINGS {{ no_deduplication }}
COMMENT 'One row a trip'
