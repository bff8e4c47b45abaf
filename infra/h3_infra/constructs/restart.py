"""New tasks after a new password: ECS reads secrets when a task starts, and never again."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from h3_infra.accepted import accept
from h3_infra.config import Config
from h3_infra.retention import retention


class RestartAfterRotation(Construct):
    """When the database's secret has been rotated, every service is deployed again, one rolling deployment each."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        cluster: ecs.ICluster,
        services: Sequence[ecs.FargateService],
        secret: secretsmanager.ISecret,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, construct_id)
        parallel = sfn.Parallel(self, "EveryService")
        for service in services:
            parallel.branch(
                tasks.CallAwsService(
                    self,
                    f"Deploy {service.node.id}",
                    service="ecs",
                    action="updateService",
                    parameters={
                        "Cluster": cluster.cluster_name,
                        "Service": service.service_name,
                        "ForceNewDeployment": True,
                    },
                    iam_resources=[service.service_arn],
                    result_selector={"Service.$": "$.Service.ServiceName"},
                )
            )
        log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=f"/aws/vendedlogs/states/{config.name}-restart",
            encryption_key=key,
            retention=retention(config.log_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        machine = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=f"{config.name}-restart",
            definition_body=sfn.DefinitionBody.from_chainable(parallel),
            tracing_enabled=True,
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL),
        )
        accept(
            machine.role,
            "log delivery and traces know no resource",
            nag=["IAM5[Resource::*]"],
            checkov=["CKV_AWS_111", "CKV_AWS_107"],
        )
        rule = events.Rule(
            self,
            "Rotated",
            rule_name=f"{config.name}-database-password-rotated",
            description="RDS has changed the database's password",
            event_pattern=events.EventPattern(
                source=["aws.secretsmanager"],
                detail_type=["AWS Service Event via CloudTrail"],
                detail={"eventName": ["RotationSucceeded"], "additionalEventData": {"SecretId": [secret.secret_arn]}},
            ),
        )
        rule.add_target(targets.SfnStateMachine(machine))
