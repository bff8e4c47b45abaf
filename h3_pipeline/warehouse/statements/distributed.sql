-- A table of all shards, for readers. Whoever loads writes to the tables of one shard (docs/scaling.md).
CREATE OR REPLACE TABLE {{ everywhere }} {{ on_cluster }} AS {{ local }}
ENGINE = Distributed({{ literal(cluster) }}, {{ literal(database) }}, {{ literal(table) }}, {{ key }})
