"""What an operator sees and is told: alarms, dashboard, budget, trace groups."""

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_xray as xray
from constructs import Construct

from h3_infra.config import Config
from h3_infra.constructs.alarms import ABOVE, AT_LEAST, BELOW, SILENCE_IS_BAD, Alarms, metric
from h3_infra.metric_names import node_metric, pipeline_metric
from h3_infra.stacks.base import DeploymentStack
from h3_infra.stacks.clickhouse import ClickHouseStack
from h3_infra.stacks.clickhouse_cloud import ClickHouseCloudStack
from h3_infra.stacks.dagster import DagsterStack
from h3_infra.stacks.database import DatabaseStack
from h3_infra.stacks.storage import StorageStack
from h3_pipeline.storage.redelivery import DELIVERIES
from h3_pipeline.telemetry import metric_names as names

BUDGET_PERCENT = (80, 100)
SECONDS_PER_HOUR = 3600
GIB = 1024**3
CHART_WIDTH = 8


class ObservabilityStack(DeploymentStack):
    """Everything that watches, apart from what it watches."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        *,
        storage: StorageStack,
        database: DatabaseStack,
        clickhouse: ClickHouseStack | ClickHouseCloudStack,
        dagster: DagsterStack,
    ) -> None:
        super().__init__(scope, config, "observability", "alarms, dashboard, budget", stateful=False)
        self.storage, self.database, self.clickhouse, self.dagster = storage, database, clickhouse, dagster
        self.alarms = Alarms(self, "Alarms", prefix=config.name, topic=storage.topic)
        self.charts: list[list[cloudwatch.IWidget]] = []
        self._services()
        self._balancer()
        self._pipeline()
        self._database()
        if isinstance(clickhouse, ClickHouseStack):
            self._servers(clickhouse)
        self._dashboard()
        self._budget()
        self._traces()

    def _services(self) -> None:
        limits = self.config.alarms
        services = {
            "webserver": self.dagster.webserver,
            "viewer": self.dagster.viewer,
            "daemon": self.dagster.daemon,
            "code": self.dagster.code_server,
        }

        def of(service: ecs.FargateService, namespace: str, name: str, statistic: str, label: str) -> cloudwatch.Metric:
            dimensions = {"ClusterName": self.dagster.cluster.cluster_name, "ServiceName": service.service_name}
            return metric(namespace, name, dimensions, statistic, label=label)

        cpu = {n: of(s, "AWS/ECS", "CPUUtilization", "Average", n) for n, s in services.items()}
        memory = {n: of(s, "AWS/ECS", "MemoryUtilization", "Average", n) for n, s in services.items()}
        running = {n: of(s, "ECS/ContainerInsights", "RunningTaskCount", "Minimum", n) for n, s in services.items()}
        for name in services:
            self.alarms.add(
                f"{name}-cpu",
                cpu[name],
                ABOVE,
                limits.cpu_percent,
                description=f"The service {name} uses more than {limits.cpu_percent} % of its CPU",
            )
            self.alarms.add(
                f"{name}-memory",
                memory[name],
                ABOVE,
                limits.memory_percent,
                description=f"The service {name} uses more than {limits.memory_percent} % of its memory",
            )
            least = self.config.web.minimum if name == "webserver" else 1
            self.alarms.add(
                f"{name}-tasks",
                running[name],
                BELOW,
                least,
                description=f"The service {name} has fewer than {least} running tasks",
                silence=SILENCE_IS_BAD,
            )
        self._chart_row(("ECS: CPU, %", cpu), ("ECS: memory, %", memory), ("ECS: running tasks", running))

    def _balancer(self) -> None:
        limits = self.config.alarms
        balancer = self.dagster.balancer.load_balancer_full_name

        def of(name: str, statistic: str) -> cloudwatch.Metric:
            return metric("AWS/ApplicationELB", name, {"LoadBalancer": balancer}, statistic, label=name)

        requests, latency = of("RequestCount", "Sum"), of("TargetResponseTime", "p99")
        ours, targets = of("HTTPCode_ELB_5XX_Count", "Sum"), of("HTTPCode_Target_5XX_Count", "Sum")
        share = cloudwatch.MathExpression(
            expression="IF(requests > 0, 100 * (FILL(ours, 0) + FILL(targets, 0)) / requests, 0)",
            using_metrics={"requests": requests, "ours": ours, "targets": targets},
            label="5xx, %",
            period=requests.period,
        )
        self.alarms.add(
            "error-rate",
            share,
            ABOVE,
            limits.error_percent,
            description=f"More than {limits.error_percent:g} % of the requests are answered 5xx",
        )
        self.alarms.add(
            "latency",
            latency,
            ABOVE,
            limits.latency_seconds,
            description=f"One request in a hundred waits longer than {limits.latency_seconds:g} s",
        )
        for name, group in (("webserver", self.dagster.web_targets), ("viewer", self.dagster.viewer_targets)):
            self.alarms.add(
                f"{name}-unhealthy",
                self._target_metric(group, "UnHealthyHostCount", "Maximum"),
                AT_LEAST,
                1,
                description=f"A task of {name} does not answer /health",
            )
        self._chart_row(
            ("ALB: requests", {"requests": requests}),
            ("ALB: latency, s", {"p99": latency, "p50": of("TargetResponseTime", "p50")}),
            (
                "ALB: errors",
                {"5xx, %": share, "balancer": ours, "targets": targets, "4xx": of("HTTPCode_Target_4XX_Count", "Sum")},
            ),
        )

    def _target_metric(self, group: elb.ApplicationTargetGroup, name: str, statistic: str) -> cloudwatch.Metric:
        dimensions = {
            "LoadBalancer": self.dagster.balancer.load_balancer_full_name,
            "TargetGroup": group.target_group_full_name,
        }
        return metric("AWS/ApplicationELB", name, dimensions, statistic)

    def _pipeline(self) -> None:
        limits = self.config.alarms

        def queue(name: str, queue_name: str, statistic: str) -> cloudwatch.Metric:
            return metric("AWS/SQS", name, {"QueueName": queue_name}, statistic, label=name)

        dead = queue("ApproximateNumberOfMessagesVisible", self.storage.dead_letters.queue_name, "Maximum")
        waiting = queue("ApproximateNumberOfMessagesVisible", self.storage.queue.queue_name, "Maximum")
        oldest = queue("ApproximateAgeOfOldestMessage", self.storage.queue.queue_name, "Maximum")
        self.alarms.add(
            "dead-letters",
            dead,
            AT_LEAST,
            1,
            periods=1,
            description=f"An upload's event was given up after {DELIVERIES} tries: see the dead-letter queue",
        )
        self.alarms.add("uploads-wait", oldest, ABOVE, 3600, description="An upload has waited for more than an hour")
        failures = pipeline_metric(names.RUNS_FAILED, minutes=5)
        self.alarms.add("run-failures", failures, AT_LEAST, 1, periods=1, description="A run has failed")
        self.alarms.add(
            "daemon-silent",
            pipeline_metric(names.DAEMON_SILENCE),
            ABOVE,
            300,
            description="Dagster's daemon has not been heard of for five minutes: no sensor, schedule or run starts",
            silence=SILENCE_IS_BAD,
        )
        self.alarms.add(
            "backup-age",
            pipeline_metric(names.BACKUP_AGE, minutes=60),
            ABOVE,
            limits.backup_age_hours * SECONDS_PER_HOUR,
            periods=1,
            description=f"The newest good backup is older than {limits.backup_age_hours} hours",
        )
        self._chart_row(
            ("Uploads: events waiting", {"waiting": waiting, "dead": dead}),
            ("Uploads: oldest event, s", {"oldest": oldest}),
            ("Runs that failed", {"failed": failures}),
        )
        self._chart_row(
            ("Rows", _totals(names.ROWS_IN, names.ROWS_LOADED, names.ROWS_REJECTED)),
            ("Uploads", _totals(names.UPLOADS_LOADED, names.UPLOADS_REFUSED, names.CHECK_FAILURES)),
            ("Age of an upload when it is loaded, s", _totals(names.UPLOAD_AGE)),
        )
        self._chart_row(
            ("Waiting: files and runs", _totals(names.FILES_WAITING, names.QUEUE_DEPTH)),
            ("Silence of the daemon, s", _totals(names.DAEMON_SILENCE)),
            ("Age of the newest backup, s", _totals(names.BACKUP_AGE)),
        )

    def _database(self) -> None:
        dimensions = {"DBInstanceIdentifier": self.database.instance.ref}

        def of(name: str) -> cloudwatch.Metric:
            return metric("AWS/RDS", name, dimensions, "Average", label=name)

        free, cpu = of("FreeStorageSpace"), of("CPUUtilization")
        limit = 0.2 * self.config.database.storage_gib * GIB
        self.alarms.add(
            "database-storage", free, BELOW, limit, description="PostgreSQL has less than 20 % of its storage free"
        )
        self.alarms.add(
            "database-cpu",
            cpu,
            ABOVE,
            self.config.alarms.cpu_percent,
            description=f"PostgreSQL uses more than {self.config.alarms.cpu_percent} % of its CPU",
        )
        self._chart_row(
            ("PostgreSQL: CPU, %", {"cpu": cpu}),
            ("PostgreSQL: connections", {"connections": of("DatabaseConnections")}),
            ("PostgreSQL: free storage, bytes", {"free": free}),
        )

    def _servers(self, stack: ClickHouseStack) -> None:
        limits = self.config.alarms
        servers = stack.settings.servers

        def each(name: str, statistic: str, hosts: tuple[str, ...] = servers) -> dict[str, cloudwatch.Metric]:
            return {host.split(".")[0]: node_metric(name, statistic, stack.settings, host) for host in hosts}

        free = each("DiskFreePercent", "Minimum")
        lag = each("ReplicationLagSeconds", "Maximum")
        keeper = each("KeeperReachable", "Minimum")
        for node in free:
            self.alarms.add(
                f"{node}-disk",
                free[node],
                BELOW,
                limits.disk_free_percent,
                description=f"ClickHouse on {node} has less than {limits.disk_free_percent} % of its disk free",
            )
            self.alarms.add(
                f"{node}-replication",
                lag[node],
                ABOVE,
                limits.replication_lag_seconds,
                description=f"{node} is more than {limits.replication_lag_seconds} s behind the other replicas",
            )
            self.alarms.add(
                f"{node}-away",
                node_metric("KeeperReachable", "SampleCount", stack.settings, _host(servers, node)),
                BELOW,
                1,
                description=f"{node} has said nothing for five minutes",
                silence=SILENCE_IS_BAD,
            )
        reachable = cloudwatch.MathExpression(
            expression=f"MIN([{', '.join(f'k{n}' for n in range(len(keeper)))}])",
            using_metrics={f"k{n}": watched for n, watched in enumerate(keeper.values())},
            label="reachable",
            period=next(iter(keeper.values())).period,
        )
        self.alarms.add(
            "keeper-quorum",
            reachable,
            BELOW,
            1,
            description="A server reaches no Keeper quorum: its tables are read-only",
            silence=SILENCE_IS_BAD,
        )
        own_hosts = stack.keepers and each("KeeperSyncedFollowers", "Maximum", stack.settings.keepers)
        if own_hosts:
            followers = cloudwatch.MathExpression(
                expression=f"MAX([{', '.join(f'k{n}' for n in range(len(own_hosts)))}])",
                using_metrics={f"k{n}": watched for n, watched in enumerate(own_hosts.values())},
                label="synced followers",
                period=next(iter(own_hosts.values())).period,
            )
            wanted = len(own_hosts) - 1
            self.alarms.add(
                "keeper-lost",
                followers,
                BELOW,
                wanted,
                description=f"Fewer than {wanted} Keepers follow their leader: one more lost, and tables are read-only",
                silence=SILENCE_IS_BAD,
            )
        self._chart_row(
            ("ClickHouse: queries", each("QueryCount", "Sum")),
            ("ClickHouse: query duration p95, ms", each("QueryDurationP95", "Maximum")),
            ("ClickHouse: disk free, %", free),
        )
        self._chart_row(
            ("ClickHouse: failed queries", each("FailedQueryCount", "Sum")),
            ("ClickHouse: replication lag, s", lag),
            ("ClickHouse: Keeper reachable", keeper),
        )

    def _chart_row(self, *charts: tuple[str, dict[str, cloudwatch.IMetric]]) -> None:
        self.charts.append(
            [
                cloudwatch.GraphWidget(title=title, left=list(metrics.values()), width=CHART_WIDTH)
                for title, metrics in charts
            ]
        )

    def _dashboard(self) -> None:
        status = cloudwatch.AlarmStatusWidget(title="Alarms", alarms=self.alarms.all, width=3 * CHART_WIDTH, height=4)
        self.dashboard = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=self.config.name, widgets=[[status], *self.charts]
        )

    def _budget(self) -> None:
        subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=self.storage.topic.topic_arn)
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=self.config.name,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=self.config.alarms.monthly_budget_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:environment${self.config.environment}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for percent, kind in zip(BUDGET_PERCENT, ("ACTUAL", "FORECASTED"), strict=True)
            ],
        )

    def _traces(self) -> None:
        xray.CfnGroup(
            self,
            "TracesOfRuns",
            group_name=f"{self.config.name}-runs",
            filter_expression='service(id(name: "h3-pipeline-run"))',
        )
        xray.CfnGroup(
            self,
            "SlowPages",
            group_name=f"{self.config.name}-slow-pages",
            filter_expression=(
                f'service(id(name: "h3-pipeline-webserver")) AND responsetime > {self.config.alarms.latency_seconds:g}'
            ),
        )


def _host(hosts: tuple[str, ...], node: str) -> str:
    return next(host for host in hosts if host.startswith(f"{node}."))


def _totals(*published: names.Metric) -> dict[str, cloudwatch.IMetric]:
    return {each.name: pipeline_metric(each, minutes=5) for each in published}
