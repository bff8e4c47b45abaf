CREATE VIEW IF NOT EXISTS {{ table("cell_hourly_view") }} AS
SELECT
    resolution,
    cell,
    hour,
    region,
    datasource,
    sum(h.departures) AS departures,
    sum(h.arrivals) AS arrivals,
    {{ finished_measures }}
FROM {{ qualified("cell_hourly") }} AS h
GROUP BY resolution, cell, hour, region, datasource
