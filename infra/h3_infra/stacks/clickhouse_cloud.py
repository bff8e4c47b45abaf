"""Option B: a private way to ClickHouse Cloud, and the same rotation."""

from aws_cdk import CfnOutput
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from constructs import Construct

from h3_infra import ports
from h3_infra.config import Config
from h3_infra.constructs.rotation import PasswordRotation
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.security import SecurityStack


class ClickHouseCloudStack(DeploymentStack):
    """Interface endpoint, security group and private zone. The endpoint's id is registered with the service by hand."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        network: NetworkStack,
        security: SecurityStack,
    ) -> None:
        super().__init__(scope, config, "clickhouse-cloud", "the way to ClickHouse Cloud", stateful=False)
        cloud = config.clickhouse.cloud
        assert cloud is not None
        self.cluster = None
        self.writer = self.readers = cloud.host
        # its certificate is of a public authority, and its shards are its own affair
        self.authority = self.sharding = None
        groups = security.groups
        self.group = ec2.SecurityGroup(
            self,
            "EndpointGroup",
            vpc=network.vpc,
            description="ClickHouse Cloud: from the ECS tasks only",
            allow_all_outbound=False,
        )
        for port, what in ((ports.CLICKHOUSE_HTTPS, "HTTPS"), (ports.CLICKHOUSE_NATIVE_TLS, "native protocol, TLS")):
            self.group.add_ingress_rule(groups.tasks, ec2.Port.tcp(port), f"{what} from the tasks")
        self.group.add_ingress_rule(
            groups.rotation, ec2.Port.tcp(ports.CLICKHOUSE_HTTPS), "Password changes by the rotation"
        )
        self.endpoint = ec2.InterfaceVpcEndpoint(
            self,
            "Endpoint",
            vpc=network.vpc,
            service=ec2.InterfaceVpcEndpointService(cloud.endpoint_service, ports.CLICKHOUSE_HTTPS),
            subnets=network.private_subnets,
            security_groups=[self.group],
            open=False,
            private_dns_enabled=False,
        )
        zone = route53.PrivateHostedZone(
            self, "Zone", zone_name=cloud.private_zone, vpc=network.vpc, comment="ClickHouse Cloud by private endpoint"
        )
        route53.ARecord(
            self,
            "Name",
            zone=zone,
            record_name=cloud.service_name,
            target=route53.RecordTarget.from_alias(route53_targets.InterfaceVpcEndpointTarget(self.endpoint)),
        )
        self.rotation = PasswordRotation(
            self,
            "Rotation",
            config=config,
            network=network,
            security=security,
            group=groups.rotation,
            hosts=(cloud.host,),
            ca_secret=None,
        )
        CfnOutput(
            self,
            "EndpointId",
            value=self.endpoint.vpc_endpoint_id,
            description="Register it with the ClickHouse Cloud service: docs/aws.md",
        )
