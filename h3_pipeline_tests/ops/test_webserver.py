"""The webserver: a true health page, users proved by the load balancer, viewers who can change nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
import uvicorn
from dagster import DagsterInstance
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from h3_pipeline.ops import webserver
from h3_pipeline.ops.webserver import ProxiedProcessContext, main
from h3_pipeline.settings import Settings
from h3_pipeline_tests.ops.conftest import SigningBalancer

DEFINITIONS = """
import dagster as dg

@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def thing(): ...

@dg.op
def work(): ...

@dg.job
def a_job():
    work()

defs = dg.Definitions(assets=[thing], jobs=[a_job])
"""
DAGSTER_YAML = """
telemetry: {enabled: false}
run_coordinator: {module: h3_pipeline.ops.run_coordinator, class: AttributingRunCoordinator}
"""
LAUNCH = """
mutation Launch($tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    selector: {jobName: "a_job", repositoryLocationName: "here", repositoryName: "__repository__"},
    executionMetadata: {tags: $tags}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId tags { key value } } }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
BACKFILL = """
mutation {
  launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["thing"]}], partitionNames: ["a", "b"]}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Client:
    """Talks to a webserver."""

    port: int

    def __call__(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", json: Any = None
    ) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, json=json, redirect=False, timeout=60
        )


@contextmanager
def serving(app: Any) -> Iterator[Client]:
    """Run an application as production does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Site:
    """A workspace with one job, and webservers on it."""

    folder: Path
    instance: DagsterInstance
    context: ProxiedProcessContext

    @contextmanager
    def client(self, *, read_only: bool = False, **settings: Any) -> Iterator[Client]:
        """A client of a webserver with these settings."""
        loaded = Settings.load(**settings)
        context = self.context
        context._read_only = read_only
        app = webserver.PipelineWebserver(
            context, webserver.health_check(self.instance, loaded), webserver.load_balancer(loaded)
        ).create_asgi_app()
        with serving(app) as client:
            yield client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, clean_environment: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "dagster.yaml").write_text(DAGSTER_YAML)
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "workspace.yaml").write_text(
        f"load_from:\n  - python_file: {{relative_path: {folder}/definitions.py, location_name: here}}\n"
    )
    clean_environment.setenv("DAGSTER_HOME", str(folder))
    with ExitStack() as stack:
        instance = stack.enter_context(DagsterInstance.get())
        context = stack.enter_context(webserver.process_context(instance, [folder / "workspace.yaml"], read_only=False))
        yield Site(folder, instance, context)


def ask(client: Client, query: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
    answer = client("/graphql", headers, "POST", {"query": query, "variables": variables})
    assert answer.status == 200, answer.data
    return answer.json()["data"]


def launched_tags(client: Client, headers: dict[str, str] | None = None, **tags: str) -> dict[str, str]:
    wanted = [{"key": key, "value": value} for key, value in tags.items()]
    result = ask(client, LAUNCH, headers, tags=wanted)["launchRun"]
    assert result["__typename"] == "LaunchRunSuccess", result
    return {tag["key"]: tag["value"] for tag in result["run"]["tags"]}


def test_health(site: Site) -> None:
    with site.client() as client:
        answer = client("/health")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        document = answer.json()
        assert document["instance_storage"]["status"] == "ok"
        assert document["daemon"] == {"status": "unknown", "heartbeat_age_seconds": None}  # none has run here
        assert document["warehouse"] == {"status": "embedded"}
        assert client("/health", method="HEAD").status == 200
        assert client("/health", method="POST").status == 405
        assert client("/healthy").data.decode() != answer.data.decode()  # Dagster's page, which answers everything else


def test_health_without_the_storage(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    home = site.folder / "history"
    hidden = home.with_name("hidden")
    with site.client() as client:
        home.rename(hidden)
        try:
            # where SQLite's file was, it would make a new one
            home.write_text("")
            answer = client("/health")
        finally:
            home.unlink()
            hidden.rename(home)
        assert answer.status == 503
        assert answer.json()["instance_storage"] == {"status": "down", "problem": "it cannot be reached"}
        assert str(site.folder) not in answer.data.decode()


def test_the_ui_and_graphql_are_dagsters(site: Site) -> None:
    with site.client() as client:
        assert "__NEXT_DATA__" in client("/").data.decode()
        assert ask(client, "{ version }")["version"]


def test_without_a_balancer_its_headers_mean_nothing(site: Site, balancer: SigningBalancer) -> None:
    with site.client() as client:
        assert "user" not in launched_tags(client, balancer.headers("mallory@example.org"))


def test_a_run_is_tagged_with_the_user_who_launched_it(site: Site, balancer: SigningBalancer) -> None:
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        tags = launched_tags(client, balancer.headers("ada@example.org"), user="somebody else", reason="backfill")
        assert tags["user"] == "ada@example.org"
        assert tags["reason"] == "backfill"
        assert launched_tags(client, balancer.headers("", sub="id-7"))["user"] == "id-7"
        assert len(balancer.fetched) == 1  # a key is fetched once


def test_a_backfill_is_tagged_with_the_user(site: Site, balancer: SigningBalancer) -> None:
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        result = ask(client, BACKFILL, balancer.headers("ada@example.org"))["launchPartitionBackfill"]
    assert result["__typename"] == "LaunchBackfillSuccess", result
    backfill = site.instance.get_backfill(result["backfillId"])
    assert backfill
    assert backfill.tags["user"] == "ada@example.org"


def test_nobody_gets_in_without_a_sign_in(site: Site, balancer: SigningBalancer) -> None:
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        for path in ("/", "/graphql?query={version}", "/server_info", "/health/", "/static/x"):
            assert client(path).status == 401, path
        assert client("/health").status == 200  # the balancer's own probes carry no user
        url, protocols = f"ws://127.0.0.1:{client.port}/graphql", [Subprotocol("graphql-ws")]
        with pytest.raises(InvalidStatus, match="403"), connect(url, subprotocols=protocols):
            pass
        headers = balancer.headers("ada@example.org")
        with connect(url, subprotocols=protocols, additional_headers=headers) as connection:
            connection.send(json.dumps({"type": "connection_init"}))
            assert json.loads(connection.recv()) == {"type": "connection_ack"}


def test_forged_sign_ins(site: Site, balancer: SigningBalancer) -> None:
    other = balancer.arn.replace("app/h3", "app/other")
    genuine = balancer.headers("ada@example.org")
    head, body, signature = genuine["x-amzn-oidc-data"].split(".")
    forged = {
        "too old": balancer.headers("eve@example.org", age=3600),
        "of another balancer": balancer.headers("eve@example.org", signer=other),
        "with a key that the balancer does not have": balancer.headers("eve@example.org", kid="22222222-2222"),
        "with a key's id that is a path": balancer.headers("eve@example.org", kid="../../secret"),
        "with somebody else's identity": {**genuine, "x-amzn-oidc-identity": "subject-2"},
        "without a signature": {**genuine, "x-amzn-oidc-data": f"{head}.{body}."},
        "with another body": {**genuine, "x-amzn-oidc-data": f"{head}.{head}.{signature}"},
        "that is no token": {**genuine, "x-amzn-oidc-data": "a.b"},
        "that says nothing": {**genuine, "x-amzn-oidc-data": ""},
        "without an end": balancer.headers("eve@example.org", exp="never"),
    }
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        assert client("/server_info", genuine).status == 200
        for name, headers in forged.items():
            assert client("/server_info", headers).status == 401, name
    assert set(balancer.fetched) == {"11111111-1111-1111-1111-111111111111", "22222222-2222"}


def test_the_balancers_own_padding_is_understood(site: Site, balancer: SigningBalancer) -> None:
    """An ALB pads its base64, which the JWT standard forbids, and signs what it padded."""
    import base64

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    plain = balancer.headers("ada@example.org")["x-amzn-oidc-data"]
    parts = [part + "=" * (-len(part) % 4) for part in plain.split(".")[:2]]
    assert any(part.endswith("=") for part in parts)
    key = next(iter(balancer.private_keys.values()))
    numbers = decode_dss_signature(key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    signature = base64.urlsafe_b64encode(b"".join(number.to_bytes(32, "big") for number in numbers)).decode()
    padded = {"x-amzn-oidc-data": ".".join([*parts, signature])}
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        assert client("/server_info", padded).status == 200


def test_a_balancer_may_change_its_key(site: Site, balancer: SigningBalancer) -> None:
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=balancer.keys_url) as client:
        assert client("/server_info", balancer.headers("ada@example.org")).status == 200
        balancer.new_key("33333333-3333-3333-3333-333333333333")
        assert client("/server_info", balancer.headers("ada@example.org")).status == 200


def test_keys_that_cannot_be_fetched_let_nobody_in(site: Site, balancer: SigningBalancer) -> None:
    nowhere = "http://127.0.0.1:9/keys"
    with site.client(h3_auth_alb_arn=balancer.arn, h3_auth_keys_url=nowhere) as client:
        assert client("/server_info", balancer.headers("ada@example.org")).status == 401


def test_viewers_can_change_nothing(site: Site) -> None:
    with site.client(read_only=True) as client:
        assert client("/").status == 200
        assert ask(client, LAUNCH, tags=[])["launchRun"]["__typename"] == "UnauthorizedError"
        reported = client("/report_asset_materialization/thing", method="POST", json={})
        assert reported.status == 401


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-w", str(tmp_path / "missing.yaml")]) == 1
    err = capsys.readouterr().err
    assert err == f"error: There is no workspace file {tmp_path}/missing.yaml; name one with -w\n"
    assert json.dumps(err).count("\\n") == 1
