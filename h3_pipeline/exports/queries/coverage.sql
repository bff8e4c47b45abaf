-- title: Coverage
-- description: >
--   The area in which trips depart or arrive, as the smallest set of H3 cells: seven cells that fill their parent (six, of
--   a pentagon) give way to it, and so on, as h3 compacts cells. base_cells is how many cells of the chosen
--   resolution each one stands for.
-- formats: [csv, parquet, geojson, geoparquet, map]
-- schedule: "50 5 * * 1"
-- reads: [cell_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 9, rollup: true, description: H3 resolution of the cells to be compacted}
--   region: {type: String, default: "", description: Only this region; empty means all}
-- cell: cell
-- measures:
--   trip_ends: {label: Departures and arrivals}
--   base_cells: {label: Cells covered}
WITH
    base AS
    (
        SELECT cell, sum(departures) + sum(arrivals) AS ends
        FROM cell_hourly
        WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
        GROUP BY cell
    ),
    ancestors AS
    (
        SELECT cell, ends, ancestor_resolution, h3ToParent(cell, ancestor_resolution) AS ancestor
        FROM base
        ARRAY JOIN range(toUInt8({resolution:UInt8} + 1)) AS ancestor_resolution
    ),
    -- an ancestor is full if all that it consists of is there: 7 to the power of the generations between,
    -- or of a pentagon, which has one hexagon less in each, 1 + 5 (7^n - 1) / 6
    full AS
    (
        SELECT ancestor, any(ancestor_resolution) AS ancestor_resolution
        FROM ancestors
        GROUP BY ancestor
        HAVING count() = if(
            h3IsPentagon(ancestor),
            1 + intDiv(5 * (toUInt64(pow(7, {resolution:UInt8} - ancestor_resolution)) - 1), 6),
            toUInt64(pow(7, {resolution:UInt8} - ancestor_resolution)))
    )
SELECT
    cell,
    resolution,
    count() AS base_cells,
    sum(ends) AS trip_ends
FROM
(
    -- what is full above a cell is full all the way down to it: the coarsest stands for it
    SELECT
        any(a.ends) AS ends,
        toUInt8(min(f.ancestor_resolution)) AS resolution,
        h3ToParent(a.cell, resolution) AS cell
    FROM ancestors AS a
    INNER JOIN full AS f ON f.ancestor = a.ancestor
    GROUP BY a.cell
)
GROUP BY cell, resolution
ORDER BY resolution, cell
