"""Production's templates as they were looked at last. A change shows here, in words, before it shows on AWS.

`UPDATE_SNAPSHOTS=1 make infra-test TESTS=tests/test_snapshot.py` takes new ones.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.synthesis import Assembly, Choice

FOLDER = Path(__file__).parent / "snapshots"
STACKS = ("registry", "network", "security", "storage", "database", "clickhouse", "dagster", "observability")

HASH = re.compile(r"[0-9a-f]{64}")


def readable(template: dict[str, Any]) -> str:
    """A template's resources as YAML, without what changes with every file of an asset."""
    resources = {
        name: {key: value for key, value in resource.items() if key != "Metadata"}
        for name, resource in sorted(template["Resources"].items())
        if resource["Type"] != "AWS::CDK::Metadata"
    }
    return HASH.sub("<hash>", yaml.safe_dump(resources, sort_keys=True, width=120, allow_unicode=True))


def inventory(assembly: Assembly) -> str:
    """Which resources each stack has."""
    made = {
        stack: sorted(f"{resource['Type']} {name}" for name, resource in template["Resources"].items())
        for stack, template in assembly.templates.items()
    }
    return yaml.safe_dump(made, sort_keys=True, width=120)


def compare(name: str, text: str) -> None:
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(text)
    assert path.is_file(), f"take {name}: UPDATE_SNAPSHOTS=1"
    assert text == path.read_text()


@pytest.mark.parametrize("stack", STACKS)
def test_production_is_as_it_was(prod: Assembly, stack: str) -> None:
    assert set(prod.templates) == set(STACKS)
    text = readable(prod.templates[stack])
    # the nodes' user data is another's to test; here it would hide the rest
    compare(
        f"{stack}.yaml",
        re.sub(r"(?s)UserData:.*?(?=\n      [A-Z]|\n    [A-Z]|\n  [A-Z]|\n[A-Z])", "UserData: <user data>", text),
    )


@pytest.mark.parametrize("choice", [Choice.DEV, Choice.CLOUD])
def test_the_other_choices_have_the_same_resources_as_before(assemblies: dict, choice: Choice) -> None:
    compare(f"{choice.value}.inventory.yaml", inventory(assemblies[choice]))
