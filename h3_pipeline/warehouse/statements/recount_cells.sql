{#- Groups, departures and a checksum of cell_hourly at one resolution, beside a recount from trips. -#}
SELECT
    'rollup' AS side,
    count() AS groups,
    sum(departures) AS trips,
    sum(cityHash64(cell, hour, region, datasource, utc_offset_minutes, upload, departures, arrivals, {{ sums }})) AS checksum
FROM {{ table }} FINAL
WHERE resolution = {{ resolution }}
UNION ALL
SELECT
    'recount',
    count(),
    sum(departures),
    sum(cityHash64(cell, hour, region, datasource, utc_offset_minutes, upload, departures, arrivals, {{ sums }}))
FROM
(
    SELECT
        h3ToParent(end_cell, {{ resolution }}) AS cell,
        toStartOfHour(end_time) AS hour,
        region,
        datasource,
        utc_offset_minutes,
        upload,
        countIf(departs) AS departures,
        countIf(NOT departs) AS arrivals,
        {{ sums_from_trips("departs") }}
    FROM
    (
        SELECT true AS departs, origin_h3 AS end_cell, started_at AS end_time, region, datasource,
               utc_offset_minutes, upload, started_at, ended_at, distance_km, fare_amount
        FROM {{ trips }}
        UNION ALL
        SELECT false, assumeNotNull(destination_h3), assumeNotNull(ended_at), region, datasource,
               utc_offset_minutes, upload, started_at, ended_at, distance_km, fare_amount
        FROM {{ trips }}
        WHERE destination_h3 IS NOT NULL AND ended_at IS NOT NULL
    )
    GROUP BY cell, hour, region, datasource, utc_offset_minutes, upload
)
