"""How we and the warehouse know one another: our login, which may be rotated, and whose certificates we take.

A server that refuses a login says so before it looks at the statement, so the statement may be sent
again with a newer login. That is how a rotation in the middle of a run passes unnoticed.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from typing import Protocol

from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings

LIFETIME_SECONDS = 300.0
"""How long a secret that was read is used before it is read again."""


class AuthenticationCode(IntEnum):
    """ClickHouse's error codes for a login that it does not take."""

    UNKNOWN_USER = 192
    WRONG_PASSWORD = 193
    REQUIRED_PASSWORD = 194
    AUTHENTICATION_FAILED = 516


@dataclass(frozen=True, slots=True)
class Login:
    """A user and its password, which is never shown."""

    user: str
    password: str = field(repr=False)


class Credentials(Protocol):
    """Where a login comes from, and whom it is shown to."""

    @property
    def authority(self) -> str | None:
        """PEM text of the only authority whose certificate a server must have; None takes the system's."""
        ...

    def login(self) -> Login:
        """The login to try first.

        Raises:
            WarehouseError: It cannot be read.
        """
        ...

    def after_refusal(self, refused: Login) -> Login | None:
        """Another login to try, once a server has refused one; None if there is no other.

        Raises:
            WarehouseError: It cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedCredentials:
    """A login that never changes."""

    fixed: Login
    authority: str | None = None

    def login(self) -> Login:
        """That login."""
        return self.fixed

    def after_refusal(self, refused: Login) -> Login | None:  # noqa: ARG002 - there is no other
        """There is no other."""
        return None


class SecretCredentials:
    """A login that is kept in Secrets Manager.

    The secret is a JSON object with ``password`` and perhaps ``username``, as Secrets Manager's rotations
    write it, or the bare password. Other keys, such as ``host``, are left alone: ``CLICKHOUSE_HOST`` says
    where the server is.

    Args:
        arn: The secret's ARN or name.
        region: AWS region.
        user: Login name where the secret has none.
        given: A password that was given already, such as ECS injects at the start of a task. It is used until
            a server refuses it, so that a task reads the secret only if there was a rotation.
        authority: PEM text of the only authority whose certificate a server must have; None takes the system's.
        lifetime_seconds: How long a secret that was read is used before it is read again.
    """

    def __init__(
        self,
        arn: str,
        *,
        region: str,
        user: str,
        given: str = "",
        authority: str | None = None,
        lifetime_seconds: float = LIFETIME_SECONDS,
    ) -> None:
        self.authority = authority
        self._arn = arn
        self._region = region
        self._user = user
        self._lifetime = lifetime_seconds
        self._lock = threading.Lock()
        self._login = Login(user, given) if given else None
        self._until = float("inf")

    def __repr__(self) -> str:
        return f"SecretCredentials({self._arn!r})"

    def login(self) -> Login:
        """The login, read anew if the last reading is too old.

        Raises:
            WarehouseError: The secret cannot be read.
        """
        with self._lock:
            if self._login is None or time.monotonic() >= self._until:
                self._refresh()
            assert self._login is not None
            return self._login

    def after_refusal(self, refused: Login) -> Login | None:
        """The login that the secret holds now; None if it is the one that was refused.

        Raises:
            WarehouseError: The secret cannot be read.
        """
        with self._lock:
            if self._login == refused or self._login is None:  # else another thread has read it already
                self._refresh()
            return None if self._login == refused else self._login

    def _refresh(self) -> None:
        self._login = _login_in(_secret(self._arn, self._region), self._user, self._arn)
        self._until = time.monotonic() + self._lifetime


def credentials(settings: Settings) -> Credentials:
    """Where the login of the settings' warehouse comes from; one object per secret and process."""
    given = settings.clickhouse_password.get_secret_value()
    if settings.clickhouse_secret_arn is None:
        return FixedCredentials(Login(settings.clickhouse_user, given), settings.clickhouse_ca_cert)
    return _shared(
        settings.clickhouse_secret_arn,
        settings.aws_region,
        settings.clickhouse_user,
        given,
        settings.clickhouse_ca_cert,
    )


@cache
def _shared(arn: str, region: str, user: str, given: str, authority: str | None) -> SecretCredentials:
    return SecretCredentials(arn, region=region, user=user, given=given, authority=authority)


def _secret(arn: str, region: str) -> str:
    """The secret's current text."""
    # half a second to import, and only production has a secret
    import boto3.session
    from botocore.client import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=10)
    try:
        client = boto3.session.Session().client("secretsmanager", region_name=region, config=config)
        answer = client.get_secret_value(SecretId=arn)
    except (ClientError, BotoCoreError) as error:
        raise WarehouseError(
            f"CLICKHOUSE_SECRET_ARN: {arn} cannot be read: {' '.join(str(error).split())} Check the name, AWS_REGION, "
            "and that the task's role may do secretsmanager:GetSecretValue."
        ) from None
    if "SecretString" not in answer:
        raise WarehouseError(f"CLICKHOUSE_SECRET_ARN: {arn} holds bytes; it must hold text")
    return str(answer["SecretString"])


def _login_in(secret: str, user: str, arn: str) -> Login:
    try:
        document = json.loads(secret)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return Login(user, secret)
    password = document.get("password")
    if not isinstance(password, str) or not password:
        raise WarehouseError(
            f"CLICKHOUSE_SECRET_ARN: {arn} is a JSON object without a text `password`; "
            'it must be {"username": …, "password": …} or the bare password'
        )
    return Login(str(document.get("username") or user), password)
