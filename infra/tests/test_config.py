"""What a deployment may choose, and how it is told that it may not."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from h3_infra.config import FOLDER, Config, ConfigError

from tests.synthesis import Choice, settings


def change(path: str, value: Any) -> dict[str, Any]:
    """Production's settings with one of them changed."""
    made = deepcopy(settings(Choice.PROD))
    *parents, last = path.split(".")
    section = made
    for parent in parents:
        section = section[parent]
    if value is None:
        del section[last]
    else:
        section[last] = value
    return made


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_the_shipped_files_are_valid(name: str) -> None:
    config = Config.load(name)
    assert config.environment == name
    assert config.name == f"h3-{name}"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("web.size", {"vcpu": 4, "memory_gib": 4}, "4 vCPU 8–8 GiB"),
        ("web.size", {"vcpu": 8, "memory_gib": 8}, "web.size.vcpu"),
        ("web.size", {"vcpu": 1, "memory_gib": 16}, "web.size.memory_gib"),
        ("web.desired", 11, "web.desired"),
        ("web.desired", 1, "web.desired"),
        ("web.maximum", 21, "web.maximum"),
        ("web.minimum", 1, "web.minimum"),
        ("web.minimum", 9, "minimum 9 ≤ desired 2"),
        ("web.cpu_target_percent", 60, "web.cpu_target_percent"),
        ("web.viewers_domain_name", "trips.example.com", "a name of its own"),
        ("web.domain_name", "trips.elsewhere.org", "not in the zone"),
        ("clickhouse.option", "C", "clickhouse.option"),
        ("clickhouse.servers", None, "option A needs the section `servers`"),
        ("clickhouse.servers.instance_type", "r6i.xlarge", "r6i.2xlarge or larger"),
        ("clickhouse.servers.instance_type", "r7g.4xlarge", "x86-64"),
        ("clickhouse.servers.volume_tib", 6, "volume_tib"),
        ("clickhouse.servers.volume_iops", 2999, "volume_iops"),
        ("clickhouse.servers.volume_iops", 10_001, "volume_iops"),
        ("clickhouse.servers.replicas", 2, "fewer than 3"),
        ("clickhouse.servers.writer", 4, "writer 4 is not among the 3 replicas"),
        ("clickhouse.servers.sharding", "region", "clickhouse.servers.sharding"),
        ("clickhouse.servers.certificate_authority", "none.pem", "there is no none.pem in infra/certificates/"),
        ("clickhouse.servers.certificate_authority", "README.md", "README.md holds no certificate"),
        ("network.availability_zones", ["a", "b"], "needs three zones"),
        ("network.availability_zones", ["a", "a", "b"], "different letters"),
        ("network.endpoint_zones", 4, "network.endpoint_zones"),
        ("storage.bucket_name", "Trips", "storage.bucket_name"),
        ("account", "1234", "account"),
        ("acount", "123456789012", "acount"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(path: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Config.parse(change(path, value), "prod.yaml")
    message = str(refused.value)
    assert message.startswith("prod.yaml: ")
    assert said in message
    assert "\n" not in message


def test_option_b_needs_no_servers() -> None:
    made = change("clickhouse.option", "B")
    del made["clickhouse"]["servers"]
    assert Config.parse(made, "prod.yaml").clickhouse.cloud is not None
    del made["clickhouse"]["cloud"]
    with pytest.raises(ConfigError, match="option B needs the section `cloud`"):
        Config.parse(made, "prod.yaml")


def test_more_shards_make_more_servers() -> None:
    servers = Config.parse(change("clickhouse.servers.shards", 4), "prod.yaml").clickhouse.servers
    assert servers is not None
    assert servers.nodes == 12


def test_a_file_that_is_not_there_or_not_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no staging\.yaml in config/ \(there are: dev, prod\)"):
        Config.load("staging", FOLDER)
    (tmp_path / "odd.yaml").write_text("environment: [")
    with pytest.raises(ConfigError, match=r"odd\.yaml is not YAML"):
        Config.load("odd", tmp_path)
