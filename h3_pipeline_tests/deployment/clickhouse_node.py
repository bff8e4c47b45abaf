"""A node as a test has it: the files that a real node gets, on an engine of this process instead of a server.

chDB reads the same configuration as a server. What is put on top, and nothing else: its log goes nowhere, and its one
user `default` exists, with the privileges that a test gives it.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock
from xml.sax.saxutils import escape

import clickhouse_connect

from h3_pipeline.clickhouse.client import ClickHouse
from infra.clickhouse.user_data import FILES, USERS, ClusterSettings, NodeSettings, cluster_xml, environment

SERVERS = ("ch-1.h3.internal", "ch-2.h3.internal", "ch-3.h3.internal")
KEEPERS = ("keeper-1.h3.internal", "keeper-2.h3.internal", "keeper-3.h3.internal")

CLUSTER = ClusterSettings(
    shards=(SERVERS,),
    keepers=KEEPERS,
    region="eu-central-1",
    bucket="trips-data-bucket",
    files_url="s3://assets/files.zip",
    tls_secret_arn="arn:aws:secretsmanager:eu-central-1:111111111111:secret:tls",
    cluster_secret_arn="arn:aws:secretsmanager:eu-central-1:111111111111:secret:cluster",
    user_secret_arns={user: f"arn:aws:secretsmanager:eu-central-1:111111111111:secret:{user}" for user in USERS},
)
NODE = NodeSettings(cluster=CLUSTER, name=SERVERS[1], volume_id="vol-0123456789abcdef0", attach_volume=True)

FETCHED = {
    "H3_CLUSTER_PASSWORD": "c" * 32,
    "H3_ADMIN_PASSWORD_HASH": "a" * 64,
    "H3_MONITOR_PASSWORD_HASH": "b" * 64,
}
"""What node/fetch_secrets.py writes for the server."""

FULL_ACCESS = "<access_management>1</access_management><named_collection_control>1</named_collection_control>"


@contextmanager
def engine_of(
    folder: Path,
    node: NodeSettings = NODE,
    *,
    grants: Sequence[str] | None = None,
    profile: str = "default",
    logs: bool = False,
    variables: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[ClickHouse]:
    """Open an engine with a node's configuration.

    Args:
        folder: Where its data are, beside its configuration.
        node: Which node.
        grants: What its user may do; None for everything.
        profile: Its user's settings profile.
        logs: With the tables of logs, which take seconds to close.
        variables: Environment variables in place of the node's own.
        more: Further files by their path below the configuration's folder.
    """
    etc = folder / "etc"
    lay_out(etc, node, grants=grants, profile=profile, logs=logs, more=more)
    with mock.patch.dict(os.environ, {**environment(node), **FETCHED, **(variables or {})}):
        client = clickhouse_connect.get_client(
            interface="chdb", path=str(folder / "data"), chdb_options={"config-file": str(etc / "config.xml")}
        )
        with ClickHouse(client, "the node") as engine:
            yield engine


def lay_out(
    etc: Path,
    node: NodeSettings,
    *,
    grants: Sequence[str] | None = None,
    profile: str = "default",
    logs: bool = False,
    more: Mapping[str, str] | None = None,
) -> None:
    """Write a node's configuration into a folder, with what a test puts on top; see `engine_of`."""
    shutil.rmtree(etc, ignore_errors=True)
    for part in ("config.d", "users.d"):
        shutil.copytree(FILES / "server" / part, etc / part)
    if not logs:
        (etc / "config.d" / "50-logs.xml").unlink()
    (etc / "config.d" / "90-cluster.xml").write_text(cluster_xml(node.cluster))
    privileges = FULL_ACCESS if grants is None else _grants(grants)
    files = {
        "config.xml": f"<clickhouse><users_config>{etc / 'users.xml'}</users_config></clickhouse>",
        "users.xml": "<clickhouse><users><default><no_password/></default></users></clickhouse>",
        "config.d/99-test.xml": "<clickhouse><logger replace='1'><level>none</level><console>0</console></logger>"
        "<allow_no_password>1</allow_no_password></clickhouse>",
        "users.d/99-test.xml": "<clickhouse><users><default><no_password/><networks><ip>::/0</ip></networks>"
        f"<profile>{profile}</profile><quota>default</quota>{privileges}</default></users></clickhouse>",
        **(more or {}),
    }
    for name, content in files.items():
        (etc / name).write_text(content)


def access_statements() -> list[str]:
    """The statements of sql/access.sql, with everything filled in."""
    filled = fill_in_access({user: f"password of {user}" for user in USERS})
    text = re.sub(r"^--.*$", "", filled, flags=re.MULTILINE)
    return [" ".join(statement.split()) for statement in text.split(";") if statement.strip()]


def fill_in_access(passwords: Mapping[str, str]) -> str:
    """sql/access.sql as a node sends it to its server."""
    from h3_pipeline_tests.deployment.node_scripts import load

    return load("apply_access").fill_in((FILES / "sql" / "access.sql").read_text(), CLUSTER.database, dict(passwords))


def grants_of_role(role: str) -> list[str]:
    """The privileges of a role, as GRANT statements that name nobody."""
    granted = [s.rpartition(" TO ") for s in access_statements() if s.startswith("GRANT ") and " ON " in s]
    return [grant for grant, _, to in granted if to == role]


def _grants(grants: Sequence[str]) -> str:
    return f"<grants>{''.join(f'<query>{escape(grant)}</query>' for grant in grants)}</grants>"
