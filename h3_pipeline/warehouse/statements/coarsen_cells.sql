{#- A coarser resolution from the next finer one: parents add up exactly. -#}
INSERT INTO {{ groups }}
SELECT
    {{ resolution }},
    h3ToParent(f.cell, {{ resolution }}) AS parent,
    f.hour,
    f.label,
    sum(f.departures),
    sum(f.arrivals),
    {{ measures_from_finer }}
FROM {{ groups }} AS f
WHERE f.resolution = {{ finer }}
GROUP BY parent, f.hour, f.label
