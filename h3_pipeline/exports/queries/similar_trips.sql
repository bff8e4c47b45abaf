-- title: Trips alike
-- description: >
--   Groups of trips that are similar: from the same cell, to the same cell, at the same time of day by local
--   time, on whatever day. With their number, the days on which there were any, and their mean duration,
--   distance and fare where known.
-- formats: [csv.zst, parquet, map]
-- schedule: "25 5 * * 1"
-- reads: [flow_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 8, rollup: true, description: "H3 resolution of both cells: how near is the same place"}
--   hours: {type: UInt8, default: 3, description: "Length of a time of day in hours, from midnight: how near is the same time"}
--   region: {type: String, default: "", description: Only this region; empty means all}
--   min_trips: {type: UInt64, default: 2, description: The least number of trips that are a group}
-- flow: [origin, destination]
-- measures:
--   trips: {label: Trips}
--   days: {label: Days with such trips}
--   duration_min: {label: Mean duration, unit: min, weight: trips}
WITH hour + toIntervalMinute(utc_offset_minutes) AS local_time
SELECT
    origin,
    destination,
    toUInt8(intDiv(toHour(local_time), greatest({hours:UInt8}, 1)) * greatest({hours:UInt8}, 1)) AS from_hour,
    toUInt8(least(from_hour + greatest({hours:UInt8}, 1), 24)) AS to_hour,
    sum(f.trips) AS trips,
    toUInt32(uniqExact(toDate(local_time, 'UTC'))) AS days,
    min(toDate(local_time, 'UTC')) AS first_day,
    max(toDate(local_time, 'UTC')) AS last_day,
    if(sum(duration_s_count) = 0, NULL, sum(duration_s_sum) / sum(duration_s_count) / 60) AS duration_min,
    if(sum(distance_mm_count) = 0, NULL, sum(distance_mm_sum) / sum(distance_mm_count) / 1e6) AS distance_km,
    if(sum(fare_e4_count) = 0, NULL, sum(fare_e4_sum) / sum(fare_e4_count) / 1e4) AS fare
FROM flow_hourly AS f
WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
GROUP BY origin, destination, from_hour, to_hour
HAVING trips >= {min_trips:UInt64}
ORDER BY trips DESC, origin, destination, from_hour
