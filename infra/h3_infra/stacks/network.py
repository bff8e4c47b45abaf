"""The VPC: public subnets for the load balancer, private ones for tasks and servers, closed ones for PostgreSQL."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_route53 as route53
from constructs import Construct

from h3_infra import hosts
from h3_infra.accepted import accept
from h3_infra.config import Config
from h3_infra.retention import retention
from h3_infra.stacks.base import DeploymentStack

ENDPOINTS = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrImages": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Monitoring": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Kms": ec2.InterfaceVpcEndpointAwsService.KMS,
    "Ecs": ec2.InterfaceVpcEndpointAwsService.ECS,
    "Ec2": ec2.InterfaceVpcEndpointAwsService.EC2,
    "Queues": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Topics": ec2.InterfaceVpcEndpointAwsService.SNS,
    "Traces": ec2.InterfaceVpcEndpointAwsService.XRAY,
    "Sessions": ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES,
    "InstanceMessages": ec2.InterfaceVpcEndpointAwsService.EC2_MESSAGES,
    "Ssm": ec2.InterfaceVpcEndpointAwsService.SSM,
}
"""The AWS services that tasks, servers and the rotation speak to, besides S3."""


class NetworkStack(DeploymentStack):
    """VPC, subnets, endpoints, flow log and the private zone."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
    ) -> None:
        super().__init__(scope, config, "network", "VPC and endpoints", stateful=False)
        network = config.network
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if network.nat_gateways else ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=config.name,
            ip_addresses=ec2.IpAddresses.cidr(network.cidr),
            availability_zones=config.zones,
            nat_gateways=network.nat_gateways,
            # emptying the default group takes a custom resource; instead nothing uses it
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24, map_public_ip_on_launch=False
                ),
                ec2.SubnetConfiguration(name="Private", subnet_type=private, cidr_mask=22),
                ec2.SubnetConfiguration(name="Database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
            ],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        self.private_subnets = ec2.SubnetSelection(subnet_group_name="Private")
        self.database_subnets = ec2.SubnetSelection(subnet_group_name="Database")
        self._flow_log(config)
        self._endpoints(config)
        self.zone = route53.PrivateHostedZone(
            self, "Zone", zone_name=hosts.zone(config), vpc=self.vpc, comment="ClickHouse and Keeper nodes"
        )

    def _flow_log(self, config: Config) -> None:
        group = logs.LogGroup(
            self,
            "FlowLogGroup",
            log_group_name=f"/vpc/{config.name}",
            retention=retention(config.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept(group, "addresses and ports, no content: CloudWatch's own encryption is enough", checkov=["CKV_AWS_158"])
        role = iam.Role(self, "FlowLogRole", assumed_by=iam.ServicePrincipal("vpc-flow-logs.amazonaws.com"))
        self.vpc.add_flow_log(
            "FlowLog",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group, role),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    def _endpoints(self, config: Config) -> None:
        self.endpoint_group = ec2.SecurityGroup(
            self,
            "EndpointGroup",
            vpc=self.vpc,
            description="Interface endpoints: HTTPS from the VPC",
            allow_all_outbound=False,
        )
        self.endpoint_group.add_ingress_rule(
            ec2.Peer.ipv4(config.network.cidr), ec2.Port.tcp(443), "AWS APIs from inside the VPC"
        )
        subnets = ec2.SubnetSelection(
            subnet_group_name="Private", availability_zones=config.zones[: config.network.endpoint_zones]
        )
        for name, service in ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                f"{name}Endpoint",
                service=service,
                subnets=subnets,
                security_groups=[self.endpoint_group],
                open=False,
                private_dns_enabled=True,
            )
