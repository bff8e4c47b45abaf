"""Who may do what: the key, the security groups, the roles of tasks and servers, and ClickHouse's secrets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from aws_cdk import ArnFormat, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_secretsmanager as secretsmanager
from clickhouse.user_data import USERS
from constructs import Construct

from h3_infra import ports
from h3_infra.accepted import accept
from h3_infra.config import ClickHouseOption, Config
from h3_infra.stacks.base import DeploymentStack

PASSWORD_LENGTH = 32


@dataclass(frozen=True, slots=True)
class TaskRoles:
    """What each kind of task may do is attached where the things are that it may touch.

    Attributes:
        execution: Starts tasks: pulls images, reads secrets, opens log streams.
        web: The two web servers.
        daemon: The daemon, which starts runs.
        code: The code server, in which sensors look at the bucket and its queue.
        run: Runs, which read uploads and write all else.
    """

    execution: iam.Role
    web: iam.Role
    daemon: iam.Role
    code: iam.Role
    run: iam.Role

    @property
    def tasks(self) -> list[iam.Role]:
        """The roles of what runs inside tasks."""
        return [self.web, self.daemon, self.code, self.run]


@dataclass(frozen=True, slots=True)
class Groups:
    """Security groups; every rule names another group."""

    balancer: ec2.SecurityGroup
    tasks: ec2.SecurityGroup
    database: ec2.SecurityGroup
    rotation: ec2.SecurityGroup


class SecurityStack(DeploymentStack):
    """Key, groups, roles and secrets."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        vpc: ec2.IVpc,
    ) -> None:
        super().__init__(scope, config, "security", "key, groups, roles, secrets", stateful=True)
        self.key = self._key()
        self.groups = self._groups(vpc)
        self.roles = self._roles()
        self.clickhouse_users = {user: self._user_secret(user) for user in USERS}
        if config.clickhouse.option is ClickHouseOption.EC2:
            self.clickhouse_tls = self._tls_secret()
            self.clickhouse_cluster = self._cluster_secret()
            self.warehouse_role = self._node_role("Node", "ClickHouse servers")
            self.keeper_role = self._node_role("Keeper", "Keeper hosts")
        else:
            self.warehouse_role = self._cloud_role()

    def _key(self) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            alias=f"alias/{self.config.name}",
            description=f"Data of {self.config.name}: bucket, queues, volumes, database, secrets, logs",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if self.config.keep_data else RemovalPolicy.DESTROY,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LogGroupsOfThisDeployment",
                principals=[iam.ServicePrincipal(f"logs.{self.region}.amazonaws.com")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
                resources=["*"],  # in a key's policy: this key
                conditions={
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": self.format_arn(
                            service="logs", resource="*", arn_format=ArnFormat.NO_RESOURCE_NAME
                        )
                    }
                },
            )
        )
        for sid, service in (
            ("BucketEvents", "s3"),
            ("Alarms", "cloudwatch"),
            ("Budgets", "budgets"),
            ("Topic", "events"),
        ):
            key.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                    actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                    resources=["*"],  # in a key's policy: this key
                    conditions={"StringEquals": {"aws:SourceAccount": self.account}},
                )
            )
        return key

    def _groups(self, vpc: ec2.IVpc) -> Groups:
        def group(name: str, description: str) -> ec2.SecurityGroup:
            return ec2.SecurityGroup(
                self, f"{name}Group", vpc=vpc, description=description, allow_all_outbound=name != "Database"
            )

        groups = Groups(
            balancer=group("Balancer", "Load balancer: HTTP and HTTPS from the internet"),
            tasks=group("Task", "ECS tasks"),
            database=group("Database", "PostgreSQL: from the tasks only"),
            rotation=group("Rotation", "The function that changes passwords"),
        )
        for port in (80, 443):
            groups.balancer.add_ingress_rule(
                ec2.Peer.any_ipv4() if self.config.web.internet_facing else ec2.Peer.ipv4(self.config.network.cidr),
                ec2.Port.tcp(port),
                "Users",
            )
        accept(
            groups.balancer,
            "people come from anywhere; the firewall and the sign-in stand before every page, and 80 only redirects",
            nag=["EC23"],
            checkov=["CKV_AWS_260"],
        )
        groups.tasks.add_ingress_rule(groups.balancer, ec2.Port.tcp(ports.WEB), "Dagster UI from the load balancer")
        groups.tasks.add_ingress_rule(groups.tasks, ec2.Port.tcp(ports.CODE_SERVER), "Code server from UI and daemon")
        groups.database.add_ingress_rule(groups.tasks, ec2.Port.tcp(ports.POSTGRES), "PostgreSQL from the tasks")
        for name in ("balancer", "tasks", "rotation"):
            accept(
                getattr(groups, name),
                "outbound is open: identity providers, AWS endpoints and ClickHouse have no fixed addresses",
                checkov=["CKV_AWS_382"],
            )
        return groups

    def _roles(self) -> TaskRoles:
        ecs = iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": self.account}}
        )

        def role(name: str, description: str) -> iam.Role:
            return iam.Role(
                self,
                f"{name}Role",
                role_name=f"{self.config.name}-{name.lower()}",
                assumed_by=ecs,
                description=description,
            )

        return TaskRoles(
            execution=role("Execution", "Starts tasks: images, secrets, log streams"),
            web=role("Web", "Dagster's web servers"),
            daemon=role("Daemon", "Dagster's daemon: starts and stops runs"),
            code=role("Code", "Dagster's code server: sensors and schedules"),
            run=role("Run", "Runs of the pipeline"),
        )

    def _node_role(self, name: str, description: str) -> iam.Role:
        return iam.Role(
            self,
            f"{name}Role",
            role_name=f"{self.config.name}-clickhouse-{name.lower()}",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description=description,
        )

    def _cloud_role(self) -> iam.Role:
        cloud = self.config.clickhouse.cloud
        assert cloud is not None
        return iam.Role(
            self,
            "CloudRole",
            role_name=f"{self.config.name}-clickhouse-cloud",
            assumed_by=iam.ArnPrincipal(cloud.service_role_arn),
            description="ClickHouse Cloud, for the bucket",
        )

    def _user_secret(self, user: str) -> secretsmanager.Secret:
        return self._secret(
            user,
            f"ClickHouse user {user}; rotated {self.config.clickhouse.rotation}",
            "its rotation schedule is in the ClickHouse stack, with the function that needs the servers",
            template={"username": user},
        )

    def _tls_secret(self) -> secretsmanager.Secret:
        return self._secret(
            "tls",
            "JSON with certificate, private_key and ca, PEM, which an operator puts there",
            "a certificate is renewed by whoever issued it, not by a password change",
            key="placeholder",
        )

    def _cluster_secret(self) -> secretsmanager.Secret:
        return self._secret(
            "cluster",
            "What the servers know one another by",
            "all servers must change it at the same instant: by hand, as docs/aws.md says",
        )

    def _secret(
        self,
        name: str,
        description: str,
        why_not_rotated_here: str,
        *,
        template: Mapping[str, str] | None = None,
        key: str = "password",
    ) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            f"ClickHouse{name.capitalize()}",
            secret_name=f"{self.config.name}/clickhouse/{name}",
            description=description,
            encryption_key=self.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps(template or {}),
                generate_string_key=key,
                password_length=PASSWORD_LENGTH,
                exclude_punctuation=True,
            ),
            removal_policy=RemovalPolicy.RETAIN if self.config.keep_data else RemovalPolicy.DESTROY,
        )
        accept(secret, why_not_rotated_here, nag=["SMG4"])
        return secret
