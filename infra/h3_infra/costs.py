"""What a deployment costs a month at rest, by on-demand list prices of us-east-1; traffic and runs come on top."""

from dataclasses import dataclass

from h3_infra.config import ClickHouseOption, Config, FargateSize

HOURS = 730

INSTANCE_HOUR = {"r6i.2xlarge": 0.504, "r6i.4xlarge": 1.008, "r6i.8xlarge": 2.016, "t3.medium": 0.0416}
DATABASE_HOUR = {"t4g.small": 0.032, "t4g.medium": 0.065, "m7g.large": 0.168}
VCPU_HOUR, GIB_HOUR = 0.04048, 0.004445
GP3_GIB, GP3_IOPS, GP3_MIBPS = 0.08, 0.005, 0.04
GP3_FREE_IOPS, GP3_FREE_MIBPS = 3000, 125
DATABASE_GIB = 0.115
ENDPOINT_HOUR, NAT_HOUR, BALANCER_HOUR = 0.01, 0.045, 0.0225
FIREWALL_MONTH = 9.0


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of thing: what, the arithmetic in words, US dollars a month."""

    what: str
    arithmetic: str
    dollars: float


def lines(config: Config, endpoints: int) -> list[Line]:
    """What a deployment's parts cost.

    Args:
        config: The deployment.
        endpoints: Number of its interface endpoints.
    """
    web, pipeline, network, database = config.web, config.pipeline, config.network, config.database
    tasks = [(web.size, web.desired + pipeline.viewers_desired), (pipeline.daemon, 1), (pipeline.code_server, 1)]
    fargate = sum(_hour(size) * count for size, count in tasks)
    standby = 2 if database.multi_az else 1
    made = [
        Line("Fargate services", f"${fargate:.3f} × {HOURS} h", fargate * HOURS),
        _hourly("Interface endpoints", endpoints * network.endpoint_zones, ENDPOINT_HOUR),
        _hourly("NAT gateways", network.nat_gateways, NAT_HOUR),
        _hourly("PostgreSQL", standby, DATABASE_HOUR[database.instance_class]),
        Line(
            "PostgreSQL storage",
            f"{standby} × {database.storage_gib} GiB × ${DATABASE_GIB}",
            standby * database.storage_gib * DATABASE_GIB,
        ),
        _hourly("Load balancers", 2 if config.clickhouse.option is ClickHouseOption.EC2 else 1, BALANCER_HOUR),
        Line("Firewall", "one list, four rules", FIREWALL_MONTH),
    ]
    servers = config.clickhouse.servers
    if config.clickhouse.option is ClickHouseOption.EC2 and servers is not None:
        gib = servers.volume_tib * 1024
        volume = (
            gib * GP3_GIB
            + (servers.volume_iops - GP3_FREE_IOPS) * GP3_IOPS
            + (servers.volume_throughput - GP3_FREE_MIBPS) * GP3_MIBPS
        )
        made.append(_hourly("ClickHouse servers", servers.nodes, INSTANCE_HOUR[servers.instance_type]))
        made.append(
            Line(
                "ClickHouse volumes",
                f"{servers.nodes} × ({gib} GiB × ${GP3_GIB} + {servers.volume_iops - GP3_FREE_IOPS} IOPS × ${GP3_IOPS}"
                f" + {servers.volume_throughput - GP3_FREE_MIBPS} MiB/s × ${GP3_MIBPS})",
                servers.nodes * volume,
            )
        )
        if not servers.keepers_on_servers:
            made.append(_hourly("Keepers", 3, INSTANCE_HOUR[servers.keeper_instance_type]))
    return made


def table(config: Config, endpoints: int) -> str:
    """The lines and their sum, as Markdown."""
    made = lines(config, endpoints)
    rows = [f"| {each.what} | {each.arithmetic} | {each.dollars:,.0f} |" for each in made]
    total = sum(each.dollars for each in made)
    return "\n".join(
        ["| part | arithmetic | $ a month |", "| --- | --- | ---: |", *rows, f"| **sum** | | **{total:,.0f}** |"]
    )


def _hour(size: FargateSize) -> float:
    return size.vcpu * VCPU_HOUR + size.memory_gib * GIB_HOUR


def _hourly(what: str, count: int, price: float) -> Line:
    return Line(what, f"{count} × ${price} × {HOURS} h", count * price * HOURS)
