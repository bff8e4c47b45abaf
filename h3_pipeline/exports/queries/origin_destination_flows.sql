-- title: Origin to destination
-- description: >
--   Trips between each two cells, over all the time in the tables, with the mean duration, distance and fare of
--   those trips that have them; the busiest first. A cell's trips to itself are a flow too.
-- formats: [csv.zst, parquet, map]
-- schedule: "20 5 * * 1"
-- reads: [flow_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 7, rollup: true, description: H3 resolution of both cells}
--   region: {type: String, default: "", description: Only this region; empty means all}
--   min_trips: {type: UInt64, default: 1, description: Leave out flows with fewer trips}
--   top: {type: UInt32, default: 100000, description: "At most so many flows, the busiest"}
-- flow: [origin, destination]
-- measures:
--   trips: {label: Trips}
--   duration_min: {label: Mean duration, unit: min, weight: trips}
--   distance_km: {label: Mean distance, unit: km, weight: trips}
SELECT
    origin,
    destination,
    sum(f.trips) AS trips,
    if(sum(duration_s_count) = 0, NULL, sum(duration_s_sum) / sum(duration_s_count) / 60) AS duration_min,
    if(sum(distance_mm_count) = 0, NULL, sum(distance_mm_sum) / sum(distance_mm_count) / 1e6) AS distance_km,
    if(sum(fare_e4_count) = 0, NULL, sum(fare_e4_sum) / sum(fare_e4_count) / 1e4) AS fare
FROM flow_hourly AS f
WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
GROUP BY origin, destination
HAVING trips >= {min_trips:UInt64}
ORDER BY trips DESC, origin, destination
LIMIT {top:UInt32}
