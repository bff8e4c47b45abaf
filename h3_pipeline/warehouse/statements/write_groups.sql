{#- Counted groups into a table shaped like cell_hourly or flow_hourly. -#}
INSERT INTO {{ target }}
    (resolution, {{ place }}, hour, region, datasource, utc_offset_minutes, upload, {{ counts }},
    {{ measure_names }})
SELECT resolution, {{ place }}, hour, region, datasource, utc_offset_minutes, upload, {{ counts }},
    {{ measure_names }}
FROM {{ groups }} AS counted
INNER JOIN {{ labels }} AS labelled ON counted.label = labelled.label
