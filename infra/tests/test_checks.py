"""What other tools think of the templates. cdk-nag and cdk-preflight (strict) looked at each as it was made."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_s3 as s3
from h3_infra.deployment import check

from tests.synthesis import Assembly, Choice

SCRIPTS = Path(sysconfig.get_path("scripts"))

CFN_LINT_IGNORED = {
    # zones are chosen by the configuration: otherwise synthesis would ask an account for them
    "W3010",
    # the key's policy speaks of the key by *, as every key's policy does
    "W3005",
}

CHECKOV_ACCEPTED = {
    "CKV_AWS_149": "encrypted with the deployment's key, in another stack",
    "CKV_AWS_173": "the function's settings are encrypted with the deployment's key, in another stack",
    "CKV_AWS_158": "log groups are encrypted with the deployment's key, in another stack",
}


DEPLOY_ROLE = Path(__file__).resolve().parents[1] / "deploy-role.yaml"


@pytest.fixture(scope="module")
def templates(assemblies: dict[Choice, Assembly], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every template that differs from the others, for the linters take longest to start."""
    folder = tmp_path_factory.mktemp("templates")
    seen: dict[str, Path] = {}
    for choice in (Choice.DEV, Choice.PROD, Choice.CLOUD):
        for path in sorted(assemblies[choice].folder.glob("*.template.json")):
            seen.setdefault(path.read_text(), folder / f"{choice.value}.{path.name}")
    for text, path in seen.items():
        path.write_text(text)
    # two whole deployments, and what option B has of its own
    assert 16 < len(seen) < 24
    return [*seen.values(), DEPLOY_ROLE]


def test_cfn_lint_has_nothing_to_say(templates: list[Path]) -> None:
    ignored = ["--ignore-checks", *sorted(CFN_LINT_IGNORED), "--"]
    done = subprocess.run(
        [SCRIPTS / "cfn-lint", "--regions", "us-east-1", "--format", "parseable", *ignored, *templates],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_checkov_has_nothing_to_say_that_is_not_accepted(templates: list[Path]) -> None:
    files = [argument for path in templates for argument in ("--file", str(path))]
    done = subprocess.run(
        [
            SCRIPTS / "checkov",
            "--framework",
            "cloudformation",
            "--skip-download",
            "--compact",
            "--quiet",
            "--output",
            "json",
            *files,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 300
    assert report["summary"]["parsing_errors"] == 0
    found = {
        (check["check_id"], check["file_path"], check["resource"], check["check_name"])
        for check in report["results"]["failed_checks"]
        if check["check_id"] not in CHECKOV_ACCEPTED
    }
    assert sorted(found) == []


def test_whatever_is_accepted_says_why(assembly: Assembly) -> None:
    reasons = [
        skipped["comment"]
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert len(reasons) > 10
    assert all(len(reason) > 20 for reason in reasons)


def test_the_checks_would_find_something(tmp_path: Path) -> None:
    """A bucket without anything, and a group that shrinks below nothing: synthesis must fail, and name both."""
    app = App(outdir=str(tmp_path), analytics_reporting=False)
    stack = Stack(app, "careless")
    s3.CfnBucket(stack, "Open")
    autoscaling.CfnAutoScalingGroup(
        stack,
        "Backwards",
        min_size="5",
        max_size="2",
        availability_zones=["us-east-1a"],
        instance_id="i-0123456789abcdef0",
    )
    check(app)
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    report = (tmp_path / "validation-report.json").read_text()
    assert "AwsSolutions-S10" in report
    assert "cdk-preflight" in report
