-- title: Busiest cells by hour of the week
-- description: >
--   Departures and arrivals of each cell in each of the 168 hours of the week, local time, over all weeks
--   in the tables, and the cell's rank in that hour.
-- formats: [csv.zst, parquet, geojson, map]
-- schedule: "15 5 * * 1"
-- reads: [cell_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 8, rollup: true, description: H3 resolution of the cells}
--   region: {type: String, default: "", description: Only this region; empty means all}
--   top: {type: UInt32, default: 1000, description: "At most so many cells for each hour, the busiest"}
-- cell: cell
-- hour_of_week: hour_of_week
-- measures:
--   trip_ends: {label: Departures and arrivals}
--   departures: {label: Departures}
--   arrivals: {label: Arrivals}
WITH
    hour + toIntervalMinute(utc_offset_minutes) AS local_hour,
    hourly AS
    (
        SELECT
            toUInt8((toDayOfWeek(local_hour) - 1) * 24 + toHour(local_hour)) AS hour_of_week,
            cell,
            sum(departures) AS departed,
            sum(arrivals) AS arrived
        FROM cell_hourly
        WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
        GROUP BY hour_of_week, cell
    )
SELECT
    hour_of_week,
    toUInt32(row_number() OVER (PARTITION BY hour_of_week ORDER BY departed + arrived DESC, cell ASC)) AS rank,
    cell,
    departed AS departures,
    arrived AS arrivals,
    departed + arrived AS trip_ends
FROM hourly
QUALIFY rank <= {top:UInt32}
ORDER BY hour_of_week, rank
