"""The parts of docs/aws.md that come from the app. `UPDATE_SNAPSHOTS=1` writes them anew."""

import os
import re
from pathlib import Path

from h3_infra.costs import lines, table
from h3_infra.picture import mermaid

from h3_pipeline.storage.redelivery import DELIVERIES
from tests.synthesis import Assembly, Choice

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "aws.md"


def compare(name: str, text: str) -> None:
    document = DOCUMENT.read_text()
    block = re.compile(rf"(<!-- generated: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    assert len(block.findall(document)) == 1
    made = block.sub(lambda found: f"{found[1]}{text}{found[2]}", document)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        DOCUMENT.write_text(made)
    assert made == DOCUMENT.read_text()


def endpoints(assembly: Assembly) -> int:
    made = assembly.resources("AWS::EC2::VPCEndpoint").values()
    return sum(each["VpcEndpointType"] == "Interface" for each in made)


def test_the_picture_is_the_apps(prod: Assembly) -> None:
    compare("picture", f"```mermaid\n{mermaid(prod.templates, prod.config.name)}\n```")


def test_the_costs_are_the_configurations(assemblies: dict) -> None:
    for choice in (Choice.DEV, Choice.PROD, Choice.CLOUD):
        assembly = assemblies[choice]
        compare(f"costs {choice.value}", table(assembly.config, endpoints(assembly)))


def test_the_budget_is_above_what_the_deployment_costs_at_rest(assembly: Assembly) -> None:
    total = sum(line.dollars for line in lines(assembly.config, endpoints(assembly)))
    assert 0 < total < assembly.config.alarms.monthly_budget_usd


def test_the_queue_gives_up_as_late_as_the_operations_ask_for() -> None:
    operations = (DOCUMENT.parent / "operations.md").read_text()
    assert f"`maxReceiveCount` of {DELIVERIES} or more" in operations
