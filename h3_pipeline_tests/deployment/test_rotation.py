"""The rotation's four steps, driven as Secrets Manager drives them, against servers that know who may log in."""

import json
import logging
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws

from h3_pipeline_tests.deployment.clickhouse_node import access_statements
from h3_pipeline_tests.deployment.clickhouse_users import ClusterServer, Directory, Method, cluster
from h3_pipeline_tests.servers.faults import Fault
from infra.clickhouse.user_data import USERS
from infra.rotation import handler

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:rotation"


class Crash(Exception):
    """The function ends here."""


def may_alter() -> dict[str, set[str]]:
    """What sql/access.sql lets the rotator change."""
    grants = [s.removeprefix("GRANT ALTER USER ON ") for s in access_statements() if s.startswith("GRANT ALTER USER")]
    return {"rotator": {user for user, _, role in (g.partition(" TO ") for g in grants) if role == "h3_rotator"}}


@dataclass
class World:
    """Secrets Manager, the servers, and a way to rotate.

    Attributes:
        arns: Secrets by user.
        crash: Called with each step when it is done; may raise.
    """

    client: Any
    directory: Directory
    servers: list[ClusterServer]
    arns: dict[str, str] = field(default_factory=dict)
    crash: Callable[[str], None] = lambda step: None
    calls: list[tuple[str, str]] = field(default_factory=list)

    # moto asks its Lambda for these two

    def get_function(self, arn: str) -> None:
        assert arn == FUNCTION

    def invoke(self, arn: str, qualifier: None, body: str, headers: object, response_headers: object) -> None:
        event = json.loads(body)
        self.step(event["Step"], event["SecretId"], event["ClientRequestToken"])

    def step(self, name: str, secret: str, token: str) -> None:
        self.calls.append((name, token))
        handler.handler({"Step": name, "SecretId": secret, "ClientRequestToken": token}, None)
        self.crash(name)

    def rotate(self, user: str = "loader") -> str:
        """Rotate as a schedule does; gives the new version's token."""
        token, arn = str(uuid4()), self.arns[user]
        # Secrets Manager takes a pending version that is also the current one for an ended rotation; moto does not
        for version, stages in self.client.describe_secret(SecretId=arn)["VersionIdsToStages"].items():
            if {"AWSPENDING", "AWSCURRENT"} <= set(stages):
                self.client.update_secret_version_stage(
                    SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=version
                )
        rules = {"AutomaticallyAfterDays": 30}
        self.client.rotate_secret(
            SecretId=arn, ClientRequestToken=token, RotationLambdaARN=FUNCTION, RotationRules=rules
        )
        return token

    def password(self, stage: str = "AWSCURRENT", user: str = "loader") -> str:
        """The password that a task is given that starts now, or was given before."""
        secret = self.client.get_secret_value(SecretId=self.arns[user], VersionStage=stage)["SecretString"]
        return json.loads(secret)["password"]

    def logs_in(self, password: str, user: str = "loader") -> bool:
        """Whether every server takes a login."""
        login = handler.Login(user, password)
        taken = set()
        for server in self.servers:
            try:
                taken.add(handler.Server(server.url, None).ask(login, "SELECT currentUser()") == user)
            except handler.Refused:
                taken.add(False)
        assert len(taken) == 1
        return taken.pop()

    def statements(self) -> list[str]:
        """Everything that any server was asked, as its query log would have it."""
        return [
            json.dumps([s.query, s.settings, s.parameters]) for server in self.servers for s in server.state.statements
        ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Directory, list[ClusterServer]]]:
    directory = Directory({}, may_alter())
    with cluster(tmp_path_factory.mktemp("clickhouse"), directory) as running:
        yield directory, running


@pytest.fixture
def world(servers: tuple[Directory, list[ClusterServer]], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    directory, running = servers
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    directory.methods = {user: [Method.of(f"first of {user}")] for user in USERS}
    for server in running:
        server.state.faults.clear()
        server.state.statements.clear()
        server.lag(0)
    with mock_aws():
        world = World(boto3.client("secretsmanager"), directory, running)
        for user in USERS:
            content = json.dumps({"username": user, "password": f"first of {user}", "note": "kept"})
            world.arns[user] = world.client.create_secret(Name=f"clickhouse/{user}", SecretString=content)["ARN"]
        monkeypatch.setattr("moto.awslambda.utils.get_backend", lambda *_: world)
        monkeypatch.setenv("ROTATOR_SECRET_ARN", world.arns["rotator"])
        monkeypatch.setenv("CLICKHOUSE_HOSTS", ",".join(server.url for server in running))
        yield world


def test_a_rotation_leaves_the_old_password_valid_for_tasks_that_have_it(world: World) -> None:
    token = world.rotate()

    assert world.calls == [(step, token) for step in STEPS]
    assert world.password("AWSPREVIOUS") == "first of loader"
    assert world.password() != "first of loader"
    assert world.logs_in(world.password())
    assert world.logs_in("first of loader")
    value = json.loads(world.client.get_secret_value(SecretId=world.arns["loader"])["SecretString"])
    assert value["note"] == "kept"


def test_the_rotation_after_that_ends_it(world: World) -> None:
    world.rotate()
    second = world.password()
    world.rotate()
    third = world.password()

    assert not world.logs_in("first of loader")
    assert world.logs_in(second)
    assert world.logs_in(third)
    assert len({"first of loader", second, third}) == 3


@pytest.mark.parametrize("user", USERS)
def test_every_user_with_a_secret_can_be_rotated_the_rotator_too(world: World, user: str) -> None:
    for _ in range(2):
        world.rotate(user)

    assert world.logs_in(world.password(user=user), user)
    others = [other for other in USERS if other != user]
    assert all(world.logs_in(f"first of {other}", other) for other in others)


@pytest.mark.parametrize("crashed", STEPS)
def test_a_crash_after_a_step_is_mended_by_calling_again(world: World, crashed: str) -> None:
    world.rotate()
    current = world.password()

    def crash(step: str) -> None:
        # whatever happens, a task that starts now and one that runs already can log in
        assert world.logs_in(world.password())
        assert world.logs_in(current)
        if step == crashed:
            raise Crash

    world.crash = crash
    world.calls.clear()
    with pytest.raises(Crash):
        world.rotate()
    token = world.calls[0][1]
    world.crash = lambda step: None
    for step in STEPS:
        world.step(step, world.arns["loader"], token)

    assert (
        world.client.describe_secret(SecretId=world.arns["loader"])["VersionIdsToStages"][token].count("AWSCURRENT")
        == 1
    )
    assert world.logs_in(world.password())
    assert world.logs_in(current)
    assert world.password() != current
    assert len(world.directory.methods["loader"]) == 2


@pytest.mark.parametrize("after", [False, True])
def test_an_answer_that_is_lost_is_no_harm(world: World, after: bool) -> None:
    for server in world.servers:
        server.state.faults.add(Fault.reset("ALTER USER", after=after, times=1))
    with pytest.raises(handler.Unreachable):
        world.rotate()
    token = world.calls[0][1]
    assert world.logs_in("first of loader")
    for step in STEPS:
        world.step(step, world.arns["loader"], token)

    assert world.logs_in("first of loader")
    assert world.logs_in(world.password())


def test_every_step_may_be_called_twice(world: World) -> None:
    world.crash = lambda step: handler.handler(
        {"Step": step, "SecretId": world.arns["loader"], "ClientRequestToken": world.calls[-1][1]}, None
    )
    world.rotate()

    assert world.logs_in("first of loader")
    assert world.logs_in(world.password())


def test_a_server_that_is_away_does_not_hold_the_rotation_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    away = "http://127.0.0.1:1"
    monkeypatch.setenv("CLICKHOUSE_HOSTS", f"{away}, {world.servers[1].url}")
    world.rotate()

    assert world.logs_in(world.password())


def test_without_any_server_nothing_becomes_current(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_HOSTS", "http://127.0.0.1:1")
    with pytest.raises(handler.Unreachable, match="does not answer"):
        world.rotate()

    assert world.password() == "first of loader"
    assert world.logs_in("first of loader")


def test_the_test_waits_for_servers_that_hear_of_the_change_later(world: World) -> None:
    world.servers[1].lag(2)
    world.rotate()

    refused = [s for s in world.servers[1].state.statements if s.exception_code == 516]
    assert len(refused) == 2
    assert world.logs_in(world.password())


def test_a_server_that_never_takes_the_new_password_stops_the_rotation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "PATIENCE_SECONDS", 0)
    world.servers[1].lag(1000)
    with pytest.raises(handler.Refused, match=r"does not take the login of loader \(code 516\)"):
        world.rotate()

    assert world.password() == "first of loader"


def test_only_what_sql_access_grants_can_be_changed(world: World) -> None:
    world.arns["admin"] = world.client.create_secret(
        Name="clickhouse/admin", SecretString=json.dumps({"username": "admin", "password": "p"})
    )["ARN"]
    world.directory.methods["admin"] = [Method.of("p")]
    with pytest.raises(handler.RotationError, match=r"refused the statement \(status 403, code 497\)"):
        world.rotate("admin")


def test_no_password_reaches_a_statement_or_a_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.rotate()
    world.servers[0].state.faults.add(Fault.error("ALTER USER", 500, body="echo"))
    world.servers[1].state.faults.add(Fault.error("ALTER USER", 500, body="echo"))
    with pytest.raises(handler.RotationError) as failed:
        world.rotate()
    pending = json.loads(
        world.client.get_secret_value(SecretId=world.arns["loader"], VersionStage="AWSPENDING")["SecretString"]
    )

    told = [
        *world.statements(),
        *(record.getMessage() for record in caplog.records),
        str(failed.value),
        repr(failed.value),
    ]
    assert any("ALTER USER loader IDENTIFIED WITH sha256_hash" in statement for statement in world.statements())
    assert any("finishSecret" in text for text in told)
    for secret in ("first of loader", "first of rotator", world.password(), pending["password"]):
        assert not [text for text in told if secret in text]


def test_the_same_password_is_never_hashed_alike(world: World) -> None:
    world.rotate()
    before = world.directory.methods["loader"][-1]
    world.rotate()

    assert before not in world.directory.methods["loader"]


def test_what_is_not_a_rotation_is_refused(world: World) -> None:
    arn = world.arns["loader"]
    with pytest.raises(handler.RotationError, match="switched off"):
        world.step("createSecret", arn, "t" * 32)
    world.rotate()
    with pytest.raises(handler.RotationError, match="has no version"):
        world.step("createSecret", arn, "t" * 32)
    stale = next(
        v for v, s in world.client.describe_secret(SecretId=arn)["VersionIdsToStages"].items() if "AWSPREVIOUS" in s
    )
    with pytest.raises(handler.RotationError, match="another rotation has taken its place"):
        world.step("finishSecret", arn, stale)
    with pytest.raises(handler.RotationError, match="There is no step dropSecret"):
        world.step("dropSecret", arn, stale)


@pytest.mark.parametrize("content", ["plain", '{"password": "p"}', "[]", '{"username": "a b", "password": "p"}'])
def test_a_secret_of_another_shape_is_refused_without_showing_it(world: World, content: str) -> None:
    world.client.put_secret_value(SecretId=world.arns["rotator"], SecretString=content)
    with pytest.raises(handler.RotationError, match=r"is not (JSON with|a plain identifier)") as refused:
        world.rotate()
    assert content not in str(refused.value)


def test_passwords_go_over_tls_to_a_server_that_is_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def context(cadata: str | None = None) -> ssl.SSLContext:
        seen.append(cadata)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    ca = world.client.create_secret(Name="tls", SecretString=json.dumps({"ca": "PEM"}))["ARN"]
    monkeypatch.setenv("CLICKHOUSE_CA_SECRET_ARN", ca)
    monkeypatch.setattr(handler.ssl, "create_default_context", context)
    # the servers here speak no TLS, so nothing that follows may be sent
    monkeypatch.setenv("CLICKHOUSE_HOSTS", world.servers[0].url.removeprefix("http://"))
    with pytest.raises(handler.Unreachable):
        world.rotate()

    assert seen == ["PEM"]
    assert not world.statements()


def test_the_function_needs_nothing_but_its_runtime() -> None:
    source = Path(handler.__file__).read_text()
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported - set(sys.stdlib_module_names) == {"boto3"}
