{#- Departures and arrivals of trips, at the finest of the rolled-up resolutions. -#}
INSERT INTO {{ target }}
SELECT
    {{ resolution }} AS resolution,
    h3ToParent(end_cell, {{ resolution }}) AS cell,
    toStartOfHour(end_time) AS hour,
    region,
    datasource,
    utc_offset_minutes,
    upload,
    countIf(departs) AS departures,
    countIf(NOT departs) AS arrivals,
    {{ measures_from_trips("departs") }}
FROM
(
    SELECT true AS departs, origin_h3 AS end_cell, started_at AS end_time, region, datasource,
           utc_offset_minutes, upload, started_at, ended_at, distance_km, fare_amount
    FROM {{ source }}
    UNION ALL
    SELECT false, assumeNotNull(destination_h3), assumeNotNull(ended_at), region, datasource,
           utc_offset_minutes, upload, started_at, ended_at, distance_km, fare_amount
    FROM {{ source }}
    WHERE destination_h3 IS NOT NULL AND ended_at IS NOT NULL
)
GROUP BY cell, hour, region, datasource, utc_offset_minutes, upload
