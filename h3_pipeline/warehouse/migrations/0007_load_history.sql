-- What was done with each upload, newest last. The row is written when the work is complete.
CREATE TABLE IF NOT EXISTS {{ table("load_history") }}
(
    upload String COMMENT 'object key below uploads/',
    upload_etag String COMMENT 'version of the object',
    event Enum8('loaded' = 1, 'retracted' = 2, 'refused' = 3) COMMENT 'what was done',
    at DateTime64(6, 'UTC') COMMENT 'when it was complete',
    feed LowCardinality(String) COMMENT 'feed that matched',
    rows_in Nullable(UInt64) COMMENT 'records in the upload, as far as it was read',
    rows_loaded UInt64 COMMENT 'rows in trips',
    rejected Map(String, UInt64) COMMENT 'rows refused, by reason',
    warnings Map(String, UInt64) COMMENT 'rows noted, by warning',
    message String COMMENT 'why it was refused',
    run_id String COMMENT 'Dagster run'
)
ENGINE = {{ engine("MergeTree") }}
ORDER BY (upload, at)
SETTINGS {{ no_deduplication }}
COMMENT 'What was done with each upload'
