"""Rolling replacement: which node is taken next, and when nothing is taken any more."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.clickhouse.replace_nodes import AwsFleet, Health, Node, Unwell, replace_nodes


@dataclass
class Simulated:
    """A cluster with rules of its own: an ended instance is gone, its successor comes and catches up step by step.

    Attributes:
        log: What was done to it.
        catching_up: Looks at a successor until it is well.
        faults: Problems of nodes, whatever else happens.
        successor_tables: Tables that a successor has.
    """

    state: dict[str, Node]
    leader: str = ""
    log: list[str] = field(default_factory=list)
    catching_up: int = 2
    faults: dict[str, str] = field(default_factory=dict)
    successor_tables: int = 7
    looks: dict[str, int] = field(default_factory=dict)
    after_end: Callable[[str], None] = lambda name: None

    def nodes(self) -> list[Node]:
        for name, node in self.state.items():
            if not node.instance:
                self.looks[name] = self.looks.get(name, 0) + 1
                if self.looks[name] > 1:
                    self.state[name] = replace(node, instance=f"{self.state[name].group}+", outdated=False)
                    self.looks[name] = 0
        return list(self.state.values())

    def health(self, node: Node) -> Health:
        problems = [self.faults[node.name]] if node.name in self.faults else []
        new = self.state[node.name].instance.endswith("+")
        if new and self.looks.get(node.name, 0) < self.catching_up:
            self.looks[node.name] = self.looks.get(node.name, 0) + 1
            problems.append("lags 99 s")
        if not self.state[node.name].instance:
            problems.append("does not answer")
        tables = 0 if node.role == "keeper" else self.successor_tables if new else 7
        return Health(tuple(problems), tables, node.name == self.leader)

    def drain(self, node: Node) -> None:
        self.log.append(f"drain {node.name}")

    def end(self, node: Node) -> None:
        up = [n.name for n in self.state.values() if n.instance and not self.health(n).problems and n.name != node.name]
        assert len(up) == len(self.state) - 1, f"only {up} were well when {node.name} was ended"
        # the group's name grows with each instance, so that no two are called alike
        self.state[node.name] = replace(node, instance="", group=node.instance)
        self.looks[node.name] = 0
        self.log.append(f"end {node.name}")
        self.after_end(node.name)


def cluster(**changes: Any) -> Simulated:
    names = [("keeper", f"keeper-{n}") for n in (1, 2, 3)] + [("server", f"ch-{n}") for n in (1, 2, 3)]
    nodes = {name: Node(name, role, f"group {name}", f"{name}-old", True) for role, name in names}
    return Simulated(nodes, **{"leader": "keeper-1", **changes})


def run(fleet: Simulated, **options: Any) -> list[str]:
    # long enough for any of these, short enough for one that does not end
    return replace_nodes(fleet, **{"tell": fleet.log.append, "pause": 0, "patience": 5, **options})


def test_one_after_another_keepers_first_and_their_leader_last() -> None:
    fleet = cluster()
    assert run(fleet) == ["keeper-2", "keeper-3", "keeper-1", "ch-1", "ch-2", "ch-3"]
    done = [entry for entry in fleet.log if entry.startswith(("drain ", "end ")) or entry.endswith("is well")]
    expected = [
        text
        for name in ("keeper-2", "keeper-3", "keeper-1", "ch-1", "ch-2", "ch-3")
        for text in (f"drain {name}", f"end {name}", f"{name}: {name}-old+ is well")
    ]
    assert done == expected
    assert "ch-1: lags 99 s" in fleet.log


def test_only_what_is_outdated() -> None:
    fleet = cluster()
    for name in ("keeper-1", "keeper-2", "keeper-3", "ch-1"):
        fleet.state[name] = replace(fleet.state[name], outdated=False)
    assert run(fleet) == ["ch-2", "ch-3"]
    assert run(fleet) == []
    assert run(fleet, everything=True)[-1] == "ch-3"


def test_nothing_is_touched_while_another_node_is_unwell() -> None:
    fleet = cluster(faults={"ch-3": "3 tables are read-only"})
    with pytest.raises(Unwell, match=r"ch-3 is not well \(3 tables are read-only\); keeper-2 was left alone"):
        run(fleet)
    assert not [entry for entry in fleet.log if entry.startswith(("drain", "end"))]


def test_trouble_on_the_way_stops_it() -> None:
    fleet = cluster()

    def trouble(name: str) -> None:
        if name == "ch-1":
            fleet.faults["ch-3"] = "lags 500 s"

    fleet.after_end = trouble
    with pytest.raises(Unwell, match="ch-3 is not well"):
        run(fleet)
    assert fleet.log[-1] == "ch-1: ch-1-old+ is well"


def test_a_successor_that_does_not_come_up_stops_it() -> None:
    fleet = cluster(catching_up=10**9)
    with pytest.raises(Unwell, match=r"keeper-2 was not well 0 s after its replacement"):
        run(fleet, patience=0)
    assert [entry for entry in fleet.log if entry.startswith("end")] == ["end keeper-2"]


def test_a_successor_with_an_empty_disk_is_no_success() -> None:
    fleet = cluster(successor_tables=0)
    for name in ("keeper-1", "keeper-2", "keeper-3"):
        fleet.state[name] = replace(fleet.state[name], outdated=False)
    with pytest.raises(Unwell, match="has 0 of 7 tables"):
        run(fleet, patience=0.05)


def test_the_node_that_is_ill_is_the_one_that_may_be_replaced() -> None:
    fleet = cluster(faults=dict.fromkeys(("ch-1", "ch-3"), "1 replicas of its tables are away"))
    fleet.faults["ch-2"] = "does not answer: no instance"
    for name in fleet.state:
        fleet.state[name] = replace(fleet.state[name], outdated=name == "ch-2")
    fleet.end = lambda node: (fleet.log.append(f"end {node.name}"), fleet.faults.clear(), fleet.state.update(  # type: ignore[method-assign]
        {node.name: replace(node, instance="")}))  # fmt: skip
    assert run(fleet) == ["ch-2"]


# AWS

IMAGE = "ami-12c6146b"  # one of those that moto knows


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.session.Session]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.session.Session(region_name="us-east-1")


def make_group(session: boto3.session.Session, name: str, role: str, cluster: str = "h3") -> str:
    """A group of one, as the stack makes them; gives its template's id."""
    ec2, groups = session.client("ec2"), session.client("autoscaling")
    template = ec2.create_launch_template(
        LaunchTemplateName=name, LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "t3.small"}
    )["LaunchTemplate"]["LaunchTemplateId"]
    tags = {"h3:cluster": cluster, "h3:node": f"{name}.internal", "h3:role": role}
    groups.create_auto_scaling_group(
        AutoScalingGroupName=f"h3-prod-{name}",
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateId": template, "Version": "$Latest"},
        Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in tags.items()],
    )
    return template


def test_nodes_are_found_by_their_tags_and_told_apart_by_their_template(aws: boto3.session.Session) -> None:
    template = make_group(aws, "ch-1", "server")
    make_group(aws, "keeper-1", "keeper")
    make_group(aws, "other", "server", cluster="another")
    fleet = AwsFleet(aws, "h3", "h3-prod")

    before = {node.name: node for node in fleet.nodes()}
    assert {name: (node.role, node.outdated) for name, node in before.items()} == {
        "ch-1.internal": ("server", False),
        "keeper-1.internal": ("keeper", False),
    }
    assert AwsFleet(aws, "h3", "h3-dev").nodes() == []

    aws.client("ec2").create_launch_template_version(
        LaunchTemplateId=template, LaunchTemplateData={"ImageId": IMAGE, "InstanceType": "t3.medium"}
    )
    assert {node.name for node in fleet.nodes() if node.outdated} == {"ch-1.internal"}


def test_an_ended_instance_gets_a_successor(aws: boto3.session.Session) -> None:
    make_group(aws, "ch-1", "server")
    fleet = AwsFleet(aws, "h3")
    (node,) = fleet.nodes()
    fleet.end(node)
    (successor,) = fleet.nodes()
    assert successor.instance not in ("", node.instance)
    assert successor.name == node.name


def test_a_node_that_cannot_be_asked_is_not_well(aws: boto3.session.Session) -> None:
    fleet = AwsFleet(aws, "h3")
    make_group(aws, "ch-1", "server")
    (node,) = fleet.nodes()
    # moto runs no commands: what it gives for an answer is not health.py's
    health = fleet.health(node)
    assert health.problems
    assert health.tables == 0
