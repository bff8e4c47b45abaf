{#- What weigh_cell_hourly must give at each resolution, from the trips themselves. -#}
SELECT
    countIf(departing) AS departures
    {%- for resolution in resolutions %},
    sum(cityHash64(h3ToParent(end_cell, {{ resolution }}), hour, label) * weight)
    {%- endfor %}
FROM
(
    SELECT true AS departing, origin_h3 AS end_cell, toStartOfHour(started_at) AS hour, {{ label }} AS label,
           {{ weight_factor("departures") }} + {{ weight_of_trip }} AS weight
    FROM {{ trips }}
    UNION ALL
    SELECT false, assumeNotNull(destination_h3), toStartOfHour(assumeNotNull(ended_at)), {{ label }},
           {{ weight_factor("arrivals") }}
    FROM {{ trips }}
    WHERE destination_h3 IS NOT NULL AND ended_at IS NOT NULL
)
