{#- Trips per pair of cells that depart in a span of time, at the finest of the rolled-up resolutions. -#}
INSERT INTO {{ groups }}
SELECT
    {{ resolution }},
    h3ToParent(origin_h3, {{ resolution }}) AS origin,
    h3ToParent(assumeNotNull(destination_h3), {{ resolution }}) AS destination,
    toStartOfHour(started_at) AS hour,
    {{ label }} AS label,
    count(),
    {{ measures_from_trips }}
FROM {{ trips }}
WHERE destination_h3 IS NOT NULL AND {{ departs }}
GROUP BY origin, destination, hour, label
