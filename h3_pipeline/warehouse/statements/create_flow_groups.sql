{#- Groups of flow_hourly while they are counted, each complete; the label stands for the keys that are texts. -#}
CREATE TABLE {{ table }}
(
    resolution UInt8,
    origin UInt64,
    destination UInt64,
    hour DateTime('UTC'),
    label UInt64,
    trips UInt64,
    {{ plain_measure_columns }}
)
ENGINE = {{ storage }}
