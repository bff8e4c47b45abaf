{#- What weigh_flow_hourly must give at each resolution, from the trips themselves. -#}
SELECT
    count() AS trips
    {%- for resolution in resolutions %},
    sum(cityHash64(h3ToParent(origin_h3, {{ resolution }}), h3ToParent(destination, {{ resolution }}), hour, label) * weight)
    {%- endfor %}
FROM
(
    SELECT origin_h3, assumeNotNull(destination_h3) AS destination, toStartOfHour(started_at) AS hour,
           {{ label }} AS label, {{ weight_factor("trips") }} + {{ weight_of_trip }} AS weight
    FROM {{ trips }}
    WHERE destination_h3 IS NOT NULL
)
