"""User data: what it says for each kind of node, that tokens go through it whole, and that it is a sound script."""

import re
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest

from infra.clickhouse import user_data
from infra.clickhouse.user_data import FILES, USERS, ClusterSettings, NodeSettings, environment, render

README = (FILES.parent / "README.md").read_text()

SERVERS = ("ch-1", "ch-2", "ch-3")
KEEPERS = ("keeper-1", "keeper-2", "keeper-3")


def token(name: str) -> str:
    """What CDK puts into a string in place of a value that is not known yet."""
    return "${Token[" + name + ".1234]}"


def cluster(**changes: object) -> ClusterSettings:
    """A cluster all of whose values are tokens, but for the host names."""
    settings: dict[str, object] = {
        "shards": (SERVERS,),
        "keepers": KEEPERS,
        "user_secret_arns": {user: token(user) for user in USERS},
        **{name: token(name) for name in ("region", "bucket", "files_url", "tls_secret_arn", "cluster_secret_arn")},
    }
    return ClusterSettings(**{**settings, **changes})  # type: ignore[arg-type]


def node(name: str, **changes: object) -> NodeSettings:
    """A node of such a cluster."""
    return NodeSettings(cluster=cluster(**changes), name=name, volume_id=token("volume"))


def run(script: str, folder: Path) -> Mapping[str, str]:
    """Run the part of a script that writes files, below a folder; gives node.env as a shell reads it."""
    head = script.partition("\naws s3 cp")[0].replace("/etc/", f"{folder}/etc/").replace("/opt/", f"{folder}/opt/")
    read = f"{head}\nset -a; source {folder}/etc/h3-clickhouse/node.env; env -0"
    done = subprocess.run(
        ["bash", "-c", read], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)


@pytest.mark.parametrize(
    ("name", "keepers", "role", "shard", "keeper"),
    [
        ("ch-2", KEEPERS, "server", "1", "0"),
        ("keeper-3", KEEPERS, "keeper", "0", "3"),
        ("ch-3", SERVERS, "both", "1", "3"),
        ("ch-1", ("ch-2",), "server", "1", "0"),
    ],
)
def test_a_node_knows_what_it_is(
    tmp_path: Path, name: str, keepers: tuple[str, ...], role: str, shard: str, keeper: str
) -> None:
    found = run(render(node(name, keepers=keepers)), tmp_path)
    assert [found[key] for key in ("H3_NODE", "H3_ROLE", "H3_SHARD", "H3_KEEPER_ID")] == [name, role, shard, keeper]
    assert (tmp_path / "etc/h3-clickhouse/cluster.xml").read_text().count("<replica><host>") == 3
    assert (tmp_path / "etc/h3-clickhouse/keeper.xml").exists() == (role != "server")


def test_shards_are_counted() -> None:
    shards = (("a", "b"), ("c", "d"))
    assert [environment(node(name, shards=shards))["H3_SHARD"] for name in "abcd"] == ["1", "1", "2", "2"]


def test_tokens_reach_the_node_whole(tmp_path: Path) -> None:
    script = render(node("ch-1"))
    found = run(script, tmp_path)
    assert found["AWS_REGION"] == token("region")
    assert found["H3_VOLUME_ID"] == token("volume")
    assert found["H3_BUCKET_URL"] == f"https://{token('bucket')}.s3.{token('region')}.amazonaws.com/"
    assert found["H3_ROTATOR_SECRET"] == token("rotator")
    assert f"'{token('files_url')}'" in script


def test_it_fits_into_what_ec2_takes() -> None:
    long = "x" * 200
    names = tuple(f"ch-{n}.clickhouse.production.h3.internal" for n in range(1, 10))
    settings = replace(
        cluster(shards=(names[:3], names[3:6], names[6:]), keepers=names[:5]),
        region=long, bucket=long, files_url=long, tls_secret_arn=long, cluster_secret_arn=long,
        user_secret_arns=dict.fromkeys(USERS, long),
    )  # fmt: skip
    script = render(NodeSettings(cluster=settings, name=names[0], volume_id=long))
    assert len(script.encode()) < user_data.LIMIT_BYTES


def test_it_is_the_same_every_time_and_changes_with_every_setting() -> None:
    first = render(node("ch-1"))
    assert first == render(node("ch-1"))
    changes: dict[str, object] = {
        field.name: "other"
        for field in fields(ClusterSettings)
        if field.name not in {"shards", "keepers", "user_secret_arns"}
    }
    changes |= {
        "shards": (SERVERS, ("ch-4",)),
        "keepers": ("keeper-1",),
        "user_secret_arns": dict.fromkeys(USERS, "other"),
    }
    for name, value in changes.items():
        assert render(node("ch-1", **{name: value})) != first, name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keepers": ("a", "b")}, "odd number"),
        ({"shards": ()}, "at least one shard"),
        ({"shards": (("ch-1",), ())}, "every shard a server"),
        ({"shards": (("ch-1", "ch-1"),)}, "same name"),
        ({"user_secret_arns": {"loader": "x"}}, "loader, reader, backup, rotator"),
    ],
)
def test_a_cluster_that_cannot_work_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cluster(**changes)


def test_a_stranger_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a server nor a Keeper"):
        node("elsewhere")


def test_the_readme_names_every_setting() -> None:
    for settings in (ClusterSettings, NodeSettings):
        for field in fields(settings):
            assert re.search(rf"\b{field.name}\b", README), field.name


def test_scripts_use_only_variables_that_the_node_has() -> None:
    known = environment(node("ch-1")).keys() | {"H3_ADMIN_PASSWORD", "H3_MONITOR_PASSWORD", "H3_SERVER_URL"}
    for path in (*FILES.rglob("*.sh"), *FILES.rglob("*.py")):
        text = path.read_text()
        used = set(re.findall(r"\$\{?(H3_\w+)", text)) | set(re.findall(r"environ(?:\.get)?[\[(]\"(\w+)\"", text))
        assert used <= known, path.name


@pytest.mark.parametrize("name", ["ch-1", "keeper-1"])
def test_shellcheck_has_nothing_to_say(tmp_path: Path, name: str) -> None:
    shellcheck = Path(sysconfig.get_path("scripts")) / "shellcheck"
    script = tmp_path / "user-data.sh"
    # with values in place of tokens, which a shell never sees
    script.write_text(re.sub(r"\$\{Token\[(\w+)\.\d+\]\}", r"\1", render(node(name))))
    scripts = [script, *sorted(FILES.rglob("*.sh"))]
    done = subprocess.run([shellcheck, "-x", "-P", "SCRIPTDIR", *scripts], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_units_and_agent_name_files_that_exist() -> None:
    commands = [
        found
        for path in (FILES / "node" / "systemd").rglob("h3*")
        for found in re.findall(r"/opt/h3-clickhouse/(\S+)", path.read_text())
    ]
    assert commands
    assert [command for command in commands if not (FILES / command).exists()] == []
    bootstrap = (FILES / "node" / "bootstrap.sh").read_text()
    assert [name for name in re.findall(r"\$here/([\w./-]+)", bootstrap) if not (FILES / "node" / name).exists()] == []
