"""Configurations that are not the usual one: each test opens an engine of its own, so none may be open beside it."""

from dataclasses import replace
from pathlib import Path

import pytest

from h3_pipeline_tests.deployment.clickhouse_node import CLUSTER, engine_of
from infra.clickhouse.user_data import NodeSettings


def test_shards_and_replicas_are_two_numbers(tmp_path: Path) -> None:
    names = [f"ch-{n}" for n in range(1, 7)]
    cluster = replace(CLUSTER, shards=(tuple(names[:3]), tuple(names[3:])))
    with engine_of(tmp_path, NodeSettings(cluster=cluster, name="ch-5", volume_id="vol-1")) as engine:
        rows = engine.rows("SELECT shard_num, replica_num, host_name FROM system.clusters ORDER BY 1, 2")
        assert [tuple(row) for row in rows] == [(1 + n // 3, 1 + n % 3, name) for n, name in enumerate(names)]
        assert engine.value("SELECT getMacro('shard')") == "2"


def test_without_the_tests_own_user_nobody_gets_in_without_a_password(tmp_path: Path) -> None:
    more = {"config.d/99-test.xml": "<clickhouse><logger replace='1'><level>none</level></logger></clickhouse>"}
    with pytest.raises(Exception, match="EmbeddedServer"), engine_of(tmp_path, more=more):
        pytest.fail("the engine let a user without a password in")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.d/98.xml", "<clickhouse><merge_tree><no_such>1</no_such></merge_tree></clickhouse>"),
        ("users.d/98.xml", "<clickhouse><profiles><reader><no_such>1</no_such></reader></profiles></clickhouse>"),
        ("config.d/98.xml", "<clickhouse><macros>"),
    ],
    ids=["merge tree setting", "profile setting", "xml"],
)
def test_loading_finds_faults(tmp_path: Path, file: str, content: str) -> None:
    def load() -> None:
        with engine_of(tmp_path, more={file: content}) as engine:
            engine.command("CREATE TABLE default.t (a UInt8) ENGINE = MergeTree ORDER BY a")

    with pytest.raises(Exception, match=r"no_such|EmbeddedServer|Connection failed"):
        load()
