CREATE VIEW IF NOT EXISTS {{ table("flow_hourly_view") }} AS
SELECT
    resolution,
    origin,
    destination,
    hour,
    region,
    datasource,
    sum(h.trips) AS trips,
    {{ finished_measures }}
FROM {{ qualified("flow_hourly") }} AS h
GROUP BY resolution, origin, destination, hour, region, datasource
