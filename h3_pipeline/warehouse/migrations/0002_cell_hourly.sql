-- Departures and arrivals per cell and hour. Sums are kept as integers (seconds, millimetres,
-- ten-thousandths of the currency), so that they do not depend on the order of adding and a recount
-- gives the very same numbers. `upload` is the last key column: rows of two uploads never merge,
-- and an upload's rows can be exchanged without touching the others'.
CREATE TABLE IF NOT EXISTS {{ table("cell_hourly") }}
(
    resolution UInt8 COMMENT 'H3 resolution of the cell',
    cell UInt64 COMMENT 'H3 cell: the parent, at this resolution, of the trips'' cells',
    hour DateTime('UTC') COMMENT 'start of the hour, UTC' {{ rising }},
    region LowCardinality(String) COMMENT 'city or area',
    datasource LowCardinality(String) COMMENT 'vendor or operator',
    utc_offset_minutes Int16 COMMENT 'local time minus UTC at the trips'' departure, minutes',
    upload LowCardinality(String) COMMENT 'object key below uploads/',
    departures SimpleAggregateFunction(sum, UInt64) COMMENT 'trips that started in the cell in the hour' {{ narrow }},
    arrivals SimpleAggregateFunction(sum, UInt64) COMMENT 'trips that ended in the cell in the hour' {{ narrow }},
    {{ measure_columns }}
)
ENGINE = {{ engine("AggregatingMergeTree") }}
PARTITION BY toYYYYMM(hour)
ORDER BY (resolution, cell, hour, region, datasource, utc_offset_minutes, upload)
SETTINGS {{ no_deduplication }}
COMMENT 'Departures and arrivals per cell and hour, by upload; ask cell_hourly_view'
