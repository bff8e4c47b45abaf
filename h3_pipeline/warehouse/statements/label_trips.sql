{#- The labels of the trips that depart or arrive in a span of time. -#}
INSERT INTO {{ labels }}
SELECT {{ label }}, region, datasource, utc_offset_minutes, upload
FROM {{ trips }}
WHERE ({{ departs }}) OR ({{ arrives }})
GROUP BY region, datasource, utc_offset_minutes, upload
