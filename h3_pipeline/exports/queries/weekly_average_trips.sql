-- title: Weekly average of trips in a box
-- description: >
--   For each region, how many trips a week depart within a box. A trip is within it if the centre of its origin's
--   cell is, edges included; so the resolution is how exactly the box is cut. A box whose west lies east
--   of its east spans the antimeridian. Weeks begin on Monday, local time. The weeks counted are those
--   between the first and the last departure of the region anywhere, or those given; one without trips
--   in the box counts as zero, and the weeks at both ends count whole.
-- formats: [csv, parquet]
-- schedule: "30 5 * * 1"
-- reads: [cell_hourly]
-- parameters:
--   region: {type: String, default: "", description: Only this region; empty means each by itself}
--   south: {type: Float64, default: -90, description: "Latitude of the box's southern edge, degrees"}
--   north: {type: Float64, default: 90, description: Latitude of its northern edge}
--   west: {type: Float64, default: -180, description: "Longitude of its western edge, degrees"}
--   east: {type: Float64, default: 180, description: Longitude of its eastern edge}
--   resolution: {type: UInt8, default: 9, rollup: true, description: H3 resolution of the cells that cut the box}
--   from: {type: Date, default: "1970-01-01", description: "A day in the first week; 1970-01-01 is that of the first departure"}
--   to: {type: Date, default: "1970-01-01", description: "A day in the last week; 1970-01-01 is that of the last departure"}
WITH
    weekly AS
    (
        SELECT
            h.region AS region,
            toMonday(h.hour + toIntervalMinute(utc_offset_minutes)) AS week,
            h.cell AS cell,
            sum(h.departures) AS departed
        FROM cell_hourly AS h
        WHERE resolution = {resolution:UInt8} AND departures > 0 AND ({region:String} = '' OR region = {region:String})
        GROUP BY region, week, cell
    ),
    inside AS
    (
        SELECT cell
        FROM (SELECT DISTINCT cell, h3ToGeo(cell).1 AS lat, h3ToGeo(cell).2 AS lng FROM weekly)
        WHERE lat BETWEEN {south:Float64} AND {north:Float64}
            AND if(
                {west:Float64} <= {east:Float64},
                lng BETWEEN {west:Float64} AND {east:Float64},
                lng >= {west:Float64} OR lng <= {east:Float64})
    ),
    spans AS
    (
        SELECT
            region,
            if({from:Date} = toDate(0), min(week), toMonday({from:Date})) AS first_week,
            if({to:Date} = toDate(0), max(week), toMonday({to:Date})) AS last_week
        FROM weekly
        GROUP BY region
    )
SELECT
    w.region AS region,
    s.first_week AS first_week,
    s.last_week AS last_week,
    toUInt32(if(last_week < first_week, 0, intDiv(dateDiff('day', first_week, last_week), 7) + 1)) AS weeks,
    toUInt32(weeks - uniqExactIf(w.week, counted)) AS weeks_without_trips,
    sumIf(w.departed, (w.cell IN inside AND w.week BETWEEN s.first_week AND s.last_week) AS counted) AS trips,
    if(weeks = 0, NULL, trips / weeks) AS weekly_average
FROM weekly AS w
INNER JOIN spans AS s ON s.region = w.region
GROUP BY region, first_week, last_week
ORDER BY region
