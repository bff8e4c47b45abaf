"""What tests do with the emulator: the CDK command line, and boto3."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from h3_infra.node import NODE

from tests.emulator.names import ACCOUNT, REGION

CDK = Path(__file__).resolve().parents[2] / "node_modules" / "aws-cdk" / "bin" / "cdk"
TIMEOUT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Aws:
    """One emulated AWS.

    Attributes:
        url: Where it listens.
        folder: Where the command line runs; there is no `cdk.json`, so that it synthesizes nothing.
    """

    url: str
    folder: Path

    def client(self, service: str) -> Any:
        """A client of one service."""
        return boto3.client(service, region_name=REGION, endpoint_url=self.url, **_credentials())

    @property
    def environment(self) -> dict[str, str]:
        """What makes the AWS SDKs speak to the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            # with an address instead of a name, the SDK of JavaScript would put no bucket into the path
            "AWS_ENDPOINT_URL_S3": self.url.replace("127.0.0.1", "localhost"),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def cdk(self, *arguments: str) -> str:
        """Run the command line; it must succeed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
        done = subprocess.run(
            [NODE, CDK, *arguments, "--no-notices", "--no-color", "--ci"],
            cwd=self.folder,
            env={**environment, **self.environment, "CDK_DISABLE_CLI_TELEMETRY": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{self.log()[-4000:]}"
        return done.stdout

    def log(self) -> str:
        """What the emulator said that is no request."""
        lines = (self.folder / "emulator.log").read_text().splitlines()
        return "\n".join(line for line in lines if not line.startswith("127.0.0.1 - -"))

    def bootstrap(self) -> None:
        """What every account needs once."""
        self.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self, assembly: Path) -> str:
        """Deploy all stacks of an assembly."""
        # without change sets: the emulator takes one stack's for another's, which has the same name
        plainly = ("--method", "direct", "--require-approval", "never", "--concurrency", "1")
        said = self.cdk("deploy", "--app", str(assembly), "--all", *plainly)
        # the command line tries again where the emulator breaks off, and then finds the stack made, half of it
        assert "Traceback" not in self.log(), self.log()[-4000:]
        return said

    def destroy(self, assembly: Path) -> str:
        """Tear all stacks of an assembly down."""
        return self.cdk("destroy", "--app", str(assembly), "--all", "--force")


def _credentials() -> dict[str, str]:
    return {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
