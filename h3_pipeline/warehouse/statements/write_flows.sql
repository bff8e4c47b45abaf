{#- Counted groups into a table shaped like flow_hourly. -#}
INSERT INTO {{ target }}
    (resolution, origin, destination, hour, region, datasource, utc_offset_minutes, upload, trips,
    {{ measure_names }})
SELECT resolution, origin, destination, hour, region, datasource, utc_offset_minutes, upload, trips,
    {{ measure_names }}
FROM {{ groups }} AS counted
INNER JOIN {{ labels }} AS labelled ON counted.label = labelled.label
