"""The function that changes ClickHouse's passwords, and when it runs."""

from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from h3_infra import ports
from h3_infra.accepted import accept
from h3_infra.config import Config
from h3_infra.retention import retention
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.security import SecurityStack

SOURCE = Path(__file__).parents[2] / "rotation"

HOURS = {"loader": 2, "reader": 3, "backup": 4, "rotator": 5}
"""Hour (UTC) of each user's rotation: never two at once."""


class PasswordRotation(Construct):
    """One function and one schedule a user.

    Args:
        config: The deployment.
        network: Where it runs.
        security: The users' secrets, and the key.
        group: Its security group.
        hosts: Servers whose users it changes.
        ca_secret: Secret with the servers' certificate authority; None trusts the system's.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        network: NetworkStack,
        security: SecurityStack,
        group: ec2.ISecurityGroup,
        hosts: tuple[str, ...],
        ca_secret: secretsmanager.ISecret | None,
    ) -> None:
        super().__init__(scope, construct_id)
        users = security.clickhouse_users
        name = f"{config.name}-clickhouse-rotation"
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/lambda/{name}",
            encryption_key=security.key,
            retention=retention(config.log_days),
            removal_policy=RemovalPolicy.RETAIN if config.keep_data else RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="Changes ClickHouse's passwords",
        )
        policy = self._policy(role, security, log_group, ca_secret)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=name,
            description="Secrets Manager's four steps for a ClickHouse user",
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler="handler.handler",
            code=lambda_.Code.from_asset(str(SOURCE), exclude=["__pycache__", "*.md", "tests"]),
            role=role.without_policy_updates(),
            timeout=Duration.seconds(60),
            memory_size=256,
            vpc=network.vpc,
            vpc_subnets=network.private_subnets,
            security_groups=[group],
            log_group=log_group,
            environment={
                "CLICKHOUSE_HOSTS": ",".join(f"{host}:{ports.CLICKHOUSE_HTTPS}" for host in hosts),
                "ROTATOR_SECRET_ARN": users["rotator"].secret_arn,
                **({"CLICKHOUSE_CA_SECRET_ARN": ca_secret.secret_arn} if ca_secret else {}),
            },
            environment_encryption=security.key,
        )
        self.function.node.add_dependency(policy)
        accept(
            self.function,
            "called by Secrets Manager, which tries again by itself: no dead letters, no reserved share, no signing",
            checkov=["CKV_AWS_116", "CKV_AWS_115", "CKV_AWS_272"],
        )
        stack = Stack.of(self)
        permission = lambda_.CfnPermission(
            self,
            "SecretsManager",
            action="lambda:InvokeFunction",
            function_name=self.function.function_arn,
            principal="secretsmanager.amazonaws.com",
            source_account=stack.account,
        )
        for user, secret in users.items():
            schedule = secretsmanager.CfnRotationSchedule(
                self,
                f"{user.capitalize()}Schedule",
                secret_id=secret.secret_arn,
                rotation_lambda_arn=self.function.function_arn,
                rotate_immediately_on_update=False,
                rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                    schedule_expression=config.clickhouse.rotation.at(HOURS[user]), duration="1h"
                ),
            )
            schedule.add_resource_dependency(permission)

    def _policy(
        self,
        role: iam.IRole,
        security: SecurityStack,
        log_group: logs.ILogGroup,
        ca_secret: secretsmanager.ISecret | None,
    ) -> iam.Policy:
        statements = [
            iam.PolicyStatement(
                sid="UsersSecrets",
                actions=[
                    "secretsmanager:DescribeSecret",
                    "secretsmanager:GetSecretValue",
                    "secretsmanager:PutSecretValue",
                    "secretsmanager:UpdateSecretVersionStage",
                ],
                resources=[secret.secret_arn for secret in security.clickhouse_users.values()],
            ),
            iam.PolicyStatement(
                sid="Key", actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[security.key.key_arn]
            ),
            iam.PolicyStatement(
                sid="Logs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[log_group.log_group_arn],
            ),
            iam.PolicyStatement(
                sid="InterfacesAndRandom",
                actions=[
                    "secretsmanager:GetRandomPassword",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:UnassignPrivateIpAddresses",
                ],
                resources=["*"],
            ),
        ]
        if ca_secret:
            statements.append(
                iam.PolicyStatement(
                    sid="Authority", actions=["secretsmanager:GetSecretValue"], resources=[ca_secret.secret_arn]
                )
            )
        policy = iam.Policy(self, "Policy", roles=[role], statements=statements)
        accept(
            policy,
            "what Lambda needs to sit in a VPC, and random passwords, know no resource",
            nag=["IAM5[Resource::*]"],
            checkov=["CKV_AWS_111", "CKV_AWS_107"],
        )
        return policy
