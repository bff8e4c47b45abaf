"""A task of the pipeline: one image for all of them, and the trace collector beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from h3_infra.accepted import accept
from h3_infra.config import FargateSize
from h3_pipeline.task_sizes import SIDECAR_CPU, SIDECAR_MEMORY_MIB

COLLECTOR_CONFIG = Path(__file__).parent.parent / "collector.yaml"
COLLECTOR_ENDPOINT = "http://127.0.0.1:4318"
STOP_TIMEOUT = Duration.seconds(120)
"""Longest that Fargate allows: a run that is stopped finishes its statement."""


@dataclass(frozen=True, slots=True)
class Image:
    """What all tasks share.

    Attributes:
        pipeline: The pipeline's image.
        collector: The collector's image.
        environment: Plain settings.
        secrets: Settings from Secrets Manager.
        log_group: Where all of them log.
        execution_role: Starts the tasks.
    """

    pipeline: ecs.ContainerImage
    collector: ecs.ContainerImage
    environment: Mapping[str, str]
    secrets: Mapping[str, ecs.Secret]
    log_group: logs.ILogGroup
    execution_role: iam.IRole
    collector_config: str = field(default_factory=COLLECTOR_CONFIG.read_text)


class PipelineTask(Construct):
    """A task definition with two containers: the pipeline's, and a collector that may fail without harm.

    Args:
        image: What all tasks share.
        name: Name of the container and of its log stream.
        family: Name of the task definition.
        role: What the task may do.
        size: CPU and memory.
        command: What it runs; None where whoever starts it says so.
        environment: Settings of this task alone.
        health_check: Command that tells whether it is well.
        port: The port that it listens on.
        scratch_gib: Its disk.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: Image,
        name: str,
        family: str,
        role: iam.IRole,
        size: FargateSize,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        health_check: Sequence[str] | None = None,
        port: int | None = None,
        scratch_gib: int = 21,
    ) -> None:
        super().__init__(scope, construct_id)
        self.definition = ecs.FargateTaskDefinition(
            self,
            "Definition",
            family=family,
            cpu=size.cpu_units,
            memory_limit_mib=size.memory_mib,
            ephemeral_storage_gib=scratch_gib,
            task_role=role.without_policy_updates() if isinstance(role, iam.Role) else role,
            execution_role=image.execution_role.without_policy_updates()
            if isinstance(image.execution_role, iam.Role)
            else image.execution_role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.X86_64, operating_system_family=ecs.OperatingSystemFamily.LINUX
            ),
        )
        self.container = self.definition.add_container(
            name,
            container_name=name,
            image=image.pipeline,
            essential=True,
            command=list(command) if command else None,
            environment={**image.environment, **(environment or {}), "OTEL_SERVICE_NAME": f"h3-pipeline-{name}"},
            secrets=dict(image.secrets),
            logging=ecs.LogDrivers.aws_logs(stream_prefix=name, log_group=image.log_group),
            port_mappings=[ecs.PortMapping(container_port=port, name=name)] if port else None,
            health_check=ecs.HealthCheck(
                command=["CMD", *health_check],
                interval=Duration.seconds(30),
                timeout=Duration.seconds(20),
                retries=3,
                start_period=Duration.seconds(180),
            )
            if health_check
            else None,
            # an orphan that a run leaves behind is reaped
            linux_parameters=ecs.LinuxParameters(self, "Linux", init_process_enabled=True),
            stop_timeout=STOP_TIMEOUT,
        )
        self.definition.add_container(
            "collector",
            container_name="collector",
            image=image.collector,
            essential=False,
            cpu=SIDECAR_CPU,
            memory_limit_mib=SIDECAR_MEMORY_MIB,
            environment={"AOT_CONFIG_CONTENT": image.collector_config},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="collector", log_group=image.log_group),
        )
        accept(
            self.definition,
            "plain settings are no secrets: those come from Secrets Manager; ECS Exec and the engine's scratch files "
            "need a writable root, which is the task's own and gone with it",
            nag=["ECS2"],
            checkov=["CKV_AWS_336"],
        )
