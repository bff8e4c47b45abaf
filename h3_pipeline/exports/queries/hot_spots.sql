-- title: Hot spots
-- description: >
--   Where trips cluster: the statistic Gi* of Getis and Ord for each cell, with the cells of its k-ring and itself as
--   neighbours, all of one weight. The study area of a region is every cell with a trip and the k-rings around
--   them; a cell there without trips counts as zero. z_score says by how many standard deviations the
--   neighbourhood has more (or fewer) trips than chance would give it; p_value is two-sided.
-- formats: [csv.zst, parquet, geojson, geoparquet, map]
-- schedule: "40 5 * * 1"
-- reads: [cell_hourly]
-- parameters:
--   resolution: {type: UInt8, default: 8, rollup: true, description: H3 resolution of the cells}
--   k: {type: UInt8, default: 1, description: Rings of neighbours}
--   region: {type: String, default: "", description: "Only this region; empty means all, each by itself"}
-- cell: cell
-- measures:
--   z_score: {label: Gi* z-score}
--   trip_ends: {label: Departures and arrivals}
WITH
    observed AS
    (
        SELECT region, cell, toFloat64(sum(departures) + sum(arrivals)) AS x
        FROM cell_hourly
        WHERE resolution = {resolution:UInt8} AND ({region:String} = '' OR region = {region:String})
        GROUP BY region, cell
    ),
    -- each observed cell gives its number to all whose neighbour it is; and by that they are in the area
    spread AS
    (
        SELECT region, neighbour AS cell, sum(o.x) AS neighbourhood, sumIf(o.x, neighbour = o.cell) AS x
        FROM observed AS o
        ARRAY JOIN h3kRing(o.cell, {k:UInt8}) AS neighbour
        GROUP BY region, neighbour
    ),
    area AS
    (
        SELECT region, toFloat64(count()) AS n, sum(x) / n AS mean,
            sqrt(greatest(sum(x * x) / n - mean * mean, 0)) AS deviation
        FROM spread
        GROUP BY region
    ),
    weighed AS
    (
        SELECT s.region AS region, s.cell AS cell, s.x AS x, s.neighbourhood AS neighbourhood,
            toFloat64(w.weights) AS weights, a.mean AS mean,
            if(a.n < 2, 0, a.deviation * sqrt((a.n * weights - weights * weights) / (a.n - 1))) AS scale
        FROM spread AS s
        INNER JOIN area AS a ON a.region = s.region
        INNER JOIN
        (
            SELECT region, cell, count() AS weights
            FROM (SELECT region, cell, arrayJoin(h3kRing(cell, {k:UInt8})) AS neighbour FROM spread)
            WHERE (region, neighbour) IN (SELECT region, cell FROM spread)
            GROUP BY region, cell
        ) AS w ON w.region = s.region AND w.cell = s.cell
    )
SELECT
    region,
    cell,
    toUInt64(x) AS trip_ends,
    toUInt64(neighbourhood) AS trip_ends_around,
    toUInt32(weights) AS cells_around,
    if(scale = 0, NULL, (neighbourhood - mean * weights) / scale) AS z_score,
    if(z_score IS NULL, NULL, erfc(abs(z_score) / sqrt(2))) AS p_value,
    multiIf(
        p_value IS NULL OR p_value > 0.05, 'none',
        z_score > 0, if(p_value <= 0.01, 'hot, 99 %', 'hot, 95 %'),
        if(p_value <= 0.01, 'cold, 99 %', 'cold, 95 %')) AS spot
FROM weighed
ORDER BY region, z_score DESC, cell
