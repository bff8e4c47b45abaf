"""The warehouse's password in Secrets Manager: read once, read again when the server refuses it, shown nowhere."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from h3_pipeline.clickhouse.credentials import FixedCredentials, Login, SecretCredentials, credentials
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import BucketAccess
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.servers.aws import REGION, Aws, aws_services
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server

_numbers = count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[Aws]:
    with aws_services() as aws:
        yield aws


@pytest.fixture
def aws(running: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    running.enter(monkeypatch)
    return running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    with clickhouse_server(tmp_path_factory.mktemp("clickhouse") / "data", password="none yet") as server:
        yield server


class Secret:
    """One secret, which can be rotated."""

    def __init__(self, aws: Aws, content: str) -> None:
        self._client: Any = aws.client("secretsmanager")
        self.arn: str = self._client.create_secret(Name=f"clickhouse-{next(_numbers)}", SecretString=content)["ARN"]

    def becomes(self, content: str) -> None:
        self._client.put_secret_value(SecretId=self.arn, SecretString=content)


@pytest.fixture
def rotate(server: ClickHouseServer, aws: Aws) -> Callable[..., Secret]:
    """Changes the server's password, and the secret with it."""

    def change(password: str, secret: Secret | None = None) -> Secret:
        server.set_password(password)
        content = json.dumps({"username": "default", "password": password, "host": "ignored.example"})
        if secret is None:
            return Secret(aws, content)
        secret.becomes(content)
        return secret

    return change


def settings_of(server: ClickHouseServer, **more: Any) -> Settings:
    return Settings.load(clickhouse_host=server.host, clickhouse_http_port=server.port, aws_region=REGION, **more)


@pytest.mark.parametrize(
    ("content", "login"),
    [
        ('{"username": "loader", "password": "p1"}', Login("loader", "p1")),
        ('{"password": "p1", "host": "elsewhere", "port": 1}', Login("default", "p1")),
        ("p1 is {bare", Login("default", "p1 is {bare")),
        ("12345678", Login("default", "12345678")),
    ],
)
def test_what_a_secret_may_look_like(aws: Aws, content: str, login: Login) -> None:
    found = SecretCredentials(Secret(aws, content).arn, region=REGION, user="default").login()
    assert (found.user, found.password) == (login.user, login.password)


@pytest.mark.parametrize("content", ['{"username": "loader"}', '{"password": ""}', '{"password": ["hush"]}'])
def test_a_secret_without_a_password_says_what_it_must_be(aws: Aws, content: str) -> None:
    secret = Secret(aws, content)
    with pytest.raises(WarehouseError, match=r"without a text `password`") as caught:
        SecretCredentials(secret.arn, region=REGION, user="default").login()
    assert secret.arn in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_secret_that_is_not_there(aws: Aws) -> None:
    with pytest.raises(WarehouseError, match=r"CLICKHOUSE_SECRET_ARN: nowhere cannot be read: .*ResourceNotFound") as e:
        SecretCredentials("nowhere", region=REGION, user="default").login()
    assert "\n" not in str(e.value)


def test_it_is_read_again_only_when_it_is_old_or_refused(aws: Aws) -> None:
    secret = Secret(aws, "one")
    lasting = SecretCredentials(secret.arn, region=REGION, user="u")
    fleeting = SecretCredentials(secret.arn, region=REGION, user="u", lifetime_seconds=0)
    first = lasting.login()
    assert lasting.after_refusal(first) is None  # the secret holds what was refused
    secret.becomes("two")
    assert fleeting.login().password == "two"
    assert lasting.login().password == "one"
    second = lasting.after_refusal(first)
    assert second is not None
    assert second.password == "two"
    secret.becomes("three")
    # another thread that was refused with the first does not read it once more
    assert lasting.after_refusal(first) == second
    assert lasting.login() == second


def test_a_password_that_ecs_injected_is_used_until_it_is_refused(aws: Aws) -> None:
    secret = Secret(aws, "rotated")
    found = SecretCredentials(secret.arn, region=REGION, user="u", given="injected", lifetime_seconds=0)
    injected = found.login()
    assert injected.password == "injected"
    renewed = found.after_refusal(injected)
    assert renewed is not None
    assert renewed.password == "rotated"


def test_without_a_secret_nothing_is_asked_of_aws() -> None:
    found = credentials(Settings.load(clickhouse_user="u", clickhouse_password="p"))
    assert isinstance(found, FixedCredentials)
    assert found.after_refusal(found.login()) is None


def test_a_rotation_between_two_statements_is_not_noticed(
    server: ClickHouseServer, rotate: Callable[..., Secret]
) -> None:
    secret = rotate("first")
    settings = settings_of(server, clickhouse_secret_arn=secret.arn)
    with open_http(host=server.host, port=server.port, secure=False, credentials=credentials(settings)) as engine:
        engine.command("CREATE DATABASE IF NOT EXISTS rotation")
        engine.use("rotation")
        engine.command("CREATE TABLE rotated (n UInt8) ENGINE = MergeTree ORDER BY n")
        rotate("second", secret)
        server.clear_statements()
        engine.command("INSERT INTO rotated SELECT 7")  # not repeatable: it must be sent on exactly once
        assert engine.value("SELECT sum(n) FROM rotated") == 7
        told = [s for s in server.statements() if s.query.startswith("INSERT") or s.exception_code]
        assert [(s.exception_code, s.executed) for s in told] == [(516, False), (0, True)]
        rotate("third", secret)
        assert engine.value("SELECT count() FROM rotated") == 1
    # whoever comes next in this process begins with the newest
    server.clear_statements()
    with open_http(host=server.host, port=server.port, secure=False, credentials=credentials(settings)):
        assert not [s for s in server.statements() if s.exception_code]


def test_a_rotation_before_the_connection_is_not_noticed(
    server: ClickHouseServer, rotate: Callable[..., Secret], tmp_path: Path
) -> None:
    secret = rotate("first")
    settings = settings_of(
        server,
        clickhouse_secret_arn=secret.arn,
        clickhouse_password="stale",
        clickhouse_database="secret_test",
        h3_pipeline_home=tmp_path,
    )
    with open_warehouse(settings, BucketAccess("b")) as warehouse:
        rotate("second", secret)
        assert warehouse.rows_of("none") == 0


def test_a_server_that_takes_neither_login_is_reported_once(
    server: ClickHouseServer, rotate: Callable[..., Secret]
) -> None:
    secret = rotate("first")
    settings = settings_of(server, clickhouse_secret_arn=secret.arn)
    with open_http(host=server.host, port=server.port, secure=False, credentials=credentials(settings)) as engine:
        server.set_password("known to nobody")
        server.clear_statements()
        with pytest.raises(WarehouseError, match="Authentication failed"):
            engine.value("SELECT 1")
        assert len(server.statements()) == 1
    secret.becomes("wrong too")
    again = open_http(host=server.host, port=server.port, secure=False, credentials=credentials(settings))
    with pytest.raises(WarehouseError, match="Authentication failed") as caught, again:
        pass
    assert "\n" not in str(caught.value)
    assert "wrong too" not in str(caught.value)


def test_no_password_in_anything_that_can_be_shown(aws: Aws) -> None:
    secret = Secret(aws, "hunter2")
    settings = Settings.load(clickhouse_host="h", clickhouse_password="hunter2", clickhouse_secret_arn=secret.arn)
    found = credentials(settings)
    shown = f"{settings!r} {settings} {settings.model_dump_json()} {found!r} {found.login()!r}"
    assert "hunter2" not in shown
    assert found.login().password == "hunter2"
