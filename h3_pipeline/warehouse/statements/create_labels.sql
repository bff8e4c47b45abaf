{#- What each label stands for. -#}
CREATE TABLE {{ table }}
(
    label UInt64,
    region LowCardinality(String),
    datasource LowCardinality(String),
    utc_offset_minutes Int16,
    upload LowCardinality(String)
)
ENGINE = {{ storage }}
