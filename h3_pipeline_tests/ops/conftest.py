"""A webserver on an instance of its own, and the load balancer in front of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/h3/50dc6c495c0c9188"


@dataclass
class SigningBalancer:
    """A load balancer that has users sign in: it signs what it knows of them, and shows its public keys.

    Attributes:
        arn: Its ARN.
        keys_url: Where its keys are.
        fetched: Ids of the keys that were asked for.
    """

    arn: str
    keys_url: str
    fetched: list[str] = field(default_factory=list)
    private_keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def new_key(self, key_id: str) -> None:
        """Sign with another key from now on."""
        self.private_keys[key_id] = ec.generate_private_key(ec.SECP256R1())

    def public_key(self, key_id: str) -> bytes | None:
        """PEM of a key."""
        self.fetched.append(key_id)
        key = self.private_keys.get(key_id)
        return key and key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def headers(self, email: str, *, sub: str = "subject-1", age: float = 0.0, **header: Any) -> dict[str, str]:
        """The headers that it adds to a request of a user.

        Args:
            email: The user's.
            sub: The user's id.
            age: Seconds by which the sign-in is too old.
            header: Fields of the JWT's header that differ.
        """
        key_id = header.get("kid") or next(reversed(self.private_keys))
        fields = {"typ": "JWT", "kid": key_id, "signer": self.arn, "iss": "https://idp", "client": "h3"}
        token = jwt.encode(
            {"sub": sub, "email": email, "iss": "https://idp"},
            self.private_keys.get(key_id) or ec.generate_private_key(ec.SECP256R1()),
            algorithm="ES256",
            headers={**fields, "exp": int(time.time() + 120 - age), **header},
        )
        return {"x-amzn-oidc-data": token, "x-amzn-oidc-identity": sub}


@pytest.fixture
def balancer() -> Iterator[SigningBalancer]:
    """A load balancer with one key."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            key = signing.public_key(self.path.removeprefix("/keys/"))
            self.send_response(200 if key else 404)
            self.end_headers()
            self.wfile.write(key or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        signing = SigningBalancer(ARN, f"http://127.0.0.1:{server.server_port}/keys/")
        signing.new_key("11111111-1111-1111-1111-111111111111")
        try:
            yield signing
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def clean_environment() -> Iterator[pytest.MonkeyPatch]:
    """An environment without the project's settings, for the module."""
    from h3_pipeline.settings import Settings

    with pytest.MonkeyPatch.context() as patched:
        for name in [*(name.upper() for name in Settings.model_fields), "DAGSTER_HOME"]:
            if name in os.environ:
                patched.delenv(name)
        yield patched
