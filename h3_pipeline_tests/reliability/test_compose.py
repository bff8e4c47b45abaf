"""The compose files as far as they can be tried without a container engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose"
NODES = {"single-node.yaml": 1, "three-nodes.yaml": 3}


@pytest.mark.parametrize("name", NODES)
def test_every_file_that_a_container_mounts_is_there(name: str) -> None:
    services = yaml.safe_load((COMPOSE / name).read_text())["services"]
    assert len(services) == NODES[name]
    for service in services.values():
        for mount in service["volumes"]:
            assert (COMPOSE / mount.split(":")[0]).is_file()
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_every_replica_has_a_keeper_of_its_own_number() -> None:
    services = yaml.safe_load((COMPOSE / "three-nodes.yaml").read_text())["services"]
    cluster = ElementTree.parse(COMPOSE / "config" / "cluster.xml").getroot()
    keepers = {
        server.findtext("hostname"): server.findtext("id")
        for server in cluster.iterfind("keeper_server/raft_configuration/server")
    }
    assert keepers == {name: service["environment"]["KEEPER_ID"] for name, service in services.items()}
    assert [node.text for node in cluster.iterfind("remote_servers/h3_pipeline/shard/replica/host")] == list(services)
    assert [node.text for node in cluster.iterfind("zookeeper/node/host")] == list(services)


def test_the_engine_takes_the_named_collection(tmp_path: Path) -> None:
    """The server's configuration, read by the same engine in a process of its own."""
    script = (
        "import sys, chdb\n"
        "c = chdb.connect(sys.argv[1] + '?config-file=' + sys.argv[2])\n"
        "print(c.query(\"SELECT name FROM system.named_collections\", 'TSVRaw').bytes().decode().strip())\n"
    )
    environment = {**os.environ, "S3_URL": "http://127.0.0.1:1/trips/", "S3_ACCESS_KEY": "ak", "S3_SECRET_KEY": "sk"}
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data"), str(COMPOSE / "config" / "named-collection.xml")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.stdout.strip() == "trips_bucket", answer.stderr[-1000:]
