-- Trips per pair of cells and hour of departure, built like cell_hourly.
CREATE TABLE IF NOT EXISTS {{ table("flow_hourly") }}
(
    resolution UInt8 COMMENT 'H3 resolution of both cells',
    origin UInt64 COMMENT 'H3 cell of departure',
    destination UInt64 COMMENT 'H3 cell of arrival',
    hour DateTime('UTC') COMMENT 'start of the hour of departure, UTC' {{ rising }},
    region LowCardinality(String) COMMENT 'city or area',
    datasource LowCardinality(String) COMMENT 'vendor or operator',
    utc_offset_minutes Int16 COMMENT 'local time minus UTC at the trips'' departure, minutes',
    upload LowCardinality(String) COMMENT 'object key below uploads/',
    trips SimpleAggregateFunction(sum, UInt64) COMMENT 'trips that started in the hour' {{ narrow }},
    {{ measure_columns }}
)
ENGINE = {{ engine("AggregatingMergeTree") }}
PARTITION BY toYYYYMM(hour)
ORDER BY (resolution, origin, destination, hour, region, datasource, utc_offset_minutes, upload)
SETTINGS {{ no_deduplication }}
COMMENT 'Trips per origin, destination and hour, by upload; ask flow_hourly_view'
