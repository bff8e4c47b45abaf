"""What boto3 reads back of a deployment in the emulator."""

import json
import re
from urllib.parse import unquote_plus

import boto3

from tests.emulator.client import Aws
from tests.emulator.names import CERTIFICATE
from tests.synthesis import Assembly


def stacks(aws: Aws) -> dict[str, str]:
    """Status by name of the stacks that are there."""
    found = aws.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack["StackStatus"] for stack in found if stack["StackName"] != "CDKToolkit"}


def check_load_balancer(aws: Aws, name: str) -> None:
    api = aws.client("elbv2")
    (balancer,) = api.describe_load_balancers(Names=[name])["LoadBalancers"]
    listeners = {
        each["Port"]: each for each in api.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    }
    assert set(listeners) == {80, 443}
    (redirect,) = listeners[80]["DefaultActions"]
    assert (redirect["Type"], redirect["RedirectConfig"]["Protocol"], redirect["RedirectConfig"]["Port"]) == (
        "redirect",
        "HTTPS",
        "443",
    )
    assert listeners[443]["Protocol"] == "HTTPS"
    assert [each["CertificateArn"] for each in listeners[443]["Certificates"]] == [CERTIFICATE]
    assert {action["Type"] for action in listeners[443]["DefaultActions"]} == {"authenticate-cognito", "forward"}
    (group,) = api.describe_target_groups(Names=[f"{name}-webserver"])["TargetGroups"]
    assert (group["Protocol"], group["Port"]) == ("HTTP", 3000)
    assert (group["HealthCheckPath"], group["HealthCheckIntervalSeconds"]) == ("/health", 30)


def check_scaling(aws: Aws, name: str) -> None:
    api = aws.client("application-autoscaling")
    (target,) = api.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert target["ResourceId"] == f"service/{name}/webserver"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 20)
    policies = api.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    tracked = [policy["TargetTrackingScalingPolicyConfiguration"] for policy in policies]
    assert {
        (
            each["PredefinedMetricSpecification"]["PredefinedMetricType"],
            each["TargetValue"],
            each["ScaleOutCooldown"],
            each["ScaleInCooldown"],
        )
        for each in tracked
    } == {("ECSServiceAverageCPUUtilization", 70, 60, 300), ("ECSServiceAverageMemoryUtilization", 80, 60, 300)}


def check_services(aws: Aws, name: str, desired: dict[str, int]) -> None:
    found = aws.client("ecs").describe_services(cluster=name, services=list(desired))["services"]
    assert {each["serviceName"]: each["desiredCount"] for each in found} == desired


def check_bucket_and_queue(aws: Aws, bucket: str, name: str) -> None:
    s3, sqs = aws.client("s3"), aws.client("sqs")
    rules = {each["ID"]: each for each in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["uploads-to-glacier"]["Transitions"] == [{"StorageClass": "GLACIER", "Days": 30}]
    assert rules["backups-to-glacier"]["Transitions"] == [{"StorageClass": "GLACIER", "Days": 7}]
    assert rules["processed-deleted"]["Expiration"] == {"Days": 90}
    url = sqs.get_queue_url(QueueName=f"{name}-uploads")["QueueUrl"]
    for key in ("processed/not an upload.csv", "uploads/a b.csv"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        s3.delete_object(Bucket=bucket, Key=key)
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)["Messages"]
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    # the first message is S3's test of the queue, which tells of no object
    events = [json.loads(message["Body"]) for message in messages]
    keys = [record["s3"]["object"]["key"] for event in events for record in event.get("Records", [])]
    assert [unquote_plus(key) for key in keys] == ["uploads/a b.csv"]


def check_secrets(aws: Aws, name: str) -> None:
    secrets = {each["Name"]: each for each in aws.client("secretsmanager").list_secrets()["SecretList"]}
    for user in ("loader", "reader", "backup", "rotator"):
        secret = secrets[f"{name}/clickhouse/{user}"]
        assert secret["RotationEnabled"] is True
        assert secret["RotationLambdaARN"].endswith(f"{name}-clickhouse-rotation")
        content = json.loads(aws.client("secretsmanager").get_secret_value(SecretId=secret["ARN"])["SecretString"])
        assert content["username"] == user
        assert len(content["password"]) >= 32


def check_alarms(aws: Aws, assembly: Assembly) -> None:
    pages = aws.client("cloudwatch").get_paginator("describe_alarms").paginate()
    # those of the scaling policies are made by the scaling
    made = [
        each for page in pages for each in page["MetricAlarms"] if not each["AlarmName"].startswith("TargetTracking")
    ]
    found = {each["AlarmName"]: each for each in made}
    assert set(found) == {each["AlarmName"] for each in assembly.resources("AWS::CloudWatch::Alarm").values()}
    for each in found.values():
        assert each["AlarmActions"][0].endswith(f"{assembly.config.name}-alarms")


def check_all(aws: Aws, assembly: Assembly, desired: dict[str, int]) -> None:
    name = assembly.config.name
    assert len(stacks(aws)) == 8
    assert set(stacks(aws).values()) <= {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    check_load_balancer(aws, name)
    check_scaling(aws, name)
    check_services(aws, name, desired)
    check_bucket_and_queue(aws, assembly.config.storage.bucket_name, name)
    check_secrets(aws, name)
    check_alarms(aws, assembly)


def size(aws: Aws, name: str) -> tuple[int, int]:
    """Revision of the web servers' task definition (moto does not keep its CPU), GiB of the database."""
    task = aws.client("ecs").describe_task_definition(taskDefinition=f"{name}-webserver")["taskDefinition"]
    (database,) = aws.client("rds").describe_db_instances(DBInstanceIdentifier=f"{name}-dagster")["DBInstances"]
    return task["revision"], database["AllocatedStorage"]


def empty(aws: Aws) -> None:
    """What docs/aws.md says to do before a deployment is torn down."""
    resource = boto3.resource(
        "s3", endpoint_url=aws.url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    for bucket in resource.buckets.all():
        if not bucket.name.startswith("cdk-"):
            bucket.object_versions.delete()


def writer(aws: Aws, name: str) -> tuple[str, list[str]]:
    """Node that publishers are sent to, and the addresses that its name has in the private zone."""
    route53, ec2 = aws.client("route53"), aws.client("ec2")
    (zone,) = (each for each in route53.list_hosted_zones()["HostedZones"] if each["Name"] == f"{name}.internal.")
    records = {
        each["Name"]: [value["Value"] for value in each.get("ResourceRecords", [])]
        for each in route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    }
    addresses = records[f"clickhouse-writer.{name}.internal."]
    interfaces = ec2.describe_network_interfaces()["NetworkInterfaces"]
    (node,) = (each["Description"] for each in interfaces if [each["PrivateIpAddress"]] == addresses)
    return node, addresses


def check_nothing_is_left(aws: Aws, bucket: str) -> None:
    assert stacks(aws) == {}
    assert bucket not in {each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]}
    assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert aws.client("rds").describe_db_instances()["DBInstances"] == []
    assert re.findall(r"(?m)^Traceback.*", aws.log()) == []
