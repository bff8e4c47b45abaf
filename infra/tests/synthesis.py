"""Cloud assemblies of the configurations, as tests look at them."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml
from aws_cdk import App
from h3_infra.config import FOLDER, Config
from h3_infra.deployment import build, check

from tests.authority import certificates
from tests.emulator.names import ACCOUNT, CERTIFICATE, IMAGE, REGION

IMAGE_TAG = "0123abc"

Resource = dict[str, Any]


class Choice(StrEnum):
    """What a team may choose."""

    DEV = "dev"
    PROD = "prod"
    CLOUD = "prod-cloud"
    LARGER = "dev-larger"
    """The first one, some time later, while its first server is lost."""
    SHARDED = "dev-sharded"
    """The first one, with twice as many servers."""
    DEV_CLOUD = "dev-cloud"
    """Option B to try things in, which can be torn down."""
    DEV_CLOUD_LARGER = "dev-cloud-larger"
    """The same some time later."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What synthesis made.

    Attributes:
        config: What it was made from.
        folder: Where it is.
        templates: CloudFormation templates by stack, without the deployment's name: `network`, `dagster`, …
    """

    config: Config
    folder: Path
    templates: dict[str, dict[str, Any]]

    def resources(self, kind: str, stack: str | None = None) -> dict[str, Resource]:
        """Properties of the resources of one type, by logical id; of all stacks, by `stack/logical id`."""
        return {
            logical_id if stack else f"{name}/{logical_id}": resource.get("Properties", {})
            for name, template in self.templates.items()
            if stack in (None, name)
            for logical_id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def only(self, kind: str, stack: str | None = None, **wanted: Any) -> Resource:
        """Properties of the one resource of a type that has certain properties."""
        found = [
            properties
            for properties in self.resources(kind, stack).values()
            if all(properties.get(name) == value for name, value in wanted.items())
        ]
        assert len(found) == 1, f"{len(found)} × {kind} with {wanted}"
        return found[0]

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Statements of all roles' policies, each with the policy's logical id."""
        for logical_id, policy in self.resources("AWS::IAM::Policy").items():
            for statement in policy["PolicyDocument"]["Statement"]:
                yield logical_id, statement


def settings(choice: Choice) -> dict[str, Any]:
    """The shipped settings, with what a team fills in."""
    name = choice.value.split("-")[0]
    made = deepcopy(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))
    made["account"], made["region"] = ACCOUNT, REGION
    made["web"]["certificate_arn"] = CERTIFICATE
    made["clickhouse"]["servers"]["ami_id"] = IMAGE
    if name == "dev":
        made["clickhouse"]["servers"]["certificate_authority"] = str(certificates() / "ca.pem")
    if choice in (Choice.CLOUD, Choice.DEV_CLOUD, Choice.DEV_CLOUD_LARGER):
        made["clickhouse"] |= {"option": "B", "cloud": settings(Choice.PROD)["clickhouse"]["cloud"]}
    if choice in (Choice.LARGER, Choice.DEV_CLOUD_LARGER):
        made["web"] |= {"size": {"vcpu": 2, "memory_gib": 8}, "desired": 4}
        made["database"]["storage_gib"] *= 2
    if choice is Choice.LARGER:
        made["clickhouse"]["servers"]["writer"] = 2
    if choice is Choice.SHARDED:
        made["clickhouse"]["servers"]["shards"] = 2
    return made


def synthesize(choice: Choice, folder: Path) -> Assembly:
    """Make the assembly of a choice; cdk-nag and cdk-preflight look at it as they do for a team."""
    config = Config.parse(settings(choice), choice.value)
    app = App(outdir=str(folder), analytics_reporting=False)
    build(app, config, image_tag=IMAGE_TAG)
    check(app)
    made = app.synth()
    templates = {
        stack.stack_name.removeprefix(f"{config.name}-"): json.loads(Path(stack.template_full_path).read_text())
        for stack in made.stacks
    }
    return Assembly(config, folder, templates)
