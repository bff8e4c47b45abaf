"""Option A: the ClickHouse cluster on EC2, its Keepers, the names that tasks connect to, and the rotation."""

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_elasticloadbalancingv2_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from aws_cdk import aws_s3_assets as assets
from clickhouse.user_data import FILES, ClusterSettings, NodeSettings, render
from constructs import Construct

from h3_infra import hosts, ports
from h3_infra.accepted import accept
from h3_infra.config import ClickHouseServers, Config
from h3_infra.constructs.clickhouse_node import ClickHouseNode
from h3_infra.constructs.rotation import PasswordRotation
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.security import SecurityStack
from h3_infra.stacks.storage import CLICKHOUSE_LOG_GROUP, StorageStack

CLUSTER = "h3_pipeline"
KEEPER_VOLUME = (10, 3000, 125)
GIB_PER_TIB = 1024


class ClickHouseStack(DeploymentStack):
    """Shards × replicas servers, spread over the zones, and three Keepers."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        network: NetworkStack,
        security: SecurityStack,
        storage: StorageStack,
    ) -> None:
        super().__init__(scope, config, "clickhouse", "ClickHouse on EC2", stateful=True)
        assert config.clickhouse.servers is not None
        self.servers_config = config.clickhouse.servers
        self.network, self.security, self.storage = network, security, storage
        self.cluster = CLUSTER
        self.writer = f"{hosts.WRITER}.{hosts.zone(config)}"
        self.readers = f"{hosts.READERS}.{hosts.zone(config)}"
        self.authority = self.servers_config.authority
        self.sharding = self.servers_config.sharding if self.servers_config.shards > 1 else None
        self._groups()
        self.files = assets.Asset(self, "NodeFiles", path=str(FILES), exclude=["**/__pycache__"])
        self.settings = self._cluster_settings(self.servers_config)
        self.servers = self._servers()
        self.keepers = self._keepers()
        self._name_writer()
        self.balancer = self._balancer()
        self.rotation = PasswordRotation(
            self,
            "Rotation",
            config=config,
            network=network,
            security=security,
            group=security.groups.rotation,
            hosts=self.settings.servers,
            ca_secret=security.clickhouse_tls,
        )

    def _groups(self) -> None:
        vpc = self.network.vpc

        def group(name: str, description: str) -> ec2.SecurityGroup:
            group = ec2.SecurityGroup(self, f"{name}Group", vpc=vpc, description=description, allow_all_outbound=True)
            accept(
                group,
                "outbound is open: packages, AWS endpoints and S3 have no fixed addresses",
                checkov=["CKV_AWS_382"],
            )
            return group

        groups = self.security.groups
        self.server_group = group("Server", "ClickHouse servers: from the ECS tasks and one another only")
        self.keeper_group = group("KeeperHost", "Keepers: from the ClickHouse servers and one another only")
        self.balancer_group = group("ServerBalancer", "Load balancer of ClickHouse: from the ECS tasks only")
        client_ports = {ports.CLICKHOUSE_HTTPS: "HTTPS", ports.CLICKHOUSE_NATIVE_TLS: "native protocol, TLS"}
        for port, what in client_ports.items():
            self.balancer_group.add_ingress_rule(groups.tasks, ec2.Port.tcp(port), f"{what} from the tasks")
            self.server_group.add_ingress_rule(
                self.balancer_group, ec2.Port.tcp(port), f"{what} from the load balancer of the tasks"
            )
            self.server_group.add_ingress_rule(groups.tasks, ec2.Port.tcp(port), f"{what} from the tasks")
            self.server_group.add_ingress_rule(self.server_group, ec2.Port.tcp(port), f"{what} between servers")
        self.server_group.add_ingress_rule(
            groups.rotation, ec2.Port.tcp(ports.CLICKHOUSE_HTTPS), "Password changes by the rotation"
        )
        self.server_group.add_ingress_rule(
            self.server_group, ec2.Port.tcp(ports.CLICKHOUSE_INTERSERVER), "Replication between servers"
        )
        keeper = self.server_group if self.servers_config.keepers_on_servers else self.keeper_group
        keeper.add_ingress_rule(self.server_group, ec2.Port.tcp(ports.KEEPER_CLIENT), "Keeper from the servers")
        for port in {ports.KEEPER_CLIENT, ports.KEEPER_RAFT}:
            if keeper is not self.server_group or port != ports.KEEPER_CLIENT:
                keeper.add_ingress_rule(keeper, ec2.Port.tcp(port), "Between Keepers")

    def _cluster_settings(self, servers: ClickHouseServers) -> ClusterSettings:
        return ClusterSettings(
            shards=hosts.shards(self.config, servers),
            keepers=hosts.keepers(self.config, servers),
            region=self.region,
            bucket=self.config.storage.bucket_name,
            files_url=self.files.s3_object_url,
            packages_url=servers.packages_url,
            tls_secret_arn=self.security.clickhouse_tls.secret_arn,
            cluster_secret_arn=self.security.clickhouse_cluster.secret_arn,
            user_secret_arns={user: secret.secret_arn for user, secret in self.security.clickhouse_users.items()},
            database=self.config.clickhouse.database,
            cluster=CLUSTER,
            log_group=CLICKHOUSE_LOG_GROUP,
        )

    def _servers(self) -> list[ClickHouseNode]:
        servers = self.servers_config
        volume = (servers.volume_tib * GIB_PER_TIB, servers.volume_iops, servers.volume_throughput)
        profile = iam.InstanceProfile(self, "ServerProfile", role=self.security.warehouse_role)
        nodes = self._nodes(
            "server",
            self.settings.servers,
            servers.instance_type,
            volume,
            self.server_group,
            profile,
        )
        secrets = [
            *self.security.clickhouse_users.values(),
            self.security.clickhouse_tls,
            self.security.clickhouse_cluster,
        ]
        self._allow("Server", self.security.warehouse_role, nodes, [secret.secret_arn for secret in secrets])
        return nodes

    def _keepers(self) -> list[ClickHouseNode]:
        if self.servers_config.keepers_on_servers:
            return []
        profile = iam.InstanceProfile(self, "KeeperProfile", role=self.security.keeper_role)
        nodes = self._nodes(
            "keeper",
            self.settings.keepers,
            self.servers_config.keeper_instance_type,
            KEEPER_VOLUME,
            self.keeper_group,
            profile,
        )
        secrets = [self.security.clickhouse_tls, self.security.clickhouse_cluster]
        self._allow("KeeperHost", self.security.keeper_role, nodes, [secret.secret_arn for secret in secrets])
        return nodes

    def _nodes(
        self,
        role_name: str,
        names: tuple[str, ...],
        instance_type: str,
        volume: tuple[int, int, int],
        group: ec2.ISecurityGroup,
        profile: iam.IInstanceProfile,
    ) -> list[ClickHouseNode]:
        subnets = self.network.vpc.select_subnets(subnet_group_name="Private").subnets
        nodes = []
        for number, host in enumerate(names):
            name = host.split(".")[0]

            def user_data(volume_id: str, host: str = host) -> str:
                return render(NodeSettings(cluster=self.settings, name=host, volume_id=volume_id, attach_volume=True))

            nodes.append(
                ClickHouseNode(
                    self,
                    "".join(part.capitalize() for part in name.split("-")),
                    name=name,
                    role_name=role_name,
                    zone=self.network.zone,
                    subnet=subnets[number % len(subnets)],
                    group=group,
                    instance_profile=profile,
                    ami_id=self.servers_config.ami_id,
                    instance_type=instance_type,
                    volume=volume,
                    key=self.security.key,
                    user_data=user_data,
                    keep_data=self.config.keep_data,
                    cluster=CLUSTER,
                )
            )
        return nodes

    def _allow(self, name: str, role: iam.IRole, nodes: list[ClickHouseNode], secret_arns: list[str]) -> None:
        arn = f"arn:{self.partition}"
        policy = iam.Policy(
            self,
            f"{name}Policy",
            roles=[role],
            statements=[
                iam.PolicyStatement(sid="Secrets", actions=["secretsmanager:GetSecretValue"], resources=secret_arns),
                iam.PolicyStatement(
                    sid="NodeFiles",
                    actions=["s3:GetObject"],
                    resources=[self.files.bucket.arn_for_objects(self.files.s3_object_key)],
                ),
                iam.PolicyStatement(
                    sid="Key",
                    actions=["kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:CreateGrant"],
                    resources=[self.security.key.key_arn],
                ),
                iam.PolicyStatement(
                    sid="ItsVolumes",
                    actions=["ec2:AttachVolume"],
                    resources=[f"{arn}:ec2:{self.region}:{self.account}:volume/{node.volume.ref}" for node in nodes],
                ),
                iam.PolicyStatement(
                    sid="ToItself",
                    actions=["ec2:AttachVolume"],
                    resources=[f"{arn}:ec2:{self.region}:{self.account}:instance/*"],
                    conditions={"StringEquals": {"aws:ResourceTag/h3:cluster": CLUSTER}},
                ),
                iam.PolicyStatement(
                    sid="Logs",
                    actions=["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    resources=[self.storage.clickhouse_logs.log_group_arn],
                ),
                iam.PolicyStatement(
                    sid="Metrics",
                    actions=["cloudwatch:PutMetricData"],
                    resources=["*"],
                    conditions={"StringEquals": {"cloudwatch:namespace": self.settings.metrics_namespace}},
                ),
                iam.PolicyStatement(
                    sid="DescribeAndSessions",
                    actions=[
                        "ec2:DescribeVolumes",
                        "ssm:UpdateInstanceInformation",
                        "ssmmessages:CreateControlChannel",
                        "ssmmessages:CreateDataChannel",
                        "ssmmessages:OpenControlChannel",
                        "ssmmessages:OpenDataChannel",
                    ],
                    resources=["*"],
                ),
            ],
        )
        accept(
            policy,
            "these actions know no resource (metrics are bound to one namespace); volumes attach only to instances of "
            "this cluster, by tag; streams are below one log group",
            nag=[
                "IAM5[Resource::*]",
                f"IAM5[Resource::arn:<AWS::Partition>:ec2:{self.region}:{self.account}:instance/*]",
            ],
            checkov=["CKV_AWS_111", "CKV_AWS_107"],
        )

    def _name_writer(self) -> None:
        """A name of its own, so that a failover changes one record and no task."""
        route53.ARecord(
            self,
            "WriterName",
            zone=self.network.zone,
            record_name=hosts.WRITER,
            ttl=Duration.minutes(1),
            target=route53.RecordTarget.from_ip_addresses(self.servers[self.servers_config.writer - 1].address),
        )

    def _balancer(self) -> elb.NetworkLoadBalancer:
        balancer = elb.NetworkLoadBalancer(
            self,
            "Balancer",
            load_balancer_name=f"{self.config.name}-clickhouse",
            vpc=self.network.vpc,
            vpc_subnets=self.network.private_subnets,
            internet_facing=False,
            cross_zone_enabled=True,
            deletion_protection=self.config.keep_data,
            security_groups=[self.balancer_group],
        )
        balancer.log_access_logs(self.storage.access_logs, "clickhouse")
        for name, port in (("Https", ports.CLICKHOUSE_HTTPS), ("Native", ports.CLICKHOUSE_NATIVE_TLS)):
            listener = balancer.add_listener(name, port=port, protocol=elb.Protocol.TCP)
            group = listener.add_targets(
                f"{name}Servers",
                port=port,
                protocol=elb.Protocol.TCP,
                # a task stays with one server as long as that is well: it reads what it wrote
                targets=[targets.IpTarget(node.address, port) for node in self.servers],
                deregistration_delay=Duration.seconds(60),
                health_check=elb.HealthCheck(
                    protocol=elb.Protocol.HTTPS,
                    port=str(ports.CLICKHOUSE_HTTPS),
                    path="/ping",
                    interval=Duration.seconds(10),
                    timeout=Duration.seconds(6),
                    healthy_threshold_count=2,
                    unhealthy_threshold_count=2,
                ),
            )
            group.set_attribute("stickiness.enabled", "true")
            group.set_attribute("stickiness.type", "source_ip")
            accept(
                listener,
                "TLS goes through to the servers, whose certificate the tasks check",
                checkov=["CKV_AWS_2", "CKV_AWS_103"],
            )
        route53.ARecord(
            self,
            "BalancerName",
            zone=self.network.zone,
            record_name=hosts.READERS,
            target=route53.RecordTarget.from_alias(route53_targets.LoadBalancerTarget(balancer)),
        )
        return balancer
