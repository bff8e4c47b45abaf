"""The workflows that a team's repository runs: what actionlint says, and what they must not hold."""

import json
import subprocess
from pathlib import Path

import yaml
from h3_infra.node import NODE

INFRA = Path(__file__).resolve().parents[1]
WORKFLOWS = INFRA.parent / ".github" / "workflows"


def lint(*paths: Path) -> list[dict]:
    done = subprocess.run(
        [NODE, INFRA / "tests" / "actionlint.mjs", *paths], capture_output=True, text=True, cwd=INFRA, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_actionlint_accepts_them() -> None:
    paths = sorted(WORKFLOWS.glob("*.yml"))
    assert [path.name for path in paths] == ["aws.yml", "deploy.yml"]
    assert lint(*paths) == []


def test_actionlint_would_find_something(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    needs: [b]\n    steps: [{run: x}]\n")
    assert "does not exist" in lint(broken)[0]["message"]


def test_they_hold_no_key_and_deploy_by_environment() -> None:
    deploy = yaml.safe_load((WORKFLOWS / "deploy.yml").read_text())
    assert deploy["permissions"]["id-token"] == "write"
    assert deploy["jobs"]["deploy"]["environment"] == "${{ inputs.environment }}"
    for path in WORKFLOWS.glob("*.yml"):
        assert "secrets." not in path.read_text()
        assert "aws-access-key-id" not in path.read_text()
