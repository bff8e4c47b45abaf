{#- Trips per pair of cells, at the finest of the rolled-up resolutions. -#}
INSERT INTO {{ target }}
SELECT
    {{ resolution }} AS resolution,
    h3ToParent(origin_h3, {{ resolution }}) AS origin,
    h3ToParent(assumeNotNull(destination_h3), {{ resolution }}) AS destination,
    toStartOfHour(started_at) AS hour,
    region,
    datasource,
    utc_offset_minutes,
    upload,
    count() AS trips,
    {{ measures_from_trips("true") }}
FROM {{ source }}
WHERE destination_h3 IS NOT NULL
GROUP BY origin, destination, hour, region, datasource, utc_offset_minutes, upload
