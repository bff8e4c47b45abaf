-- title: Cells hour by hour
-- description: >
--   Departures, arrivals and net flow (arrivals less departures) of each cell in each hour of one day. The day is
--   the riders' own, by local time; hour is UTC.
-- formats: [csv.zst, parquet, arrow, geoparquet, map]
-- schedule: "45 4 * * *"
-- partition: daily
-- reads: [cell_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 8, rollup: true, description: H3 resolution of the cells}
--   region: {type: String, default: "", description: Only this region; empty means all}
-- cell: cell
-- hour_of_week: hour_of_week
-- measures:
--   net_flow: {label: Arrivals less departures}
--   departures: {label: Departures}
--   arrivals: {label: Arrivals}
WITH hour + toIntervalMinute(utc_offset_minutes) AS local_time
SELECT
    h.hour AS hour,
    toUInt8(toHour(local_time)) AS local_hour,
    toUInt8((toDayOfWeek(local_time) - 1) * 24 + toHour(local_time)) AS hour_of_week,
    cell,
    sum(h.departures) AS departures,
    sum(h.arrivals) AS arrivals,
    toInt64(sum(h.arrivals)) - toInt64(sum(h.departures)) AS net_flow
FROM cell_hourly AS h
WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
    -- no local time is further than a day from UTC: this chooses the months to read
    AND h.hour >= toDateTime({partition_start:Date}, 'UTC') - toIntervalDay(1)
    AND h.hour < toDateTime({partition_end:Date}, 'UTC') + toIntervalDay(1)
    AND toDate(local_time, 'UTC') >= {partition_start:Date}
    AND toDate(local_time, 'UTC') < {partition_end:Date}
GROUP BY h.hour, local_hour, hour_of_week, cell
ORDER BY hour, cell
