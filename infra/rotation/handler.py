"""AWS Lambda function that changes the password of one ClickHouse user, as Secrets Manager's rotation asks it to.

A secret is ``{"username": …, "password": …}``. Secrets Manager calls four steps, each maybe more than once:

* ``createSecret`` makes up a password and keeps it as the version AWSPENDING.
* ``setSecret`` makes the server take exactly two passwords: the current and the pending one.
* ``testSecret`` logs in with the pending one on every server that answers.
* ``finishSecret`` makes the pending version AWSCURRENT, and the current one AWSPREVIOUS.

So a task that started before the rotation keeps working, with the password that it was given, until the next
rotation. `set_password` is one statement that names all passwords that are to hold, ``IDENTIFIED WITH a, b``, rather
than ``RESET AUTHENTICATION METHODS TO NEW`` followed by ``ADD IDENTIFIED``: it can be repeated after any interruption
and on any server, and never leaves the user with one password too few. It carries salted hashes, never a password.

The standard library and the runtime's boto3 suffice. The user `rotator` makes the change, that of its own password too.
"""

import hashlib
import http.client
import json
import logging
import os
import re
import secrets
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
HTTPS_PORT = 8443
TIMEOUT_SECONDS = 5
# users are kept in Keeper; the other servers hear of a change within this
PATIENCE_SECONDS = 15
AUTHENTICATION_FAILED = {192, 193, 194, 516}
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class RotationError(Exception):
    """The step cannot be done; Secrets Manager calls it again later."""


class Unreachable(RotationError):
    """A server does not answer; another may."""


class Refused(RotationError):
    """A server does not take the login."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user and its password, which is never shown."""

    username: str
    password: str = field(repr=False)


def handler(event: Mapping[str, str], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """Do one step.

    Args:
        event: ``SecretId``, ``ClientRequestToken`` and ``Step``, from Secrets Manager.
        context: Lambda's; not used.

    Raises:
        RotationError: The step cannot be done.
    """
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    store = SecretStore(boto3.client("secretsmanager"))
    steps = {"createSecret": create, "setSecret": set_password, "testSecret": try_password, "finishSecret": finish}
    if step not in steps:
        raise RotationError(f"There is no step {step}")
    if store.is_current(arn, token):
        logger.info("%s of %s: version %s is the current one already", step, arn, token)
        return
    steps[step](store, arn, token)
    logger.info("%s of %s: done for version %s", step, arn, token)


class SecretStore:
    """Secrets Manager, as far as a rotation needs it.

    Args:
        client: boto3's client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def is_current(self, arn: str, token: str) -> bool:
        """Whether a version is the current one; the rotation is then over.

        Raises:
            RotationError: Rotation is off, or the version is not one that is being rotated to.
        """
        secret = self._client.describe_secret(SecretId=arn)
        if not secret.get("RotationEnabled"):
            raise RotationError(f"Rotation of {arn} is switched off")
        stages = secret["VersionIdsToStages"].get(token)
        if stages is None:
            raise RotationError(f"{arn} has no version {token}")
        if CURRENT in stages:
            return True
        if PENDING not in stages:
            raise RotationError(f"Version {token} of {arn} is not {PENDING}: another rotation has taken its place")
        return False

    def login(self, arn: str, stage: str, token: str | None = None) -> Login:
        """The login in a version.

        Raises:
            RotationError: There is none, or it is not what this function expects.
        """
        version = {"VersionId": token} if token else {}
        try:
            answer = self._client.get_secret_value(SecretId=arn, VersionStage=stage, **version)
        except self._client.exceptions.ResourceNotFoundException:
            raise RotationError(f"{arn} has no value as {stage}") from None
        try:
            content = json.loads(answer["SecretString"])
            login = Login(content["username"], content["password"])
        except (KeyError, TypeError, ValueError):
            # without the cause: its message may quote the secret
            raise RotationError(f'{arn} is not JSON with "username" and "password"') from None
        if not _USER.fullmatch(login.username):
            raise RotationError(f"The user name in {arn} is not a plain identifier")
        return login

    def value(self, arn: str, stage: str) -> dict[str, Any]:
        """The whole JSON of a version."""
        return json.loads(self._client.get_secret_value(SecretId=arn, VersionStage=stage)["SecretString"])

    def put(self, arn: str, token: str, value: Mapping[str, Any]) -> None:
        """Keep a value as the pending version."""
        self._client.put_secret_value(
            SecretId=arn, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=[PENDING]
        )

    def new_password(self, length: int) -> str:
        """A password that needs no quoting anywhere."""
        return self._client.get_random_password(PasswordLength=length, ExcludePunctuation=True)["RandomPassword"]

    def make_current(self, arn: str, token: str) -> None:
        """Move the stage AWSCURRENT to a version; Secrets Manager makes the one before AWSPREVIOUS."""
        versions = self._client.describe_secret(SecretId=arn)["VersionIdsToStages"]
        before = next((version for version, stages in versions.items() if CURRENT in stages), None)
        remove = {"RemoveFromVersionId": before} if before else {}
        self._client.update_secret_version_stage(SecretId=arn, VersionStage=CURRENT, MoveToVersionId=token, **remove)


def create(store: SecretStore, arn: str, token: str) -> None:
    """Make up the new password, unless an earlier call of this step has."""
    try:
        store.login(arn, PENDING, token)
    except RotationError:
        value = store.value(arn, CURRENT)
        value["password"] = store.new_password(int(os.environ.get("PASSWORD_LENGTH", "32")))
        store.put(arn, token, value)


def set_password(store: SecretStore, arn: str, token: str) -> None:
    """Make the server take the current and the pending password, and no other.

    The one before the current is given up here: whoever still has it has had a whole rotation's time.
    """
    current, pending = store.login(arn, CURRENT), store.login(arn, PENDING, token)
    if pending.username != current.username:
        raise RotationError(f"The pending version of {arn} is for another user than the current one")
    methods = ", ".join(f"sha256_hash BY '{digest}' SALT '{salt}'" for digest, salt in map(_hashed, (current, pending)))
    rotator = store.login(os.environ["ROTATOR_SECRET_ARN"], CURRENT)
    _on_any_server(_servers(store), rotator, f"ALTER USER {current.username} IDENTIFIED WITH {methods}")


def try_password(store: SecretStore, arn: str, token: str) -> None:
    """Log in with the pending password on every server that answers."""
    pending = store.login(arn, PENDING, token)
    reached = 0
    for server in _servers(store):
        try:
            found = _patiently(server, pending, "SELECT currentUser()")
        except Unreachable as error:
            # a server that is being replaced reads the users from Keeper when it starts
            logger.warning("%s", error)
            continue
        if found != pending.username:
            raise RotationError(f"{server.name} took the login of {pending.username} for {found}")
        reached += 1
    if not reached:
        raise Unreachable("No server answers")


def finish(store: SecretStore, arn: str, token: str) -> None:
    """From now on tasks are given the new password."""
    store.make_current(arn, token)


@dataclass(frozen=True, slots=True)
class Server:
    """A server's HTTP interface.

    Attributes:
        name: Host, or host and port.
        authorities: PEM of the authorities to trust; None trusts the system's.
    """

    name: str
    authorities: str | None = field(repr=False)

    def ask(self, login: Login, sql: str) -> str:
        """Run a statement.

        Raises:
            Unreachable: There is no answer.
            Refused: The login is wrong.
            RotationError: The server says no.
        """
        connection = self._connection()
        try:
            headers = {"X-ClickHouse-User": login.username, "X-ClickHouse-Key": login.password}
            connection.request("POST", "/", body=sql.encode(), headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace").strip()
        except ssl.SSLCertVerificationError as error:
            raise RotationError(
                f"{self.name} shows a certificate that is not trusted: {error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.name} does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status == http.client.OK:
            return text
        code = int(answer.headers.get("X-ClickHouse-Exception-Code") or 0)
        if code in AUTHENTICATION_FAILED:
            raise Refused(f"{self.name} does not take the login of {login.username} (code {code})")
        if answer.status in (502, 503, 504):
            raise Unreachable(f"{self.name} is not ready (status {answer.status})")
        # not the server's text: it may quote the statement
        raise RotationError(f"{self.name} refused the statement (status {answer.status}, code {code})")

    def _connection(self) -> http.client.HTTPConnection:
        # a scheme only in tests: passwords are never sent in the open
        parts = urlsplit(self.name if "://" in self.name else f"https://{self.name}")
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_SECONDS)
        context = ssl.create_default_context(cadata=self.authorities)
        return http.client.HTTPSConnection(host, parts.port or HTTPS_PORT, timeout=TIMEOUT_SECONDS, context=context)


def _servers(store: SecretStore) -> Sequence[Server]:
    authorities = None
    if arn := os.environ.get("CLICKHOUSE_CA_SECRET_ARN"):
        authorities = store.value(arn, CURRENT)["ca"]
    names = [name.strip() for name in os.environ["CLICKHOUSE_HOSTS"].split(",") if name.strip()]
    return [Server(name, authorities) for name in names]


def _on_any_server(servers: Sequence[Server], login: Login, sql: str) -> None:
    """Run a statement on the first server that answers; the others hear of it through Keeper."""
    failure: RotationError = Unreachable("CLICKHOUSE_HOSTS names no server")
    for server in servers:
        try:
            server.ask(login, sql)
        except Unreachable as error:
            failure = error
            logger.warning("%s", error)
        else:
            return
    raise failure


def _patiently(server: Server, login: Login, sql: str) -> str:
    """Run a statement with a login that the server may not have heard of yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return server.ask(login, sql)
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _hashed(login: Login) -> tuple[str, str]:
    """A password as ClickHouse keeps it: SHA-256 of password and salt, and the salt."""
    salt = secrets.token_hex(16)
    return hashlib.sha256((login.password + salt).encode()).hexdigest(), salt
