"""A warehouse that speaks HTTPS with a certificate of its own authority: who is let in, and what others are told."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from h3_pipeline.clickhouse.credentials import credentials
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.errors import WarehouseError
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import BucketAccess
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.servers.clickhouse_http import ClickHouseServer, clickhouse_server
from infra.clickhouse.make_certificates import make

PASSWORD = "only for tests"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's own certificate, made as docs/clickhouse-cluster.md says, and another authority."""
    folder = tmp_path_factory.mktemp("certificates")
    make(["localhost"], folder)
    make(["localhost"], folder / "another")
    secret = json.loads((folder / "secret.json").read_text())
    (folder / "server.pem").write_text(secret["certificate"] + secret["private_key"])
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    with clickhouse_server(
        tmp_path_factory.mktemp("warehouse") / "data", password=PASSWORD, certificate=certificates / "server.pem"
    ) as server:
        yield server


@pytest.fixture
def settings(server: ClickHouseServer, certificates: Path) -> Callable[..., Settings]:
    """Settings for the server, with changes."""

    def make_settings(**changes: Any) -> Settings:
        usual = {"clickhouse_host": "localhost", "clickhouse_ca_cert": str(certificates / "ca.pem")}
        rest = {"clickhouse_http_port": server.port, "clickhouse_password": PASSWORD, "clickhouse_secure": True}
        return Settings.load(**{**usual, **rest, **changes})

    return make_settings


def ask(settings: Settings, port: int) -> Any:
    opened = open_http(host=settings.clickhouse_host or "", port=port, secure=True, credentials=credentials(settings))
    with opened as engine:
        return engine.value("SELECT 1 + 1")


def test_a_file_and_its_text_name_the_same_authority(
    server: ClickHouseServer, certificates: Path, settings: Callable[..., Settings]
) -> None:
    text = (certificates / "ca.pem").read_text()
    for given in (str(certificates / "ca.pem"), text):
        made = settings(clickhouse_ca_cert=given)
        assert made.clickhouse_ca_cert == text
        assert ask(made, server.port) == 2


def test_the_warehouse_is_opened_by_the_settings_alone(settings: Callable[..., Settings], tmp_path: Path) -> None:
    made = settings(clickhouse_database="by_https", h3_pipeline_home=tmp_path)
    with open_warehouse(made, BucketAccess("b")) as warehouse:
        assert warehouse.rows_of("none") == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clickhouse_ca_cert": "another/ca.pem"}, "unable to get local issuer certificate"),
        ({"clickhouse_ca_cert": None}, "unable to get local issuer certificate"),
        ({"clickhouse_host": "127.0.0.1"}, "IP address mismatch"),
    ],
    ids=["another authority", "the system's authorities", "another name"],
)
def test_whoever_cannot_prove_who_it_is_gets_no_password_and_is_reported_in_one_line_at_once(
    server: ClickHouseServer,
    certificates: Path,
    settings: Callable[..., Settings],
    caplog: pytest.LogCaptureFixture,
    changes: dict,
    said: str,
) -> None:
    if changes.get("clickhouse_ca_cert"):
        changes = {"clickhouse_ca_cert": str(certificates / changes["clickhouse_ca_cert"])}
    server.clear_statements()
    caplog.set_level(logging.INFO, logger="h3_pipeline")
    with pytest.raises(WarehouseError) as refused:
        ask(settings(**changes), server.port)
    message = str(refused.value)
    assert "cannot prove who it is" in message
    assert said in message
    assert "CLICKHOUSE_CA_CERT" in message
    assert "\n" not in message
    assert PASSWORD not in message
    assert server.statements() == []
    # no patience: it will not be another in half a minute
    assert "trying again" not in caplog.text


def test_the_authority_survives_a_new_login(server: ClickHouseServer, settings: Callable[..., Settings]) -> None:
    made = settings()
    with open_http(host="localhost", port=server.port, secure=True, credentials=credentials(made)) as engine:
        server.set_password("another")
        with pytest.raises(WarehouseError, match="Authentication failed"):
            engine.value("SELECT 1")
        server.set_password(PASSWORD)
        assert engine.value("SELECT 1") == 1
