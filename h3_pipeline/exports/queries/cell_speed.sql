-- title: Speed and duration by cell
-- description: >
--   How fast and how long the trips are that depart in each cell, at several resolutions. The speed is all their
--   kilometres over all their hours, of trips that say both. Trips shorter than the least duration, or
--   faster than the greatest speed, are taken for faults of the recording and left out of everything.
-- formats: [csv.gz, parquet, geoparquet, map]
-- schedule: "35 5 * * 1"
-- reads: [trips]
-- parameters:
--   resolutions: {type: Array(UInt8), default: [7, 8], description: H3 resolutions}
--   region: {type: String, default: "", description: Only this region; empty means all}
--   min_seconds: {type: UInt32, default: 30, description: Least duration in seconds}
--   max_kmh: {type: Float64, default: 150, description: Greatest speed in km/h}
-- cell: cell
-- measures:
--   speed_kmh: {label: Mean speed, unit: km/h, weight: trips}
--   duration_min_p50: {label: Median duration, unit: min, weight: trips}
--   trips: {label: Trips}
WITH
    measured AS
    (
        SELECT
            origin_h3,
            toUInt64(dateDiff('second', started_at, assumeNotNull(ended_at))) AS seconds,
            toUInt64(round(assumeNotNull(distance_km) * 1e6)) AS millimetres
        FROM trips
        WHERE ended_at IS NOT NULL AND distance_km IS NOT NULL
            AND ({region:String} = '' OR region = {region:String})
            AND seconds >= greatest({min_seconds:UInt32}, 1)
            AND millimetres / 1e6 / (seconds / 3600) <= {max_kmh:Float64}
    )
SELECT
    resolution,
    h3ToParent(origin_h3, resolution) AS cell,
    count() AS trips,
    sum(millimetres) / 1e6 / (sum(seconds) / 3600) AS speed_kmh,
    sum(seconds) / count() / 60 AS duration_min_avg,
    quantileExactInclusive(0.5)(seconds) / 60 AS duration_min_p50,
    quantileExactInclusive(0.9)(seconds) / 60 AS duration_min_p90,
    sum(millimetres) / count() / 1e6 AS distance_km_avg
FROM measured
ARRAY JOIN arrayDistinct({resolutions:Array(UInt8)}) AS resolution
GROUP BY resolution, cell
ORDER BY resolution, cell
