{#- Groups, trips and a checksum of flow_hourly at one resolution, beside a recount from trips. -#}
SELECT
    'rollup' AS side,
    count() AS groups,
    sum(f.trips) AS total,
    sum(cityHash64(origin, destination, hour, region, datasource, utc_offset_minutes, upload, f.trips, {{ sums }})) AS checksum
FROM {{ table }} AS f FINAL
WHERE resolution = {{ resolution }}
UNION ALL
SELECT
    'recount',
    count(),
    sum(trips),
    sum(cityHash64(origin, destination, hour, region, datasource, utc_offset_minutes, upload, trips, {{ sums }}))
FROM
(
    SELECT
        h3ToParent(origin_h3, {{ resolution }}) AS origin,
        h3ToParent(assumeNotNull(destination_h3), {{ resolution }}) AS destination,
        toStartOfHour(started_at) AS hour,
        region,
        datasource,
        utc_offset_minutes,
        upload,
        count() AS trips,
        {{ sums_from_trips("true") }}
    FROM {{ trips }}
    WHERE destination_h3 IS NOT NULL
    GROUP BY origin, destination, hour, region, datasource, utc_offset_minutes, upload
)
