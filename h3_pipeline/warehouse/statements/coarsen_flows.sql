{#- A coarser resolution from the next finer one: parents add up exactly. -#}
INSERT INTO {{ target }}
SELECT
    {{ resolution }} AS resolution,
    h3ToParent(f.origin, {{ resolution }}) AS parent_origin,
    h3ToParent(f.destination, {{ resolution }}) AS parent_destination,
    f.hour,
    f.region,
    f.datasource,
    f.utc_offset_minutes,
    f.upload,
    sum(f.trips) AS trips,
    {{ measures_from_finer }}
FROM {{ target }} AS f
WHERE f.resolution = {{ finer }}
GROUP BY parent_origin, parent_destination, f.hour, f.region, f.datasource, f.utc_offset_minutes, f.upload
