"""What production needs and the requirements' table leaves out, on the templates of every configuration."""

import json
from typing import Any

import pytest

from tests.synthesis import Assembly, Choice

AWS_SERVICES = {
    "ec2", "ecr.api", "ecr.dkr", "ecs", "ec2messages", "kms", "logs", "monitoring", "secretsmanager", "sns", "sqs",
    "ssm", "ssmmessages", "xray",
}  # fmt: skip
"""What tasks, servers and the rotation call, besides S3."""


def test_aws_is_reached_without_the_internet(assembly: Assembly) -> None:
    endpoints = assembly.resources("AWS::EC2::VPCEndpoint", "network").values()
    interfaces = [each for each in endpoints if each["VpcEndpointType"] == "Interface"]
    assert {each["ServiceName"].removeprefix("com.amazonaws.us-east-1.") for each in interfaces} == AWS_SERVICES
    assert all(each["PrivateDnsEnabled"] is True for each in interfaces)
    gateways = [json.dumps(each["ServiceName"]) for each in endpoints if each["VpcEndpointType"] == "Gateway"]
    assert len(gateways) == 1
    assert ".s3" in gateways[0]


def test_tasks_and_the_rotation_are_in_private_subnets(assembly: Assembly) -> None:
    placed = [
        each["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]
        for each in assembly.resources("AWS::ECS::Service").values()
    ]
    placed += [each["VpcConfig"]["SubnetIds"] for each in assembly.resources("AWS::Lambda::Function").values()]
    assert len(placed) == 5
    for subnets in placed:
        assert all("PrivateSubnet" in json.dumps(subnet) for subnet in subnets)


def test_only_the_load_balancer_is_open_to_addresses(assembly: Assembly) -> None:
    by_address = {
        (rule["FromPort"], rule["CidrIp"]) for rule in _ingress(assembly) if "CidrIp" in rule or "CidrIpv6" in rule
    }
    cidr = assembly.config.network.cidr
    assert by_address == {(80, "0.0.0.0/0"), (443, "0.0.0.0/0"), (443, cidr)}


def _ingress(assembly: Assembly) -> list[dict[str, Any]]:
    groups = assembly.resources("AWS::EC2::SecurityGroup").values()
    inline = [rule for group in groups for rule in group.get("SecurityGroupIngress", [])]
    return inline + list(assembly.resources("AWS::EC2::SecurityGroupIngress").values())


def test_data_is_encrypted_with_a_key_of_the_deployments_own_that_changes(assembly: Assembly) -> None:
    assert assembly.only("AWS::KMS::Key")["EnableKeyRotation"] is True
    keyed = {
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::EC2::Volume": "KmsKeyId",
        "AWS::RDS::DBInstance": "KmsKeyId",
        "AWS::SecretsManager::Secret": "KmsKeyId",
    }
    seen = set()
    for kind, name in keyed.items():
        for logical_id, made in assembly.resources(kind).items():
            assert "Key" in json.dumps(made[name]), logical_id
            seen.add(kind)
    assert len(seen) >= len(keyed) - 1  # option B has no volumes
    bucket = assembly.only("AWS::S3::Bucket", BucketName=assembly.config.storage.bucket_name)
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    logs = assembly.resources("AWS::Logs::LogGroup")
    plain = [name for name, each in logs.items() if "KmsKeyId" not in each]
    # addresses and ports, and what the firewall saw
    assert {name.partition("/")[2][:-8] for name in plain} <= {"VpcFlowLogGroup", "FlowLogGroup", "FirewallLogs"}
    assert len(logs) - len(plain) >= 4


def test_access_is_logged(assembly: Assembly) -> None:
    bucket = assembly.only("AWS::S3::Bucket", BucketName=assembly.config.storage.bucket_name)
    assert bucket["LoggingConfiguration"]["LogFilePrefix"] == "s3/"
    for balancer in assembly.resources("AWS::ElasticLoadBalancingV2::LoadBalancer").values():
        made = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
        assert made["access_logs.s3.enabled"] == "true"
    assert len(assembly.resources("AWS::WAFv2::LoggingConfiguration")) == 1
    assert len(assembly.resources("AWS::EC2::FlowLog")) == 1


def test_the_database_takes_only_tls_and_only_from_the_tasks(assembly: Assembly) -> None:
    database = assembly.only("AWS::RDS::DBInstance")
    assert database["PubliclyAccessible"] is False
    assert database["Engine"] == "postgres"
    assert assembly.only("AWS::RDS::DBParameterGroup")["Parameters"]["rds.force_ssl"] == "1"
    sources = {json.dumps(rule["SourceSecurityGroupId"]) for rule in _ingress(assembly) if rule["FromPort"] == 5432}
    assert len(sources) == 1
    assert "TaskGroup" in sources.pop()


def test_services_start_anew_when_the_databases_password_has_changed(assembly: Assembly) -> None:
    rule = assembly.only("AWS::Events::Rule")
    assert "RotationSucceeded" in json.dumps(rule["EventPattern"])
    steps = json.dumps(assembly.only("AWS::StepFunctions::StateMachine")["DefinitionString"])
    assert steps.count("ecs:updateService") == 4


def test_a_budget_tells_of_80_percent_and_of_a_forecast_above_it(assembly: Assembly) -> None:
    budget = assembly.only("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": assembly.config.alarms.monthly_budget_usd, "Unit": "USD"}
    told = {
        (each["Notification"]["NotificationType"], each["Notification"]["Threshold"])
        for each in budget["NotificationsWithSubscribers"]
    }
    assert told == {("ACTUAL", 80), ("FORECASTED", 100)}


def test_traces_of_runs_and_of_slow_pages_are_found(assembly: Assembly) -> None:
    names = {each["GroupName"] for each in assembly.resources("AWS::XRay::Group").values()}
    assert names == {f"{assembly.config.name}-runs", f"{assembly.config.name}-slow-pages"}


@pytest.mark.parametrize(("choice", "protected"), [(Choice.DEV, False), (Choice.PROD, True)])
def test_what_holds_data_is_torn_down_only_where_nobody_relies_on_it(
    assemblies: dict[Choice, Assembly], choice: Choice, protected: bool
) -> None:
    assembly = assemblies[choice]
    manifest = json.loads((assembly.folder / "manifest.json").read_text())["artifacts"]
    stacks = {
        name.removeprefix(f"{assembly.config.name}-"): each["properties"].get("terminationProtection", False)
        for name, each in manifest.items()
        if each["type"] == "aws:cloudformation:stack"
    }
    stateful = {"registry", "security", "storage", "database", "clickhouse"}
    assert {name for name, is_protected in stacks.items() if is_protected} == (stateful if protected else set())
    kept = {
        resource["Type"]
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
        if resource.get("DeletionPolicy") in ("Retain", "RetainExceptOnCreate", "Snapshot")
    }
    assert bool(kept) is protected, kept


def test_stateful_and_stateless_are_apart(assembly: Assembly) -> None:
    lasting = {"AWS::S3::Bucket", "AWS::RDS::DBInstance", "AWS::EC2::Volume", "AWS::KMS::Key", "AWS::ECR::Repository"}
    holders = {
        stack
        for stack, template in assembly.templates.items()
        if lasting & {resource["Type"] for resource in template["Resources"].values()}
    }
    assert holders <= {"registry", "security", "storage", "database", "clickhouse"}
