"""Who sent a request, as the load balancer that asked them to sign in tells it.

An AWS Application Load Balancer signs what it knows of a user in the header ``x-amzn-oidc-data``: a
JWT whose key is fetched by its id from an address of the region. Anybody who reaches the webserver
by another way can send that header too, so nothing in it counts before the signature, the balancer
that made it, and its age are checked.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import jwt
import urllib3
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from h3_pipeline.settings import Settings

logger = logging.getLogger(__name__)

DATA_HEADER = "x-amzn-oidc-data"
IDENTITY_HEADER = "x-amzn-oidc-identity"

USER = "h3_pipeline.user"
"""Key of the scope of a request under which the user's name stands once it is proved."""

_ALGORITHM = "ES256"
_KEY_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_LEEWAY_SECONDS = 30
_KEY_SECONDS = 5.0
_KEYS_KEPT = 100


class NotProved(Exception):
    """A request does not prove who sent it."""


KeySource = Callable[[str], str]
"""Gives the public key, as PEM, for a key's id; raises `NotProved` where there is none."""


class FetchedKeys:
    """Public keys from the address at which the load balancers of a region show them.

    Args:
        url: The address, without the key's id.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            retries=urllib3.Retry(2, backoff_factor=0.2, redirect=0, status_forcelist=(500, 502, 503, 504)),
            timeout=urllib3.Timeout(_KEY_SECONDS),
        )
        self._lock = threading.Lock()
        self._keys: dict[str, str] = {}

    @classmethod
    def of_region(cls, region: str) -> "FetchedKeys":
        """The keys of the load balancers of an AWS region."""
        return cls(f"https://public-keys.auth.elb.{region}.amazonaws.com")

    def __call__(self, key_id: str) -> str:
        """The key, fetched the first time; a key never changes under its id."""
        with self._lock:
            if key_id in self._keys:
                return self._keys[key_id]
        try:
            answer = self._pool.request("GET", f"{self._url}/{key_id}")
        except urllib3.exceptions.HTTPError as error:
            raise NotProved("the load balancer's keys cannot be fetched") from error
        if answer.status != 200:
            raise NotProved(f"the load balancer has no such key (status {answer.status})")
        key = answer.data.decode("ascii", "replace")
        with self._lock:
            if len(self._keys) >= _KEYS_KEPT:
                self._keys.pop(next(iter(self._keys)))
            self._keys[key_id] = key
        return key


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """The load balancer whose word counts.

    Attributes:
        arn: Its ARN, which it signs itself with.
        keys: Where its public keys are.
    """

    arn: str
    keys: KeySource

    def user_of(self, connection: HTTPConnection) -> str:
        """The name of the user who sent a request.

        Raises:
            NotProved: The request did not come through the load balancer, or its proof is too old.
        """
        token = connection.headers.get(DATA_HEADER)
        if not token:
            raise NotProved("there is no sign-in")
        try:
            header = jwt.get_unverified_header(token)
            key_id = str(header.get("kid", ""))
            # first, so that nobody can make us fetch keys by sending tokens of their own
            if header.get("signer") != self.arn or not _KEY_ID.fullmatch(key_id):
                raise NotProved("the sign-in is another load balancer's")
            claims = jwt.decode(
                token,
                self.keys(key_id),
                algorithms=[_ALGORITHM],
                leeway=_LEEWAY_SECONDS,
                # `exp` stands in the header too, and in the claims of some identity providers only
                options={"verify_aud": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise NotProved("the sign-in is not valid") from error
        self._check_age(header)
        subject = str(claims.get("sub", ""))
        if connection.headers.get(IDENTITY_HEADER, subject) != subject:
            raise NotProved("the sign-in is another user's")
        user = str(claims.get("email") or claims.get("preferred_username") or subject)
        if not user:
            raise NotProved("the sign-in names nobody")
        return user

    @staticmethod
    def _check_age(header: dict[str, object]) -> None:
        """The balancer writes the end of a token's life into its header, which the signature covers."""
        try:
            expires = float(str(header.get("exp")))
        except ValueError:
            raise NotProved("the sign-in does not say how long it is valid") from None
        if not time.time() <= expires + _LEEWAY_SECONDS:
            raise NotProved("the sign-in is too old")


def load_balancer(settings: Settings) -> LoadBalancer | None:
    """The load balancer that the settings name, if they do."""
    if settings.h3_auth_alb_arn is None:
        return None
    keys = FetchedKeys(settings.h3_auth_keys_url) if settings.h3_auth_keys_url else None
    return LoadBalancer(settings.h3_auth_alb_arn, keys or FetchedKeys.of_region(settings.aws_region))


class RequireUser:
    """ASGI middleware: lets through what proves who sent it, and notes the name.

    Args:
        app: What comes behind.
        balancer: Whose word counts.
        open_paths: Paths that need no user, such as the load balancer's own health check.
    """

    def __init__(self, app: ASGIApp, balancer: LoadBalancer, open_paths: frozenset[str]) -> None:
        self._app = app
        self._balancer = balancer
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or refuse it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        try:
            # a key may have to be fetched
            scope[USER] = await run_in_threadpool(self._balancer.user_of, HTTPConnection(scope))
        except NotProved as error:
            logger.warning("refused a request for %s: %s", scope["path"], error)
            await self._refuse(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401, "reason": "sign in through the load balancer"})
            return
        answer = PlainTextResponse("Sign in through the load balancer.\n", status_code=401)
        await answer(scope, receive, send)


def user_of(source: object) -> str | None:
    """The proved name of the user behind a request, as Dagster hands the request on; None if there is none."""
    return source.scope.get(USER) if isinstance(source, HTTPConnection) else None
