"""Where images are: made first, so that there is something to start."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from h3_infra.config import Config
from h3_infra.stacks.base import DeploymentStack

KEPT_IMAGES = 50


class RegistryStack(DeploymentStack):
    """Two repositories whose tags never change and whose images are scanned: the pipeline's, and the collector's.

    The collector's image is copied here by `infra/publish-image.sh`, so that tasks pull from nowhere else.
    """

    def __init__(
        self,
        scope: Construct,
        config: Config,
    ) -> None:
        super().__init__(scope, config, "registry", "images", stateful=True)
        self.pipeline = self._repository("Pipeline", f"{config.name}/pipeline", config)
        self.collector = self._repository("Collector", f"{config.name}/collector", config)

    def _repository(self, construct_id: str, name: str, config: Config) -> ecr.Repository:
        return ecr.Repository(
            self,
            construct_id,
            repository_name=name,
            encryption=ecr.RepositoryEncryption.KMS,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=KEPT_IMAGES)],
            removal_policy=RemovalPolicy.RETAIN if config.keep_data else RemovalPolicy.DESTROY,
        )
