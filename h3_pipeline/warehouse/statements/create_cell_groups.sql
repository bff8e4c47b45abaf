{#- Groups of cell_hourly while they are counted, each complete; the label stands for the keys that are texts. -#}
CREATE TABLE {{ table }}
(
    resolution UInt8,
    cell UInt64,
    hour DateTime('UTC'),
    label UInt64,
    departures UInt64,
    arrivals UInt64,
    {{ plain_measure_columns }}
)
ENGINE = {{ storage }}
