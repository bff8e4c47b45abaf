"""What runs: Dagster's services on Fargate, the task definition of runs, and the load balancer before the UI."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from aws_cdk import aws_servicediscovery as servicediscovery
from constructs import Construct

from h3_infra import ports
from h3_infra.accepted import accept
from h3_infra.config import Config, FargateSize
from h3_infra.constructs.firewall import Firewall
from h3_infra.constructs.restart import RestartAfterRotation
from h3_infra.constructs.sign_in import SignIn
from h3_infra.constructs.task import COLLECTOR_ENDPOINT, Image, PipelineTask
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.clickhouse import ClickHouseStack
from h3_infra.stacks.clickhouse_cloud import ClickHouseCloudStack
from h3_infra.stacks.database import DATABASE, DatabaseStack
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.registry import RegistryStack
from h3_infra.stacks.security import SecurityStack
from h3_infra.stacks.storage import StorageStack

CLICKHOUSE_PORT = 9000
"""The native port, as the requirement names it; the pipeline speaks HTTPS, and never this."""

COLLECTOR_TAG = "v0.45.1"
"""The AWS distribution of the OpenTelemetry collector, copied by `infra/publish-image.sh`."""

WORKSPACE = "/opt/dagster/workspace.yaml"
"""Where `infra/Dockerfile` puts it."""

EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a task, whose security group decides who comes
RUN_SCRATCH_GIB = 100
IDLE_TIMEOUT = Duration.seconds(300)
"""Above a minute: the UI's GraphQL subscriptions are quiet for that long."""

HEALTH_PATH = "/health"
HEALTH_INTERVAL = Duration.seconds(30)


class DagsterStack(DeploymentStack):
    """Web servers, daemon, code server, runs; load balancer, firewall, sign-in."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        image_tag: str,
        network: NetworkStack,
        security: SecurityStack,
        registry: RegistryStack,
        storage: StorageStack,
        database: DatabaseStack,
        clickhouse: ClickHouseStack | ClickHouseCloudStack,
    ) -> None:
        super().__init__(scope, config, "dagster", "services and load balancer", stateful=False)
        self.network, self.security = network, security
        self.registry, self.storage, self.database, self.clickhouse = registry, storage, database, clickhouse
        self.roles = security.roles
        self.cluster = self._cluster()
        self.image = self._image(image_tag)
        self.run = self._run_task()
        self.balancer = self._balancer()
        self.code_server = self._code_server()
        self.daemon = self._daemon()
        self.webserver, self.web_targets = self._web("webserver", "operators", config.web.domain_name)
        self.viewer, self.viewer_targets = self._web("viewer", "viewers", config.web.viewers_domain_name)
        self._listeners()
        self._scale()
        self._permissions()
        self.firewall = Firewall(self, "Firewall", config=config, resource_arn=self.balancer.load_balancer_arn)
        RestartAfterRotation(
            self,
            "Restart",
            config=config,
            cluster=self.cluster,
            services=[self.webserver, self.viewer, self.daemon, self.code_server],
            secret=database.secret,
            key=security.key,
        )

    def _cluster(self) -> ecs.Cluster:
        return ecs.Cluster(
            self,
            "Cluster",
            cluster_name=self.config.name,
            vpc=self.network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENHANCED,
            execute_command_configuration=ecs.ExecuteCommandConfiguration(
                kms_key=self.security.key,
                logging=ecs.ExecuteCommandLogging.OVERRIDE,
                log_configuration=ecs.ExecuteCommandLogConfiguration(
                    cloud_watch_log_group=self.storage.exec_logs, cloud_watch_encryption_enabled=True
                ),
            ),
            default_cloud_map_namespace=ecs.CloudMapNamespaceOptions(
                name=f"{self.config.name}.tasks", type=servicediscovery.NamespaceType.DNS_PRIVATE, vpc=self.network.vpc
            ),
        )

    def _image(self, image_tag: str) -> Image:
        loader = self.security.clickhouse_users["loader"]
        optional = {
            "CLICKHOUSE_CLUSTER": self.clickhouse.cluster,
            "CLICKHOUSE_SHARDING": self.clickhouse.sharding,
            "CLICKHOUSE_CA_CERT": self.clickhouse.authority,
        }
        environment = {
            "PORT": str(ports.WEB),
            "CLICKHOUSE_HOST": self.clickhouse.writer,
            "CLICKHOUSE_PORT": str(CLICKHOUSE_PORT),
            "CLICKHOUSE_HTTP_PORT": str(ports.CLICKHOUSE_HTTPS),
            "CLICKHOUSE_SECURE": "1",
            "CLICKHOUSE_DATABASE": self.config.clickhouse.database,
            "CLICKHOUSE_SECRET_ARN": loader.secret_arn,
            **{name: value for name, value in optional.items() if value},
            "AWS_REGION": self.region,
            "S3_BUCKET": self.storage.bucket.bucket_name,
            "UPLOADS_QUEUE_URL": self.storage.queue.queue_url,
            "H3_ALERTS_TOPIC_ARN": self.storage.topic.topic_arn,
            "DAGSTER_PG_HOST": self.database.host,
            "DAGSTER_PG_PORT": str(ports.POSTGRES),
            "DAGSTER_PG_DB": DATABASE,
            "PGSSLMODE": "verify-full",
            "DAGSTER_COMPUTE_LOGS_BUCKET": self.storage.bucket.bucket_name,
            "DAGSTER_CODE_SERVER_HOST": f"code.{self.config.name}.tasks",
            "DAGSTER_CODE_SERVER_PORT": str(ports.CODE_SERVER),
            "H3_LOG_FORMAT": "json",
            "H3_METRICS": "emf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR_ENDPOINT,
        }
        secrets = {
            "CLICKHOUSE_USER": ecs.Secret.from_secrets_manager(loader, "username"),
            "CLICKHOUSE_PASSWORD": ecs.Secret.from_secrets_manager(loader, "password"),
            "DAGSTER_PG_USERNAME": ecs.Secret.from_secrets_manager(self.database.secret, "username"),
            "DAGSTER_PG_PASSWORD": ecs.Secret.from_secrets_manager(self.database.secret, "password"),
        }
        return Image(
            pipeline=ecs.ContainerImage.from_ecr_repository(self.registry.pipeline, image_tag),
            collector=ecs.ContainerImage.from_ecr_repository(self.registry.collector, COLLECTOR_TAG),
            environment=environment,
            secrets=secrets,
            log_group=self.storage.app_logs,
            execution_role=self.roles.execution,
        )

    def _task(
        self,
        name: str,
        role: iam.Role,
        size: FargateSize,
        command: list[str] | None = None,
        environment: Mapping[str, str] | None = None,
        health_check: list[str] | None = None,
        port: int | None = None,
        scratch_gib: int = 21,
    ) -> PipelineTask:
        return PipelineTask(
            self,
            f"{name.capitalize()}Task",
            image=self.image,
            name=name,
            family=f"{self.config.name}-{name}",
            role=role,
            size=size,
            command=command,
            environment=environment,
            health_check=health_check,
            port=port,
            scratch_gib=scratch_gib,
        )

    def _run_task(self) -> PipelineTask:
        return self._task("run", self.roles.run, self.config.pipeline.run, scratch_gib=RUN_SCRATCH_GIB)

    def _service(
        self,
        name: str,
        task: PipelineTask,
        desired: int,
        *,
        singleton: bool = False,
        discovery: ecs.CloudMapOptions | None = None,
        grace: Duration | None = None,
    ) -> ecs.FargateService:
        service = ecs.FargateService(
            self,
            name.capitalize(),
            service_name=name,
            cluster=self.cluster,
            task_definition=task.definition,
            desired_count=desired,
            min_healthy_percent=0 if singleton else 100,
            max_healthy_percent=100 if singleton else 200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            enable_execute_command=True,
            assign_public_ip=False,
            vpc_subnets=self.network.private_subnets,
            security_groups=[self.security.groups.tasks],
            cloud_map_options=discovery,
            health_check_grace_period=grace,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            enable_ecs_managed_tags=True,
            availability_zone_rebalancing=None if singleton else ecs.AvailabilityZoneRebalancing.ENABLED,
        )
        service.node.add_dependency(self._task_policies)
        return service

    def _code_server(self) -> ecs.FargateService:
        port = str(ports.CODE_SERVER)
        task = self._task(
            "code",
            self.roles.code,
            self.config.pipeline.code_server,
            command=["dagster", "api", "grpc", "-h", EVERYWHERE, "-p", port, "-m", "h3_pipeline.definitions"],
            health_check=["dagster", "api", "grpc-health-check", "-p", port],
            port=ports.CODE_SERVER,
        )
        return self._service(
            "code",
            task,
            1,
            singleton=True,
            discovery=ecs.CloudMapOptions(
                name="code", dns_record_type=servicediscovery.DnsRecordType.A, dns_ttl=Duration.seconds(10)
            ),
        )

    def _daemon(self) -> ecs.FargateService:
        task = self._task(
            "daemon",
            self.roles.daemon,
            self.config.pipeline.daemon,
            command=["dagster-daemon", "run", "-w", WORKSPACE],
            environment={"DAGSTER_RUN_TASK_DEFINITION": self.run.definition.task_definition_arn},
            health_check=["dagster-daemon", "liveness-check"],
        )
        # exactly one: two would start the same run twice
        return self._service("daemon", task, 1, singleton=True)

    def _web(self, name: str, people: str, domain_name: str) -> tuple[ecs.FargateService, elb.ApplicationTargetGroup]:
        read_only = people == "viewers"
        command = ["python", "-m", "h3_pipeline.ops.webserver", "--host", EVERYWHERE, "-w", WORKSPACE]
        task = self._task(
            name,
            self.roles.web,
            self.config.web.size,
            command=[*command, "--read-only"] if read_only else command,
            environment={
                # they only ask whether a server answers; all else may publish, and publishers must meet
                "CLICKHOUSE_HOST": self.clickhouse.readers,
                "H3_AUTH_ALB_ARN": self.balancer.load_balancer_arn,
                "DAGSTER_RUN_TASK_DEFINITION": self.run.definition.task_definition_arn,
            },
            port=ports.WEB,
        )
        desired = self.config.pipeline.viewers_desired if read_only else self.config.web.desired
        service = self._service(name, task, desired, grace=Duration.seconds(180))
        targets = elb.ApplicationTargetGroup(
            self,
            f"{name.capitalize()}Targets",
            target_group_name=f"{self.config.name}-{name}",
            vpc=self.network.vpc,
            port=ports.WEB,
            protocol=elb.ApplicationProtocol.HTTP,
            target_type=elb.TargetType.IP,
            targets=[service.load_balancer_target(container_name=name, container_port=ports.WEB)],
            deregistration_delay=Duration.seconds(30),
            health_check=elb.HealthCheck(
                path=HEALTH_PATH,
                protocol=elb.Protocol.HTTP,
                interval=HEALTH_INTERVAL,
                timeout=Duration.seconds(10),
                healthy_threshold_count=2,
                unhealthy_threshold_count=3,
                healthy_http_codes="200",
            ),
        )
        accept(
            targets,
            "inside the VPC, between two security groups; HTTP is what the requirement asks for",
            checkov=["CKV_AWS_378"],
        )
        route53.ARecord(
            self,
            f"{name.capitalize()}Name",
            zone=self._public_zone,
            record_name=domain_name,
            target=route53.RecordTarget.from_alias(route53_targets.LoadBalancerTarget(self.balancer)),
        )
        return service, targets

    def _balancer(self) -> elb.ApplicationLoadBalancer:
        web = self.config.web
        self._public_zone = route53.HostedZone.from_hosted_zone_attributes(
            self, "PublicZone", hosted_zone_id=web.hosted_zone_id, zone_name=web.hosted_zone_name
        )
        balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            load_balancer_name=self.config.name,
            vpc=self.network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="Public" if web.internet_facing else "Private"),
            internet_facing=web.internet_facing,
            security_group=self.security.groups.balancer,
            idle_timeout=IDLE_TIMEOUT,
            drop_invalid_header_fields=True,
            deletion_protection=self.config.keep_data,
        )
        balancer.log_access_logs(self.storage.access_logs, "web")
        if not self.config.keep_data:
            accept(balancer, "a deployment to try things in is torn down whole", checkov=["CKV_AWS_150"])
        self._task_policies = self._execution_policy()
        return balancer

    def _listeners(self) -> None:
        operators = SignIn(
            self, "Operators", config=self.config, people="operators", domain_name=self.config.web.domain_name
        )
        viewers = SignIn(
            self, "Viewers", config=self.config, people="viewers", domain_name=self.config.web.viewers_domain_name
        )
        self.balancer.add_listener(
            "Http",
            port=80,
            protocol=elb.ApplicationProtocol.HTTP,
            open=False,
            default_action=elb.ListenerAction.redirect(protocol="HTTPS", port="443", permanent=True),
        )
        certificate = acm.Certificate.from_certificate_arn(self, "Certificate", self.config.web.certificate_arn)
        self.listener = self.balancer.add_listener(
            "Https",
            port=443,
            protocol=elb.ApplicationProtocol.HTTPS,
            open=False,
            certificates=[certificate],
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            default_action=operators.before(self.web_targets),
        )
        self.listener.add_action(
            "ViewersName",
            priority=10,
            conditions=[elb.ListenerCondition.host_headers([self.config.web.viewers_domain_name])],
            action=viewers.before(self.viewer_targets),
        )

    def _scale(self) -> None:
        web = self.config.web
        count = self.webserver.auto_scale_task_count(min_capacity=web.minimum, max_capacity=web.maximum)
        cooldowns = {
            "scale_out_cooldown": Duration.seconds(web.scale_out_cooldown_seconds),
            "scale_in_cooldown": Duration.seconds(web.scale_in_cooldown_seconds),
        }
        count.scale_on_cpu_utilization("Cpu", target_utilization_percent=web.cpu_target_percent, **cooldowns)
        count.scale_on_memory_utilization("Memory", target_utilization_percent=web.memory_target_percent, **cooldowns)

    def _execution_policy(self) -> iam.Policy:
        secrets = [self.security.clickhouse_users["loader"].secret_arn, self.database.secret.secret_arn]
        repositories = [self.registry.pipeline.repository_arn, self.registry.collector.repository_arn]
        policy = iam.Policy(
            self,
            "ExecutionPolicy",
            roles=[self.roles.execution],
            statements=[
                iam.PolicyStatement(sid="Registry", actions=["ecr:GetAuthorizationToken"], resources=["*"]),
                iam.PolicyStatement(
                    sid="Images",
                    actions=["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                    resources=repositories,
                ),
                iam.PolicyStatement(
                    sid="Logs",
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[self.storage.app_logs.log_group_arn],
                ),
                iam.PolicyStatement(sid="Secrets", actions=["secretsmanager:GetSecretValue"], resources=secrets),
                iam.PolicyStatement(sid="Key", actions=["kms:Decrypt"], resources=[self.security.key.key_arn]),
            ],
        )
        accept(
            policy,
            "a registry's token is not bound to a repository; log streams are below one log group",
            nag=["IAM5[Resource::*]"],
            checkov=["CKV_AWS_107"],
        )
        return policy

    def _permissions(self) -> None:
        """What the tasks' own code may do, besides the bucket."""
        arn = f"arn:{self.partition}"
        tasks = f"{arn}:ecs:{self.region}:{self.account}:task/{self.config.name}/*"
        family = f"{arn}:ecs:{self.region}:{self.account}:task-definition/{self.config.name}-run:*"
        in_cluster = {"ArnEquals": {"ecs:cluster": self.cluster.cluster_arn}}
        stop = iam.PolicyStatement(
            sid="WatchAndStopRuns",
            actions=["ecs:DescribeTasks", "ecs:StopTask"],
            resources=[tasks],
            conditions=in_cluster,
        )
        describe = iam.PolicyStatement(sid="Definitions", actions=["ecs:DescribeTaskDefinition"], resources=["*"])
        start = [
            iam.PolicyStatement(sid="StartRuns", actions=["ecs:RunTask"], resources=[family], conditions=in_cluster),
            iam.PolicyStatement(
                sid="TagRuns",
                actions=["ecs:TagResource"],
                resources=[tasks],
                conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
            ),
            iam.PolicyStatement(
                sid="AsRuns",
                actions=["iam:PassRole"],
                resources=[self.roles.run.role_arn, self.roles.execution.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
            ),
            iam.PolicyStatement(sid="Addresses", actions=["ec2:DescribeNetworkInterfaces"], resources=["*"]),
            iam.PolicyStatement(
                sid="LogsOfRuns", actions=["logs:GetLogEvents"], resources=[self.storage.app_logs.log_group_arn]
            ),
        ]
        loader = iam.PolicyStatement(
            sid="ClickHousePassword",
            actions=["secretsmanager:GetSecretValue"],
            resources=[self.security.clickhouse_users["loader"].secret_arn],
        )
        alert = iam.PolicyStatement(sid="Alerts", actions=["sns:Publish"], resources=[self.storage.topic.topic_arn])
        here = f"{self.region}:{self.account}"
        own_names = [f"{here}:task/{self.config.name}/*", f"{here}:task-definition/{self.config.name}-run:*"]
        own = {
            "Web": (self.roles.web, [stop, describe, loader]),
            "Daemon": (self.roles.daemon, [stop, describe, *start]),
            "Code": (self.roles.code, [loader, alert]),
            "Run": (self.roles.run, [loader, alert]),
        }
        for name, (role, statements) in own.items():
            policy = iam.Policy(self, f"{name}Policy", roles=[role], statements=[*statements, *self._common()])
            accept(
                policy,
                "describing definitions and interfaces, traces and ECS Exec's channels know no resource; the other "
                "stars are this cluster's tasks, one family's revisions, one log group's streams",
                nag=["IAM5[Resource::*]", *(f"IAM5[Resource::arn:<AWS::Partition>:ecs:{own}]" for own in own_names)],
                checkov=["CKV_AWS_111", "CKV_AWS_107"],
            )

    def _common(self) -> list[iam.PolicyStatement]:
        return [
            iam.PolicyStatement(
                sid="Traces",
                actions=[
                    "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords",
                    "xray:GetSamplingRules",
                    "xray:GetSamplingTargets",
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="Exec",
                actions=[
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="ExecAudit",
                actions=["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                resources=[self.storage.exec_logs.log_group_arn],
            ),
            iam.PolicyStatement(sid="ExecLogGroups", actions=["logs:DescribeLogGroups"], resources=["*"]),
            iam.PolicyStatement(sid="ExecKey", actions=["kms:Decrypt"], resources=[self.security.key.key_arn]),
        ]
