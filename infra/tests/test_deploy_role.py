"""The role of the workflow, made in the emulator: bound to one environment of one repository."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import yaml

from tests.emulator.client import Aws

INFRA = Path(__file__).resolve().parents[1]
TEMPLATE = INFRA / "deploy-role.yaml"


def test_it_trusts_one_environment_of_one_repository(emulator: Aws) -> None:
    emulator.client("cloudformation").create_stack(
        StackName="h3-prod-deploy",
        TemplateBody=TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[
            {"ParameterKey": "Environment", "ParameterValue": "prod"},
            {"ParameterKey": "Repository", "ParameterValue": "trips/pipeline"},
            {
                "ParameterKey": "OidcProviderArn",
                "ParameterValue": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
            },
        ],
    )
    iam = emulator.client("iam")
    role = iam.get_role(RoleName="h3-prod-deploy")["Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:trips/pipeline:environment:prod",
    }
    policy = iam.get_role_policy(RoleName="h3-prod-deploy", PolicyName="deploy")["PolicyDocument"]
    # from a stack, moto keeps it as text
    policy = yaml.safe_load(unquote(policy)) if isinstance(policy, str) else policy
    wide = {each["Action"] for each in policy["Statement"] if each["Resource"] == "*"}
    assert wide == {"ecr:GetAuthorizationToken"}
    for each in policy["Statement"]:
        assert "*" not in json.dumps(each["Action"])


def test_the_workflow_assumes_the_role_that_the_template_makes() -> None:
    workflow = yaml.safe_load((INFRA.parent / ".github" / "workflows" / "deploy.yml").read_text())
    steps = workflow["jobs"]["deploy"]["steps"]
    (assumed,) = [each["with"]["role-to-assume"] for each in steps if "role-to-assume" in each.get("with", {})]
    (made,) = re.findall(r"RoleName: !Sub (\S+)", TEMPLATE.read_text())
    assert assumed.rpartition("/")[2].replace("${{ inputs.environment }}", "${Environment}") == made
