{#- A coarser resolution from the next finer one: parents add up exactly. -#}
INSERT INTO {{ groups }}
SELECT
    {{ resolution }},
    h3ToParent(f.origin, {{ resolution }}) AS parent_origin,
    h3ToParent(f.destination, {{ resolution }}) AS parent_destination,
    f.hour,
    f.label,
    sum(f.trips),
    {{ measures_from_finer }}
FROM {{ groups }} AS f
WHERE f.resolution = {{ finer }}
GROUP BY parent_origin, parent_destination, f.hour, f.label
