"""All stacks of one deployment, put together."""

from dataclasses import dataclass

from aws_cdk import App, Stack, Tags, Validations
from cdk_nag import AwsSolutionsChecks
from cdk_preflight import Preflight

from h3_infra.config import ClickHouseOption, Config
from h3_infra.stacks.clickhouse import ClickHouseStack
from h3_infra.stacks.clickhouse_cloud import ClickHouseCloudStack
from h3_infra.stacks.dagster import DagsterStack
from h3_infra.stacks.database import DatabaseStack
from h3_infra.stacks.network import NetworkStack
from h3_infra.stacks.observability import ObservabilityStack
from h3_infra.stacks.registry import RegistryStack
from h3_infra.stacks.security import SecurityStack
from h3_infra.stacks.storage import StorageStack

FLAGS = (
    # a bucket's access logs by policy instead of an access control list
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy",
    "@aws-cdk/aws-iam:minimizePolicies",
    "@aws-cdk/core:checkSecretUsage",
)
"""CDK's newer ways, the same from the command line and in tests."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The stacks, in the order in which they are deployed."""

    registry: RegistryStack
    network: NetworkStack
    security: SecurityStack
    storage: StorageStack
    database: DatabaseStack
    clickhouse: ClickHouseStack | ClickHouseCloudStack
    dagster: DagsterStack
    observability: ObservabilityStack

    @property
    def stacks(self) -> list[Stack]:
        """All of them."""
        return [getattr(self, name) for name in self.__slots__]


def build(app: App, config: Config, *, image_tag: str) -> Deployment:
    """Add a deployment's stacks to an app.

    Args:
        app: The app.
        config: What the deployment chose.
        image_tag: Tag of the pipeline's image in the registry.
    """
    for flag in FLAGS:
        app.node.set_context(flag, True)
    registry = RegistryStack(app, config)
    network = NetworkStack(app, config)
    security = SecurityStack(app, config, vpc=network.vpc)
    storage = StorageStack(app, config, security=security)
    database = DatabaseStack(app, config, network=network, security=security)
    clickhouse: ClickHouseStack | ClickHouseCloudStack
    if config.clickhouse.option is ClickHouseOption.EC2:
        clickhouse = ClickHouseStack(app, config, network=network, security=security, storage=storage)
    else:
        clickhouse = ClickHouseCloudStack(app, config, network=network, security=security)
    dagster = DagsterStack(
        app,
        config,
        image_tag=image_tag,
        network=network,
        security=security,
        registry=registry,
        storage=storage,
        database=database,
        clickhouse=clickhouse,
    )
    observability = ObservabilityStack(
        app, config, storage=storage, database=database, clickhouse=clickhouse, dagster=dagster
    )
    for key, value in {"project": "h3-pipeline", "environment": config.environment, **config.tags}.items():
        Tags.of(app).add(key, value)
    return Deployment(registry, network, security, storage, database, clickhouse, dagster, observability)


def check(app: App) -> None:
    """Let synthesis fail on what cdk-nag or cdk-preflight find."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    Preflight.apply(app, strict=True)
