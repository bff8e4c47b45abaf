"""What all stacks have in common."""

from typing import Any

from aws_cdk import Environment, Stack
from constructs import Construct

from h3_infra.config import Config


class DeploymentStack(Stack):
    """A stack of one deployment.

    Args:
        scope: The app.
        config: What the deployment chose.
        name: The stack's name, after the deployment's.
        description: What is in it.
        stateful: Whether it holds what cannot be made again; such a stack is protected where data is kept.
        options: Options of `Stack`.
    """

    def __init__(
        self, scope: Construct, config: Config, name: str, description: str, *, stateful: bool, **options: Any
    ) -> None:
        self._zones = config.zones
        super().__init__(
            scope,
            f"{config.name}-{name}",
            stack_name=f"{config.name}-{name}",
            description=f"h3_pipeline {config.environment}: {description}",
            env=Environment(account=config.account, region=config.region),
            termination_protection=stateful and config.keep_data,
            **options,
        )
        self.config = config

    @property
    def availability_zones(self) -> list[str]:
        """The configuration's: otherwise synthesis would ask AWS for them."""
        return self._zones
