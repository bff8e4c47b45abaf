"""The servers' configuration, loaded into a real engine; what such an engine does not use is checked as text."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.storage.named_collection import NAME
from h3_pipeline.warehouse.migrate import LEDGER
from h3_pipeline.warehouse.schema import Placement
from h3_pipeline_tests.deployment.clickhouse_node import CLUSTER, FETCHED, KEEPERS, NODE, SERVERS, engine_of
from infra.clickhouse import user_data
from infra.clickhouse.user_data import FILES

CONFIGURATION = sorted(FILES.rglob("*.xml"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    with engine_of(tmp_path_factory.mktemp("node"), logs=True) as engine:
        yield engine


def element(file: str, path: str) -> ElementTree.Element:
    """One element of a configuration file."""
    found = ElementTree.parse(FILES / file).getroot().find(path)
    assert found is not None, f"{file} has no {path}"
    return found


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_every_file_is_xml(path: Path) -> None:
    assert ElementTree.parse(path).getroot().tag in {"clickhouse", "config"}


def test_macros_say_which_node_this_is(node: ClickHouse) -> None:
    macros = node.pairs("SELECT macro, substitution FROM system.macros")
    assert macros == {"cluster": CLUSTER.cluster, "shard": "1", "replica": SERVERS[1]}


def test_every_server_knows_the_others(node: ClickHouse) -> None:
    rows = node.rows(
        "SELECT cluster, shard_num, replica_num, host_name, port, internal_replication FROM system.clusters "
        "ORDER BY shard_num, replica_num"
    )
    assert [tuple(row) for row in rows] == [(CLUSTER.cluster, 1, n, name, 9440, 1) for n, name in enumerate(SERVERS, 1)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replicated_deduplication_window", "0"),
        ("non_replicated_deduplication_window", "0"),
        ("min_free_disk_ratio_to_perform_insert", "0.07"),
        ("max_suspicious_broken_parts", "10"),
        ("parts_to_throw_insert", "3000"),
    ],
)
def test_tables_are_guarded(node: ClickHouse, name: str, value: str) -> None:
    found = node.value("SELECT value FROM system.merge_tree_settings WHERE name = {name:String}", {"name": name})
    assert found == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_server_memory_usage_to_ram_ratio", "0.8"),
        ("max_table_size_to_drop", "50000000000"),
        ("max_temporary_data_on_disk_size", "200000000000"),
        ("interserver_https_port", "9010"),
        ("interserver_http_host", SERVERS[1]),
    ],
)
def test_the_server_is_guarded(node: ClickHouse, name: str, value: str) -> None:
    found = node.rows("SELECT value, changed FROM system.server_settings WHERE name = {name:String}", {"name": name})
    assert [tuple(row) for row in found] == [(value, 1)]


def test_every_setting_of_the_profiles_exists_and_is_as_written(node: ClickHouse) -> None:
    written = {
        (profile.tag, setting.tag): (setting.text or "").strip()
        for profile in element("server/users.d/10-profiles.xml", "profiles")
        for setting in profile
        if setting.tag not in {"profile", "constraints"}
    }
    rows = node.rows(
        "SELECT profile_name, setting_name, value FROM system.settings_profile_elements "
        "WHERE profile_name IS NOT NULL AND setting_name IS NOT NULL"
    )
    loaded = {(profile, setting): value for profile, setting, value in rows if value is not None}
    assert loaded == written
    assert {"default", "loader", "reader", "backup", "operator"} == {profile for profile, _ in loaded}


def test_there_is_no_login_without_a_password_and_none_from_afar(node: ClickHouse) -> None:
    rows = node.rows(
        "SELECT name, toString(auth_type), host_ip, host_names, host_names_regexp, host_names_like FROM system.users "
        "WHERE name != 'default' ORDER BY name"
    )
    # the engine takes the loopback addresses for the name
    assert [tuple(row) for row in rows] == [
        (name, "['sha256_password']", [], ["localhost", SERVERS[1]], [], []) for name in ("admin", "monitor")
    ]
    removed = element("server/users.d/20-node-users.xml", "users/default")
    assert removed.get("remove") == "1"


def test_the_bucket_is_there_by_name_and_its_url_cannot_be_turned_elsewhere(node: ClickHouse) -> None:
    assert node.value("SELECT count() FROM system.named_collections WHERE name = {name:String}", {"name": NAME}) == 1
    collection = element("server/config.d/40-bucket.xml", f"named_collections/{NAME}")
    assert {child.tag for child in collection} == {"url", "use_environment_credentials"}
    with pytest.raises(Exception, match=r"(?i)overrid"):
        node.rows(f"SELECT * FROM s3({NAME}, url = 'https://elsewhere.example/', filename = 'a.csv')")


def test_logs_in_tables_forget(node: ClickHouse) -> None:
    node.command("SELECT 1")
    node.command("SYSTEM FLUSH LOGS")
    tables = node.pairs(
        "SELECT name, engine_full FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log' "
        "AND engine LIKE '%MergeTree'"
    )
    root = ElementTree.parse(FILES / "server/config.d/50-logs.xml").getroot()
    configured = {child.tag: child for child in root if child.tag.endswith("_log")}
    kept = {name for name, child in configured.items() if child.get("remove") is None}
    assert {"query_log", "part_log", "opentelemetry_span_log", "metric_log"} <= kept
    assert kept <= tables.keys() | {"crash_log"}
    for name in kept & tables.keys():
        days = re.search(r"TTL \w+ \+ toIntervalDay\((\d+)\)", tables[name])
        assert days, f"{name} keeps everything"
        assert f"INTERVAL {days[1]} DAY" in ElementTree.tostring(configured[name], encoding="unicode")
    assert not {"trace_log", "text_log", "processors_profile_log"} & tables.keys()


def test_replicated_tables_take_their_place_from_the_macros(node: ClickHouse) -> None:
    # there is no Keeper here: the engine gets as far as asking for one, with every macro filled in
    engine = Placement("default", CLUSTER.cluster).engine("MergeTree")
    with pytest.raises(
        Exception, match=r"NO_ZOOKEEPER|KEEPER_EXCEPTION|ZooKeeper|Not found address of host"
    ) as refused:
        node.command(f"CREATE TABLE default.{LEDGER} (name String) ENGINE = {engine} ORDER BY name")
    assert "macro" not in str(refused.value).lower()
    with pytest.raises(Exception, match=r"(?i)macro"):
        node.command(
            "CREATE TABLE default.x (a UInt8) ENGINE = ReplicatedMergeTree('/{nowhere}', '{replica}') ORDER BY a"
        )


# Text: what only a server uses


def test_every_port_speaks_tls() -> None:
    network = ElementTree.parse(FILES / "server/config.d/10-network.xml").getroot()
    plain = {"http_port", "tcp_port", "mysql_port", "postgresql_port", "interserver_http_port"}
    assert {child.tag for child in network if child.get("remove")} == plain | {"listen_host"}
    assert [network.findtext(port) for port in ("https_port", "tcp_port_secure", "interserver_https_port")] == [
        "8443",
        "9440",
        "9010",
    ]
    for file in ("server/config.d/10-network.xml", "keeper/keeper_config.xml"):
        assert element(file, "openSSL/client/verificationMode").text == "strict"
        assert element(file, "openSSL/client/invalidCertificateHandler/name").text == "RejectCertificateHandler"


def test_keepers_agree_on_their_quorum() -> None:
    rendered = [
        ElementTree.fromstring(user_data.keeper_xml(replace(NODE, name=name))).find("keeper_server") for name in KEEPERS
    ]
    assert len({ElementTree.tostring(server) for server in rendered if server is not None}) == 1
    server = rendered[0]
    assert server is not None
    assert server.findtext("raft_configuration/secure") == "true"
    members = [(m.findtext("id"), m.findtext("hostname")) for m in server.findall("raft_configuration/server")]
    assert members == [(str(n), name) for n, name in enumerate(KEEPERS, 1)]
    assert server.findtext("tcp_port") is None
    ids = [user_data.environment(replace(NODE, name=name))["H3_KEEPER_ID"] for name in KEEPERS]
    assert ids == ["1", "2", "3"]
    assert user_data.keeper_xml(NODE) == ""
    zookeeper = ElementTree.fromstring(user_data.cluster_xml(CLUSTER)).findall("zookeeper/node")
    assert [(node.findtext("host"), node.findtext("port"), node.findtext("secure")) for node in zookeeper] == [
        (name, server.findtext("tcp_port_secure"), "1") for name in KEEPERS
    ]


def test_every_variable_is_one_that_the_node_has() -> None:
    texts = [path.read_text() for path in CONFIGURATION]
    texts += [user_data.cluster_xml(CLUSTER), user_data.keeper_xml(replace(NODE, name=KEEPERS[0]))]
    wanted = {name for text in texts for name in re.findall(r'from_env="(\w+)"', text)}
    assert wanted
    assert wanted <= user_data.environment(NODE).keys() | FETCHED.keys()
