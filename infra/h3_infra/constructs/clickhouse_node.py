"""One server or Keeper: an address and a disk that stay, and an instance that may be replaced at any time."""

from collections.abc import Callable

from aws_cdk import CfnTag, Duration, Fn, RemovalPolicy, Stack, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_route53 as route53
from constructs import Construct

from h3_infra.accepted import accept

ROOT_VOLUME_GIB = 30


class ClickHouseNode(Construct):
    """A group of exactly one instance, with a fixed network interface, a data volume and a name in the private zone.

    The instance attaches the volume itself; one that fails is replaced by the group, in the same zone, and finds
    address and data where its predecessor left them. A changed launch template leaves running instances alone.

    Args:
        name: Host name, below the zone's.
        role_name: `server` or `keeper`.
        zone: Private zone that gets the name.
        subnet: Where it lives, and so its availability zone.
        group: Security group.
        instance_profile: What the instance may do.
        ami_id: Image.
        instance_type: Size.
        volume: Properties of the data volume: size in GiB, IOPS and MiB/s.
        key: Key of the data volume.
        user_data: Gives the user data for the volume's id.
        keep_data: Whether the volume outlives the stack.
        cluster: The cluster's name, for the tags that `replace_nodes.py` looks for.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        role_name: str,
        zone: route53.IPrivateHostedZone,
        subnet: ec2.ISubnet,
        group: ec2.ISecurityGroup,
        instance_profile: iam.IInstanceProfile,
        ami_id: str,
        instance_type: str,
        volume: tuple[int, int, int],
        key: kms.IKey,
        user_data: Callable[[str], str],
        keep_data: bool,
        cluster: str,
    ) -> None:
        super().__init__(scope, construct_id)
        host = f"{name}.{zone.zone_name}"
        size, iops, throughput = volume
        self.volume = ec2.CfnVolume(
            self,
            "Data",
            availability_zone=subnet.availability_zone,
            volume_type="gp3",
            size=size,
            iops=iops,
            throughput=throughput,
            encrypted=True,
            kms_key_id=key.key_arn,
            tags=[CfnTag(key="Name", value=f"{host} data")],
        )
        self.volume.apply_removal_policy(RemovalPolicy.RETAIN if keep_data else RemovalPolicy.DESTROY)
        self.interface = ec2.CfnNetworkInterface(
            self,
            "Interface",
            subnet_id=subnet.subnet_id,
            group_set=[group.security_group_id],
            description=host,
            tags=[CfnTag(key="Name", value=host)],
        )
        self.address = self.interface.attr_primary_private_ip_address
        route53.ARecord(
            self,
            "Name",
            zone=zone,
            record_name=name,
            ttl=Duration.minutes(1),
            target=route53.RecordTarget.from_ip_addresses(self.address),
        )
        self.template = ec2.CfnLaunchTemplate(
            self,
            "Template",
            launch_template_name=f"{Stack.of(self).stack_name}-{name}",
            launch_template_data=ec2.CfnLaunchTemplate.LaunchTemplateDataProperty(
                image_id=ami_id,
                instance_type=instance_type,
                ebs_optimized=True,
                iam_instance_profile=ec2.CfnLaunchTemplate.IamInstanceProfileProperty(
                    arn=instance_profile.instance_profile_arn
                ),
                # an interface of its own, without a public address: nothing assigns one to an existing interface
                network_interfaces=[
                    ec2.CfnLaunchTemplate.NetworkInterfaceProperty(
                        device_index=0, network_interface_id=self.interface.ref, delete_on_termination=False
                    )
                ],
                block_device_mappings=[
                    ec2.CfnLaunchTemplate.BlockDeviceMappingProperty(
                        device_name="/dev/xvda",
                        ebs=ec2.CfnLaunchTemplate.EbsProperty(
                            volume_size=ROOT_VOLUME_GIB, volume_type="gp3", encrypted=True, delete_on_termination=True
                        ),
                    )
                ],
                metadata_options=ec2.CfnLaunchTemplate.MetadataOptionsProperty(
                    http_tokens="required", http_put_response_hop_limit=1, http_endpoint="enabled"
                ),
                monitoring=ec2.CfnLaunchTemplate.MonitoringProperty(enabled=True),
                user_data=Fn.base64(user_data(self.volume.ref)),
                tag_specifications=[
                    ec2.CfnLaunchTemplate.TagSpecificationProperty(
                        resource_type="volume", tags=[CfnTag(key="Name", value=f"{host} root")]
                    )
                ],
            ),
        )
        self.group = autoscaling.CfnAutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=f"{Stack.of(self).stack_name}-{name}",
            min_size="1",
            max_size="1",
            desired_capacity="1",
            availability_zones=[subnet.availability_zone],
            launch_template=autoscaling.CfnAutoScalingGroup.LaunchTemplateSpecificationProperty(
                launch_template_id=self.template.ref, version=self.template.attr_latest_version_number
            ),
            health_check_type="EC2",
            health_check_grace_period=600,
            metrics_collection=[autoscaling.CfnAutoScalingGroup.MetricsCollectionProperty(granularity="1Minute")],
        )
        for tag, value in {"Name": host, "h3:cluster": cluster, "h3:node": host, "h3:role": role_name}.items():
            Tags.of(self.group).add(tag, value, apply_to_launched_instances=True)
        accept(
            self.group,
            "a group of one: an alarm tells when the node is away; the interface decides the subnet",
            nag=["AS3"],
            checkov=["CKV_AWS_153"],
        )
