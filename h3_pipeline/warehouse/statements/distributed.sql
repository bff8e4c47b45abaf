-- All shards as one table, for readers. Whoever loads writes to the tables of one shard (docs/scaling.md).
CREATE TABLE IF NOT EXISTS {{ everywhere }} {{ on_cluster }} AS {{ local }}
ENGINE = Distributed({{ literal(cluster) }}, {{ literal(database) }}, {{ literal(table) }}{% if key %}, {{ key }}{% endif %})
