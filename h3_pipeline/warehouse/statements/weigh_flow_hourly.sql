{#- Groups, trips and checksum of each resolution of flow_hourly; see reconcile.py. -#}
SELECT
    resolution,
    count() AS groups,
    sum(hourly.trips) AS total,
    sum(
        cityHash64(origin, destination, hour, {{ label }})
        * (hourly.trips * {{ weight_factor("trips") }} + {{ weight_of_group }})
    ) AS checksum
FROM {{ table }} AS hourly
GROUP BY resolution
