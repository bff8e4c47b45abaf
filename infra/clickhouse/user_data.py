"""User data of one node: everything that an empty instance needs to become a member of the cluster.

What is the same on every node, the folder `FILES`, is fetched from S3 as a zip. What differs from node to node, or is
known only at deployment, is in the user data as plain text: shell assignments and two XML files of host names. So every
value may be a CloudFormation token, and the whole stays far below EC2's limit of 16 KiB.

Only the standard library and Jinja2 are used, and nothing is read but the files beside this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

_HERE = Path(__file__).resolve().parent

FILES = _HERE / "files"
"""What nodes fetch: to be zipped as it is, without ``__pycache__``."""

CLICKHOUSE_VERSION = "26.8.15.10"
"""The long-term release that nodes install unless told otherwise."""

LIMIT_BYTES = 16_384
"""What EC2 accepts as user data, before its Base64."""

USERS = ("loader", "reader", "backup", "rotator")
"""SQL-managed users, each with a secret ``{"username": …, "password": …}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What all nodes of a cluster share.

    Attributes:
        shards: Host names of the servers: a tuple of replicas for each shard.
        keepers: Host names of the Keepers, an odd number; servers' names put Keeper on those servers.
        region: AWS region.
        bucket: Name of the trips bucket.
        files_url: ``s3://`` URL of the zip of `FILES`; its key changes with its content.
        tls_secret_arn: Secret ``{"certificate": PEM, "private_key": PEM, "ca": PEM}``.
        cluster_secret_arn: Secret ``{"password": …}`` that servers know one another by.
        user_secret_arns: A secret for each of `USERS`.
        database: The pipeline's database.
        cluster: The cluster's name in ``remote_servers``.
        clickhouse_version: Exact version of the packages.
        log_group: CloudWatch log group of the servers' logs.
        metrics_namespace: CloudWatch namespace of the servers' metrics.
        packages_url: ``s3://`` prefix of ClickHouse's RPMs; empty takes them from ClickHouse's own repository.
    """

    shards: tuple[tuple[str, ...], ...]
    keepers: tuple[str, ...]
    region: str
    bucket: str
    files_url: str
    tls_secret_arn: str
    cluster_secret_arn: str
    user_secret_arns: Mapping[str, str]
    database: str = "h3_pipeline"
    cluster: str = "h3_pipeline"
    clickhouse_version: str = CLICKHOUSE_VERSION
    log_group: str = "/clickhouse/server"
    metrics_namespace: str = "H3Pipeline/ClickHouse"
    packages_url: str = ""

    def __post_init__(self) -> None:
        if not self.shards or not all(self.shards):
            raise ValueError("a cluster has at least one shard, and every shard a server")
        if len(self.keepers) % 2 == 0:
            raise ValueError(f"a quorum needs an odd number of Keepers, not {len(self.keepers)}")
        for what, names in (("servers", self.servers), ("Keepers", self.keepers)):
            if len(set(names)) != len(names):
                raise ValueError(f"two {what} have the same name: {names}")
        if set(self.user_secret_arns) != set(USERS):
            raise ValueError(f"user_secret_arns must name exactly {', '.join(USERS)}")

    @property
    def servers(self) -> tuple[str, ...]:
        """Host names of all servers, shard by shard."""
        return tuple(name for shard in self.shards for name in shard)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node.

    Attributes:
        cluster: What it shares with the others.
        name: Its host name: one of the cluster's servers or Keepers.
        volume_id: EBS volume of its data, ``vol-…``.
        attach_volume: Attach the volume to this instance at boot. Without it, something else does.
    """

    cluster: ClusterSettings
    name: str
    volume_id: str
    attach_volume: bool = False

    def __post_init__(self) -> None:
        if self.name not in (*self.cluster.servers, *self.cluster.keepers):
            raise ValueError(f"{self.name} is neither a server nor a Keeper of the cluster")

    @property
    def role(self) -> str:
        """``server``, ``keeper``, or ``both``."""
        if self.name not in self.cluster.keepers:
            return "server"
        return "both" if self.name in self.cluster.servers else "keeper"

    @property
    def shard(self) -> int:
        """Number of its shard, from 1; 0 on a Keeper's own host."""
        return next((n for n, shard in enumerate(self.cluster.shards, start=1) if self.name in shard), 0)

    @property
    def keeper_id(self) -> int:
        """Its number among the Keepers, from 1; 0 on a node without."""
        return self.cluster.keepers.index(self.name) + 1 if self.name in self.cluster.keepers else 0


def render(node: NodeSettings) -> str:
    """The node's user data, a shell script for cloud-init."""
    return _template("user-data.sh.j2").render(
        environment=environment(node),
        cluster_xml=cluster_xml(node.cluster),
        keeper_xml=keeper_xml(node),
        files_url=node.cluster.files_url,
    )


def environment(node: NodeSettings) -> dict[str, str]:
    """The variables of ``/etc/h3-clickhouse/node.env``: what the node's scripts and ``from_env`` read."""
    cluster = node.cluster
    host = f"{cluster.bucket}.s3.{cluster.region}.amazonaws.com"
    return {
        "AWS_REGION": cluster.region,
        "H3_NODE": node.name,
        "H3_ROLE": node.role,
        "H3_SHARD": str(node.shard),
        "H3_KEEPER_ID": str(node.keeper_id),
        "H3_CLUSTER": cluster.cluster,
        "H3_DATABASE": cluster.database,
        "H3_BUCKET_HOST": host,
        "H3_BUCKET_URL": f"https://{host}/",
        "H3_CLICKHOUSE_VERSION": cluster.clickhouse_version,
        "H3_PACKAGES": cluster.packages_url,
        "H3_VOLUME_ID": node.volume_id,
        "H3_ATTACH_VOLUME": str(int(node.attach_volume)),
        "H3_TLS_SECRET": cluster.tls_secret_arn,
        "H3_CLUSTER_SECRET": cluster.cluster_secret_arn,
        **{f"H3_{user.upper()}_SECRET": cluster.user_secret_arns[user] for user in USERS},
        "H3_LOG_GROUP": cluster.log_group,
        "H3_METRICS_NAMESPACE": cluster.metrics_namespace,
    }


def cluster_xml(cluster: ClusterSettings) -> str:
    """Who the servers and the Keepers are, for every server."""
    return _template("cluster.xml.j2").render(cluster=cluster)


def keeper_xml(node: NodeSettings) -> str:
    """The Keepers' configuration; empty on a node without Keeper."""
    return _template("keeper.xml.j2").render(cluster=node.cluster) if node.keeper_id else ""


def _template(name: str) -> Template:
    # the outcome is a script and XML of host names, not a page
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(_HERE), undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name)
