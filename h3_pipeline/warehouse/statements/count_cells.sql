{#- Departures and arrivals of trips in a span of time, at the finest of the rolled-up resolutions. -#}
INSERT INTO {{ groups }}
SELECT
    {{ resolution }},
    h3ToParent(end_cell, {{ resolution }}) AS cell,
    hour,
    label,
    countIf(departing),
    countIf(NOT departing),
    {{ measures_from_trips }}
FROM
(
    SELECT true AS departing, origin_h3 AS end_cell, toStartOfHour(started_at) AS hour, {{ label }} AS label,
           started_at, ended_at, distance_km, fare_amount
    FROM {{ trips }}
    WHERE {{ departs }}
    UNION ALL
    -- an arrival has no measures: they belong to the departure
    SELECT false, assumeNotNull(destination_h3), toStartOfHour(assumeNotNull(trip.ended_at)), {{ label }},
           trip.started_at, NULL, NULL, NULL
    FROM {{ trips }} AS trip
    WHERE destination_h3 IS NOT NULL AND {{ arrives }}
)
GROUP BY cell, hour, label
