{#- A coarser resolution from the next finer one: parents add up exactly. -#}
INSERT INTO {{ target }}
SELECT
    {{ resolution }} AS resolution,
    h3ToParent(f.cell, {{ resolution }}) AS parent,
    f.hour,
    f.region,
    f.datasource,
    f.utc_offset_minutes,
    f.upload,
    sum(f.departures) AS departures,
    sum(f.arrivals) AS arrivals,
    {{ measures_from_finer }}
FROM {{ target }} AS f
WHERE f.resolution = {{ finer }}
GROUP BY parent, f.hour, f.region, f.datasource, f.utc_offset_minutes, f.upload
