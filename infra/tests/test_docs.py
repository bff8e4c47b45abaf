"""The parts of docs/aws.md that come from the app. `UPDATE_SNAPSHOTS=1` writes them anew."""

import os
import re
import subprocess
import sys
from pathlib import Path

from h3_infra.config import Config
from h3_infra.costs import lines, table
from h3_infra.hosts import certificate_names
from h3_infra.picture import mermaid

from h3_pipeline.storage.redelivery import DELIVERIES
from tests.synthesis import Assembly, Choice

INFRA = Path(__file__).resolve().parents[1]
DOCUMENT = INFRA.parent / "docs" / "aws.md"


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


def requirements() -> list[list[str]]:
    """Rows of the table of requirements."""
    table = DOCUMENT.read_text().partition("## Requirements")[2]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_the_table_of_requirements_names_what_exists() -> None:
    """Every path and every test in it; and no test of a requirement is missing in it."""
    files = [*INFRA.glob("tests/test_*.py"), *(INFRA.parent / "h3_pipeline_tests").rglob("test_*.py")]
    tests = {name: path for path in files for name in re.findall(r"(?m)^def (test_\w+)", path.read_text())}
    rows = requirements()
    assert len(rows) > 30
    named = set()
    for requirement, where, proof, *rest in rows:
        assert requirement
        assert len(rest) == 1, requirement
        for path in re.findall(r"`([^`]+)`", where):
            assert (INFRA / path).exists(), path
        found = set(re.findall(r"`(test_\w+)`", proof))
        assert found, requirement
        assert found <= set(tests), found - set(tests)
        named |= found
    own = {name for name, path in tests.items() if path.name in ("test_requirements.py", "test_production.py")}
    assert own - named == set()


def test_every_stack_has_its_row() -> None:
    stacks = {path.stem for path in (INFRA / "h3_infra" / "stacks").glob("*.py")} - {"__init__", "base"}
    where = " ".join(row[1] for row in requirements())
    assert {stack for stack in stacks if f"stacks/{stack}.py" not in where} == set()


def test_the_names_for_the_certificate_are_printed_as_the_document_says() -> None:
    command = "-m h3_infra.hosts prod"
    assert f"../.venv-infra/bin/python {command}" in DOCUMENT.read_text()
    done = subprocess.run([sys.executable, *command.split()], cwd=INFRA, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ",".join(certificate_names(Config.load("prod")))
