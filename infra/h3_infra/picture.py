"""The architecture as a Mermaid picture, drawn from the synthesized templates: stacks, and who needs whom."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

SHOWN = {
    "AWS::ECR::Repository": "image repositories",
    "AWS::EC2::VPC": "VPC",
    "AWS::EC2::VPCEndpoint": "endpoints",
    "AWS::EC2::NatGateway": "NAT gateways",
    "AWS::KMS::Key": "key",
    "AWS::IAM::Role": "roles",
    "AWS::SecretsManager::Secret": "secrets",
    "AWS::SecretsManager::RotationSchedule": "rotation schedules",
    "AWS::S3::Bucket": "buckets",
    "AWS::SQS::Queue": "queues",
    "AWS::SNS::Topic": "topic",
    "AWS::RDS::DBInstance": "PostgreSQL",
    "AWS::AutoScaling::AutoScalingGroup": "nodes",
    "AWS::EC2::Volume": "data volumes",
    "AWS::Lambda::Function": "rotation function",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "load balancer",
    "AWS::ECS::Service": "services",
    "AWS::ECS::TaskDefinition": "task definitions",
    "AWS::WAFv2::WebACL": "firewall",
    "AWS::CloudWatch::Alarm": "alarms",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::Budgets::Budget": "budget",
}
"""Types that a reader asks for, in words."""


def mermaid(templates: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """A flow chart.

    Args:
        templates: Templates by stack, without the deployment's name.
        name: The deployment's name, with which exports begin.
    """
    lines = ["flowchart LR"]
    for stack, template in templates.items():
        counted = Counter(resource["Type"] for resource in template["Resources"].values())
        shown = [f"{counted[kind]} {words}" for kind, words in SHOWN.items() if counted[kind]]
        lines.append(f'    {_id(stack)}["<b>{stack}</b><br>{"<br>".join(shown)}"]')
    for stack, template in templates.items():
        needed = set(re.findall(rf'"Fn::ImportValue": "{name}-([a-z-]+):', json.dumps(template)))
        lines += [f"    {_id(stack)} --> {_id(other)}" for other in templates if other in needed]
    return "\n".join(lines)


def _id(stack: str) -> str:
    return stack.replace("-", "_")
