"""Every number of the requirements' table, on the templates of every configuration."""

import json
import re
from typing import Any

import pytest
from h3_infra.config import ClickHouseOption
from h3_infra.hosts import certificate_names

from h3_pipeline.storage.redelivery import DELIVERIES
from tests.authority import certificates
from tests.synthesis import Assembly, Choice, Resource

LEGAL_SIZES = {"1024": range(2048, 8193, 1024), "2048": range(4096, 8193, 1024), "4096": range(8192, 8193)}

PLAIN = {
    "PORT": "3000",
    "CLICKHOUSE_PORT": "9000",
    "CLICKHOUSE_DATABASE": "h3_pipeline",
    "AWS_REGION": "us-east-1",
}


def attributes(resource: Resource, name: str) -> dict[str, Any]:
    """Attributes of a load balancer or a target group."""
    return {attribute["Key"]: attribute["Value"] for attribute in resource[name]}


def pipeline_containers(assembly: Assembly) -> dict[str, Resource]:
    """The container with the pipeline's image of every task definition, by its name."""
    definitions = assembly.resources("AWS::ECS::TaskDefinition").values()
    containers = [each for task in definitions for each in task["ContainerDefinitions"] if each["Name"] != "collector"]
    assert len(containers) == len(definitions)
    return {container["Name"]: container for container in containers}


def service(assembly: Assembly, name: str) -> Resource:
    return assembly.only("AWS::ECS::Service", ServiceName=name)


# ECS Fargate


def test_tasks_have_1_to_4_vcpu_and_2_to_8_gib(assembly: Assembly) -> None:
    tasks = assembly.resources("AWS::ECS::TaskDefinition").values()
    assert len(tasks) == 5
    for task in tasks:
        assert int(task["Memory"]) in LEGAL_SIZES[task["Cpu"]]
        assert task["RequiresCompatibilities"] == ["FARGATE"]


def test_all_tasks_run_the_pipelines_image(assembly: Assembly) -> None:
    images = {json.dumps(each["Image"]) for each in pipeline_containers(assembly).values()}
    assert len(images) == 1
    assert ":0123abc" in images.pop()


def test_the_web_service_wants_2_to_10_and_scales_from_2_to_20(assembly: Assembly) -> None:
    web = assembly.config.web
    assert 2 <= service(assembly, "webserver")["DesiredCount"] <= 10
    target = assembly.only("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 20) == (web.minimum, web.maximum)


@pytest.mark.parametrize(("metric", "percent"), [("CPU", 70), ("Memory", 80)])
def test_it_scales_at_70_percent_cpu_and_80_percent_memory(assembly: Assembly, metric: str, percent: int) -> None:
    policies = [
        policy["TargetTrackingScalingPolicyConfiguration"]
        for policy in assembly.resources("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    ]
    name = f"ECSServiceAverage{metric}Utilization"
    found = [each for each in policies if each["PredefinedMetricSpecification"]["PredefinedMetricType"] == name]
    assert [(each["TargetValue"], each["ScaleOutCooldown"], each["ScaleInCooldown"]) for each in found] == [
        (percent, 60, 300)
    ]


def test_every_task_has_the_named_settings(assembly: Assembly) -> None:
    for container in pipeline_containers(assembly).values():
        environment = {each["Name"]: each["Value"] for each in container["Environment"]}
        assert PLAIN.items() <= environment.items()
        assert environment["CLICKHOUSE_HOST"]
        assert environment["S3_BUCKET"]
        secret = {each["Name"]: json.dumps(each["ValueFrom"]) for each in container["Secrets"]}
        assert {"CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"} <= set(secret)
        assert ":password::" in secret["CLICKHOUSE_PASSWORD"]
        assert not {"CLICKHOUSE_PASSWORD", "DAGSTER_PG_PASSWORD"} & set(environment)


def test_the_bucket_in_production_has_the_required_name(prod: Assembly) -> None:
    assert prod.config.storage.bucket_name == "trips-data-bucket"
    assert prod.only("AWS::S3::Bucket", BucketName="trips-data-bucket")


def test_the_daemon_is_one_and_never_two(assembly: Assembly) -> None:
    daemon = service(assembly, "daemon")
    deployment = daemon["DeploymentConfiguration"]
    assert (daemon["DesiredCount"], deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (1, 0, 100)


def test_every_service_is_rolled_back_by_itself_and_can_be_entered_with_an_audit(assembly: Assembly) -> None:
    services = assembly.resources("AWS::ECS::Service").values()
    assert len(services) == 4
    for each in services:
        assert each["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
        assert each["EnableExecuteCommand"] is True
        assert each["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
        # a run takes the network of the daemon's task, which must not come from a capacity provider
        assert each["LaunchType"] == "FARGATE"
    cluster = assembly.only("AWS::ECS::Cluster")
    execute = cluster["Configuration"]["ExecuteCommandConfiguration"]
    assert execute["Logging"] == "OVERRIDE"
    assert execute["LogConfiguration"]["CloudWatchEncryptionEnabled"] is True


def test_the_launcher_finds_the_run_container_in_the_definition_that_the_daemon_names(assembly: Assembly) -> None:
    containers = pipeline_containers(assembly)
    assert "run" in containers
    environment = {each["Name"]: each["Value"] for each in containers["daemon"]["Environment"]}
    assert environment["DAGSTER_RUN_TASK_DEFINITION"]["Ref"].startswith("RunTask")
    assert "Command" not in containers["run"]


# ALB


def test_https_443_with_the_certificate_signs_in_before_every_page(assembly: Assembly) -> None:
    listener = assembly.only("AWS::ElasticLoadBalancingV2::Listener", Port=443, Protocol="HTTPS")
    assert listener["Certificates"] == [{"CertificateArn": assembly.config.web.certificate_arn}]
    rules = assembly.resources("AWS::ElasticLoadBalancingV2::ListenerRule").values()
    for actions in (listener["DefaultActions"], *(rule["Actions"] for rule in rules)):
        assert [action["Type"] for action in sorted(actions, key=lambda each: each["Order"])] == [
            "authenticate-cognito",
            "forward",
        ]


def test_http_80_only_redirects(assembly: Assembly) -> None:
    listener = assembly.only("AWS::ElasticLoadBalancingV2::Listener", Port=80)
    assert listener["DefaultActions"] == [
        {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    ]


def test_targets_are_http_3000_and_asked_for_health_every_30_seconds(assembly: Assembly) -> None:
    groups = assembly.resources("AWS::ElasticLoadBalancingV2::TargetGroup", "dagster").values()
    assert len(groups) == 2
    for group in groups:
        assert (group["Port"], group["Protocol"]) == (3000, "HTTP")
        assert (group["HealthCheckPath"], group["HealthCheckIntervalSeconds"]) == ("/health", 30)


def test_an_idle_page_is_not_cut_off_within_a_minute(assembly: Assembly) -> None:
    balancer = assembly.only("AWS::ElasticLoadBalancingV2::LoadBalancer", Type="application")
    made = attributes(balancer, "LoadBalancerAttributes")
    assert int(made["idle_timeout.timeout_seconds"]) > 60
    assert made["access_logs.s3.enabled"] == "true"


def test_the_firewall_is_before_the_load_balancer(assembly: Assembly) -> None:
    rules = assembly.only("AWS::WAFv2::WebACL")["Rules"]
    assert {rule["Name"] for rule in rules} == {
        "RequestsByAddress",
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    }
    assert len(assembly.resources("AWS::WAFv2::WebACLAssociation")) == 1


# ClickHouse, option A and B


def test_three_servers_of_the_required_size_with_disks_of_the_required_size(assembly: Assembly) -> None:
    if assembly.config.clickhouse.option is ClickHouseOption.CLOUD:
        assert "clickhouse" not in assembly.templates
        assert not assembly.resources("AWS::EC2::Volume")
        return
    servers = assembly.config.clickhouse.servers
    assert servers is not None
    assert (servers.shards, servers.replicas) == (1, 3)
    templates = [each["LaunchTemplateData"] for each in assembly.resources("AWS::EC2::LaunchTemplate").values()]
    large = [each for each in templates if each["InstanceType"] == "r6i.2xlarge"]
    assert len(large) == 3
    disks = [each for each in assembly.resources("AWS::EC2::Volume").values() if each["Size"] >= 1024]
    assert len(disks) == 3
    for disk in disks:
        assert disk["VolumeType"] == "gp3"
        assert 1024 <= disk["Size"] <= 5 * 1024
        assert 3000 <= disk["Iops"] <= 10_000
        assert disk["Encrypted"] is True


def test_servers_are_in_private_subnets_each_in_a_zone_of_its_own(prod: Assembly) -> None:
    groups = prod.resources("AWS::AutoScaling::AutoScalingGroup").values()
    assert all((each["MinSize"], each["MaxSize"], each["DesiredCapacity"]) == ("1", "1", "1") for each in groups)
    zones = {
        each["AutoScalingGroupName"].removeprefix("h3-prod-clickhouse-"): each["AvailabilityZones"] for each in groups
    }
    assert {name: zones[name] for name in ("ch-1", "ch-2", "ch-3")} == {
        "ch-1": ["us-east-1a"],
        "ch-2": ["us-east-1b"],
        "ch-3": ["us-east-1c"],
    }
    assert set(zones) == {"ch-1", "ch-2", "ch-3", "keeper-1", "keeper-2", "keeper-3"}
    for interface in prod.resources("AWS::EC2::NetworkInterface").values():
        assert "PrivateSubnet" in interface["SubnetId"]["Fn::ImportValue"]
    for template in prod.resources("AWS::EC2::LaunchTemplate").values():
        (interface,) = template["LaunchTemplateData"]["NetworkInterfaces"]
        assert "AssociatePublicIpAddress" not in interface
        assert template["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"
        assert template["LaunchTemplateData"]["ImageId"].startswith("ami-")


def test_no_subnet_gives_public_addresses(assembly: Assembly) -> None:
    for subnet in assembly.resources("AWS::EC2::Subnet").values():
        assert subnet.get("MapPublicIpOnLaunch", False) is False


def test_only_what_belongs_to_the_tasks_reaches_clickhouse(assembly: Assembly) -> None:
    """Group by group: the tasks, their own load balancer, the rotation, the servers themselves; nobody by address."""
    ports = {8443, 9440}
    stack = "clickhouse-cloud" if assembly.config.clickhouse.option is ClickHouseOption.CLOUD else "clickhouse"
    inline = [
        rule
        for group in assembly.resources("AWS::EC2::SecurityGroup", stack).values()
        for rule in group.get("SecurityGroupIngress", [])
    ]
    assert inline == []
    rules = [
        rule
        for rule in assembly.resources("AWS::EC2::SecurityGroupIngress", stack).values()
        if rule["FromPort"] in ports
    ]
    assert rules
    sources = {json.dumps(rule["SourceSecurityGroupId"]) for rule in rules}
    own = ("TaskGroup", "RotationGroup", "ServerGroup", "ServerBalancerGroup")
    assert all(any(name in source for name in own) for source in sources), sources
    assert not any("CidrIp" in rule for rule in rules)


def test_option_b_is_a_private_endpoint_with_a_private_name(assemblies: dict) -> None:
    cloud = assemblies[Choice.CLOUD]
    chosen = cloud.config.clickhouse.cloud
    endpoint = cloud.only("AWS::EC2::VPCEndpoint", "clickhouse-cloud")
    assert (endpoint["ServiceName"], endpoint["VpcEndpointType"]) == (chosen.endpoint_service, "Interface")
    zone = cloud.only("AWS::Route53::HostedZone", "clickhouse-cloud")
    assert zone["Name"] == f"{chosen.private_zone}."
    assert "VPCs" in zone
    assert set(task_setting(cloud, "CLICKHOUSE_HOST").values()) == {chosen.host}


def task_setting(assembly: Assembly, name: str) -> dict[str, str | None]:
    """A setting of every task, by the container's name; None where it has none."""
    return {
        container: next((each["Value"] for each in made["Environment"] if each["Name"] == name), None)
        for container, made in pipeline_containers(assembly).items()
    }


def test_publishers_meet_one_server_and_only_readers_any(prod: Assembly) -> None:
    assert task_setting(prod, "CLICKHOUSE_HOST") == {
        **dict.fromkeys(("run", "code", "daemon"), "clickhouse-writer.h3-prod.internal"),
        **dict.fromkeys(("webserver", "viewer"), "clickhouse.h3-prod.internal"),
    }


@pytest.mark.parametrize(("choice", "node"), [(Choice.DEV, "ch-1"), (Choice.LARGER, "ch-2")])
def test_a_failover_moves_one_name_to_another_server(
    assemblies: dict[Choice, Assembly], choice: Choice, node: str
) -> None:
    assembly = assemblies[choice]
    record = assembly.only("AWS::Route53::RecordSet", "clickhouse", Name="clickhouse-writer.h3-dev.internal.")
    ((_, (interface, attribute)),) = record["ResourceRecords"][0].items()
    assert attribute == "PrimaryPrivateIpAddress"
    named = assembly.resources("AWS::EC2::NetworkInterface", "clickhouse")[interface]
    assert named["Description"] == f"{node}.h3-dev.internal"
    # what runs does not change
    run = assembly.only("AWS::ECS::TaskDefinition", "dagster", Family="h3-dev-run")
    assert run == assemblies[Choice.DEV].only("AWS::ECS::TaskDefinition", "dagster", Family="h3-dev-run")


@pytest.mark.parametrize("choice", [Choice.DEV, Choice.PROD])
def test_the_certificate_is_for_every_name_of_the_cluster(assemblies: dict[Choice, Assembly], choice: Choice) -> None:
    records = assemblies[choice].resources("AWS::Route53::RecordSet", "clickhouse").values()
    assert sorted(certificate_names(assemblies[choice].config)) == sorted(each["Name"][:-1] for each in records)


def test_tasks_take_only_the_clusters_own_authority_where_it_has_one(assemblies: dict[Choice, Assembly]) -> None:
    own = (certificates() / "ca.pem").read_text()
    assert set(task_setting(assemblies[Choice.DEV], "CLICKHOUSE_CA_CERT").values()) == {own}
    for public in (Choice.PROD, Choice.CLOUD):
        assert set(task_setting(assemblies[public], "CLICKHOUSE_CA_CERT").values()) == {None}


def test_several_shards_are_told_to_the_tasks(assemblies: dict[Choice, Assembly]) -> None:
    sharded = assemblies[Choice.SHARDED]
    assert set(task_setting(sharded, "CLICKHOUSE_SHARDING").values()) == {"upload"}
    assert set(task_setting(assemblies[Choice.DEV], "CLICKHOUSE_SHARDING").values()) == {None}
    assert len(sharded.resources("AWS::EC2::Volume")) == 6
    user_data = {
        each["LaunchTemplateName"][-len("ch-1") :]: json.dumps(each["LaunchTemplateData"]["UserData"])
        for each in sharded.resources("AWS::EC2::LaunchTemplate").values()
    }
    shards = {node: re.findall(r"H3_SHARD=\D?(\d)", text) for node, text in user_data.items()}
    assert shards == {f"ch-{n}": [str(shard)] for n, shard in enumerate((1, 1, 1, 2, 2, 2), start=1)}


# S3


def lifecycle(assembly: Assembly) -> dict[str, Resource]:
    bucket = assembly.only("AWS::S3::Bucket", BucketName=assembly.config.storage.bucket_name)
    return {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}


@pytest.mark.parametrize(
    ("rule", "prefix", "days"), [("uploads-to-glacier", "uploads/", 30), ("backups-to-glacier", "backups/", 7)]
)
def test_old_objects_go_to_glacier(assembly: Assembly, rule: str, prefix: str, days: int) -> None:
    found = lifecycle(assembly)[rule]
    assert found["Prefix"] == prefix
    assert found["Transitions"] == [{"StorageClass": "GLACIER", "TransitionInDays": days}]
    assert "ExpirationInDays" not in found


def test_processed_objects_are_deleted_after_90_days(assembly: Assembly) -> None:
    found = lifecycle(assembly)["processed-deleted"]
    assert (found["Prefix"], found["ExpirationInDays"]) == ("processed/", 90)


def test_unfinished_uploads_are_given_up_within_the_sensors_look_back(assembly: Assembly) -> None:
    found = lifecycle(assembly)["unfinished-uploads"]
    assert found["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_the_bucket_shuts_out_all_but_the_named_roles(assembly: Assembly) -> None:
    policies = assembly.resources("AWS::S3::BucketPolicy", "storage").values()
    denied = [
        statement
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and "ArnNotEquals" in statement.get("Condition", {})
    ]
    assert {action for statement in denied for action in statement["Action"]} >= {
        "s3:GetObject*",
        "s3:PutObject",
        "s3:DeleteObject*",
    }
    for statement in denied:
        assert statement["Principal"] == {"AWS": "*"}
        allowed = json.dumps(statement["Condition"]["ArnNotEquals"]["aws:PrincipalArn"])
        warehouse = "CloudRole" if assembly.config.clickhouse.option is ClickHouseOption.CLOUD else "NodeRole"
        for role in ("WebRole", "DaemonRole", "CodeRole", "RunRole", warehouse):
            assert role in allowed
        assert allowed.count("Fn::ImportValue") == 5


def test_no_task_may_change_an_upload(assembly: Assembly) -> None:
    for policy, statement in assembly.statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if any(action.startswith(("s3:Put", "s3:Delete")) for action in actions):
            assert "/uploads/" not in json.dumps(statement["Resource"]), policy


def test_new_uploads_reach_a_queue_with_dead_letters(assembly: Assembly) -> None:
    bucket = assembly.only("AWS::S3::Bucket", BucketName=assembly.config.storage.bucket_name)
    (events,) = bucket["NotificationConfiguration"]["QueueConfigurations"]
    assert events["Event"] == "s3:ObjectCreated:*"
    assert events["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "uploads/"}]
    queue = assembly.only("AWS::SQS::Queue", QueueName=f"{assembly.config.name}-uploads")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == DELIVERIES >= 10


# CloudWatch, X-Ray, Secrets Manager


def test_both_log_groups_have_their_names(assembly: Assembly) -> None:
    names = {group["LogGroupName"] for group in assembly.resources("AWS::Logs::LogGroup").values()}
    assert {"/ecs/h3-clickhouse-app", "/clickhouse/server"} <= names
    for task in assembly.resources("AWS::ECS::TaskDefinition").values():
        for container in task["ContainerDefinitions"]:
            assert "AppLogs" in json.dumps(container["LogConfiguration"]["Options"]["awslogs-group"])


def alarm(assembly: Assembly, name: str) -> Resource:
    return assembly.only("AWS::CloudWatch::Alarm", AlarmName=f"{assembly.config.name}-{name}")


@pytest.mark.parametrize(
    "name",
    ["webserver-cpu", "webserver-memory", "webserver-tasks", "error-rate", "latency", "daemon-tasks", "daemon-silent",
     "run-failures", "dead-letters", "backup-age", "uploads-wait", "database-storage"],
)  # fmt: skip
def test_every_configuration_has_the_alarm(assembly: Assembly, name: str) -> None:
    assert alarm(assembly, name)


def test_servers_have_alarms_of_their_own(assembly: Assembly) -> None:
    names = {
        each["AlarmName"].removeprefix(f"{assembly.config.name}-")
        for each in assembly.resources("AWS::CloudWatch::Alarm").values()
    }
    own = {f"ch-{n}-{what}" for n in (1, 2, 3) for what in ("disk", "replication", "away")} | {"keeper-quorum"}
    if assembly.config.clickhouse.option is ClickHouseOption.CLOUD:
        assert not names & own
        return
    assert own <= names
    for n in (1, 2, 3):
        disk = alarm(assembly, f"ch-{n}-disk")
        assert (disk["ComparisonOperator"], disk["Threshold"]) == ("LessThanThreshold", 20)
        (query,) = disk["Metrics"]
        assert query["MetricStat"]["Metric"]["MetricName"] == "DiskFreePercent"


def test_every_alarm_reaches_the_topic(assembly: Assembly) -> None:
    alarms = assembly.resources("AWS::CloudWatch::Alarm")
    assert len(alarms) >= 20
    for name, each in alarms.items():
        assert "Alarms" in json.dumps(each["AlarmActions"]), name
        assert each["AlarmActions"] == each["OKActions"]
        assert each["AlarmDescription"]


def test_the_dashboard_shows_what_the_table_names(assembly: Assembly) -> None:
    body = json.dumps(assembly.only("AWS::CloudWatch::Dashboard")["DashboardBody"])
    shown = [
        "CPUUtilization",
        "MemoryUtilization",
        "RunningTaskCount",
        "RequestCount",
        "TargetResponseTime",
        "HTTPCode_Target_5XX_Count",
    ]
    if assembly.config.clickhouse.option is ClickHouseOption.EC2:
        shown += ["QueryCount", "QueryDurationP95", "DiskFreePercent"]
    assert [name for name in shown if name not in body] == []


def test_every_task_has_a_collector_that_sends_to_x_ray_and_may_fail(assembly: Assembly) -> None:
    for task in assembly.resources("AWS::ECS::TaskDefinition").values():
        (collector,) = (each for each in task["ContainerDefinitions"] if each["Name"] == "collector")
        assert collector["Essential"] is False
        configuration = next(each["Value"] for each in collector["Environment"] if each["Name"] == "AOT_CONFIG_CONTENT")
        assert "awsxray" in configuration
    for container in pipeline_containers(assembly).values():
        environment = {each["Name"]: each["Value"] for each in container["Environment"]}
        assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"


def test_every_clickhouse_password_is_made_and_rotated_by_secrets_manager(assembly: Assembly) -> None:
    users = {
        name.removeprefix(f"{assembly.config.name}/clickhouse/")
        for name in (each["Name"] for each in assembly.resources("AWS::SecretsManager::Secret").values())
    } - {"tls", "cluster"}
    assert users == {"loader", "reader", "backup", "rotator"}
    schedules = assembly.resources("AWS::SecretsManager::RotationSchedule").values()
    rotated = {json.dumps(each["SecretId"]) for each in schedules}
    assert len(rotated) == len(users)
    for user in users:
        assert any(f"ClickHouse{user.capitalize()}" in secret for secret in rotated)
    hours = {each["RotationRules"]["ScheduleExpression"] for each in schedules}
    assert len(hours) == len(users)


def test_nothing_in_a_template_is_a_password(assembly: Assembly) -> None:
    for database in assembly.resources("AWS::RDS::DBInstance").values():
        assert database["ManageMasterUserPassword"] is True
        assert "MasterUserPassword" not in database
    for secret in assembly.resources("AWS::SecretsManager::Secret").values():
        assert "SecretString" not in secret
        assert "GenerateSecretString" in secret


# what the table leaves out


def test_production_keeps_its_data(prod: Assembly) -> None:
    database = prod.only("AWS::RDS::DBInstance")
    assert (database["MultiAZ"], database["DeletionProtection"], database["StorageEncrypted"]) == (True, True, True)
    assert database["BackupRetentionPeriod"] >= 7
    kept = {
        "AWS::S3::Bucket",
        "AWS::EC2::Volume",
        "AWS::KMS::Key",
        "AWS::SecretsManager::Secret",
        "AWS::ECR::Repository",
    }
    for template in prod.templates.values():
        for name, resource in template["Resources"].items():
            if resource["Type"] in kept:
                assert resource["DeletionPolicy"] == "Retain", name
            if resource["Type"] == "AWS::RDS::DBInstance":
                assert resource["DeletionPolicy"] == "Snapshot"


def test_images_are_scanned_and_tags_never_change(assembly: Assembly) -> None:
    repositories = assembly.resources("AWS::ECR::Repository").values()
    assert len(repositories) == 2
    for repository in repositories:
        assert repository["ImageTagMutability"] == "IMMUTABLE"
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_everything_that_can_be_is_tagged(assembly: Assembly) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::ECS::Service", "AWS::RDS::DBInstance", "AWS::EC2::VPC", "AWS::KMS::Key"):
        for name, resource in assembly.resources(kind).items():
            tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
            assert tags["project"] == "h3-pipeline", name
            assert tags["environment"] == assembly.config.environment
            assert "cost-center" in tags


# least rights

WITHOUT_RESOURCE = {
    # https://docs.aws.amazon.com/service-authorization/: these actions know no resource
    "cloudwatch:PutMetricData", "ec2:DescribeNetworkInterfaces", "ec2:DescribeVolumes", "ec2:DescribeSubnets",
    "ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "logs:DescribeLogGroups", "logs:CreateLogDelivery",
    "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
    "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "secretsmanager:GetRandomPassword",
    "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel", "xray:GetSamplingRules",
    "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    # of Lambda in a VPC, which does not say beforehand which interface it makes
    "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
}  # fmt: skip


def test_every_right_names_its_resource_where_it_can(assembly: Assembly) -> None:
    wide = set()
    for policy, statement in assembly.statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions), policy
        if statement["Resource"] == "*":
            wide |= set(actions)
    assert wide - WITHOUT_RESOURCE == set()


def test_only_the_daemon_starts_runs_and_hands_on_only_their_roles(assembly: Assembly) -> None:
    starts = {policy for policy, each in assembly.statements() if "ecs:RunTask" in each["Action"]}
    passes = {policy: each for policy, each in assembly.statements() if "iam:PassRole" in each["Action"]}
    assert len(starts) == 1
    assert set(passes) == starts
    assert next(iter(starts)).startswith("dagster/DaemonPolicy")
    (statement,) = passes.values()
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len(statement["Resource"]) == 2
