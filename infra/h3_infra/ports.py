"""Ports, in one place: security groups, target groups and settings of tasks agree on them."""

WEB = 3000
CODE_SERVER = 4000
POSTGRES = 5432
CLICKHOUSE_HTTPS = 8443
CLICKHOUSE_NATIVE_TLS = 9440
CLICKHOUSE_INTERSERVER = 9010
KEEPER_CLIENT = 9281
KEEPER_RAFT = 9234
