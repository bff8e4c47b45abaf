{#- Counted groups into a table shaped like cell_hourly. -#}
INSERT INTO {{ target }}
    (resolution, cell, hour, region, datasource, utc_offset_minutes, upload, departures, arrivals,
    {{ measure_names }})
SELECT resolution, cell, hour, region, datasource, utc_offset_minutes, upload, departures, arrivals,
    {{ measure_names }}
FROM {{ groups }} AS counted
INNER JOIN {{ labels }} AS labelled ON counted.label = labelled.label
