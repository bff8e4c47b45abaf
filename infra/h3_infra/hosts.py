"""Names of the ClickHouse cluster. `python -m h3_infra.hosts prod` prints those that its certificate must have."""

import sys

from h3_infra.config import ClickHouseServers, Config

KEEPERS = 3

WRITER = "clickhouse-writer"
"""The one server that publishers speak to: their lease and their staging tables are that server's own."""

READERS = "clickhouse"
"""The load balancer before all servers, for whoever only reads."""


def zone(config: Config) -> str:
    """The private zone."""
    return f"{config.name}.internal"


def shards(config: Config, servers: ClickHouseServers) -> tuple[tuple[str, ...], ...]:
    """Servers, a tuple of replicas for each shard."""
    names = [f"ch-{number}.{zone(config)}" for number in range(1, servers.nodes + 1)]
    return tuple(
        tuple(names[shard * servers.replicas : (shard + 1) * servers.replicas]) for shard in range(servers.shards)
    )


def keepers(config: Config, servers: ClickHouseServers) -> tuple[str, ...]:
    """Keepers, which may be the first servers."""
    if servers.keepers_on_servers:
        return tuple(name for shard in shards(config, servers) for name in shard)[:KEEPERS]
    return tuple(f"keeper-{number}.{zone(config)}" for number in range(1, KEEPERS + 1))


def certificate_names(config: Config) -> list[str]:
    """All names that a node may be called by, each once."""
    servers = config.clickhouse.servers
    if servers is None:
        return []
    nodes = [name for shard in shards(config, servers) for name in shard]
    entrances = [f"{name}.{zone(config)}" for name in (WRITER, READERS)]
    return list(dict.fromkeys([*nodes, *keepers(config, servers), *entrances]))


if __name__ == "__main__":
    print(",".join(certificate_names(Config.load(sys.argv[1]))))
