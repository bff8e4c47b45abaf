{#- Groups, departures and checksum of each resolution of cell_hourly; see reconcile.py. -#}
SELECT
    resolution,
    count() AS groups,
    sum(departures) AS trips,
    sum(
        cityHash64(cell, hour, {{ label }})
        * (departures * {{ weight_factor("departures") }} + arrivals * {{ weight_factor("arrivals") }} + {{ weight_of_group }})
    ) AS checksum
FROM {{ table }}
GROUP BY resolution
