"""AWS's services on loopback: moto's server, in a thread of the test process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3.session
import pytest
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@dataclass(frozen=True)
class Aws:
    """A running server.

    Attributes:
        url: What every service is behind.
    """

    url: str

    def client(self, service: str) -> Any:
        """A client of one service."""
        return boto3.session.Session().client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="ak",
            aws_secret_access_key="sk",
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes boto3 use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "ak",
            "AWS_SECRET_ACCESS_KEY": "sk",
            "AWS_REGION": REGION,
        }

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make this process use it."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)


@contextmanager
def aws_services() -> Iterator[Aws]:
    """Run a server for as long as the context lasts."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
