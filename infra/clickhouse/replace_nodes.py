"""Replaces the nodes of a cluster one at a time, and stops at the first sign of trouble.

    python infra/clickhouse/replace_nodes.py --region eu-central-1 --cluster h3_pipeline [--group-prefix h3-prod]

Without `--all`, only those that were not started from the newest version of their launch template. For each: every
other node must be well; it is drained and stopped; its instance is ended, and its Auto Scaling group starts another,
which finds address and data where they were; it has to become as well as before, with as many tables, before the next
is taken. Keepers come first, their leader last.

Needs boto3 and the right to `autoscaling:DescribeAutoScalingGroups`, `autoscaling:TerminateInstanceInAutoScalingGroup`,
`ec2:DescribeLaunchTemplateVersions`, `ssm:SendCommand` and `ssm:GetCommandInvocation`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PATIENCE_SECONDS = 3600.0
PAUSE_SECONDS = 15.0
COMMAND_SECONDS = 900
NODE = "/opt/h3-clickhouse/node"


class Unwell(Exception):
    """A node is not as it must be; nothing more is touched."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node.

    Attributes:
        name: Host name.
        role: ``server`` or ``keeper``.
        group: Its Auto Scaling group.
        instance: The instance in service; empty while there is none.
        outdated: Whether the instance is not from the newest launch template.
    """

    name: str
    role: str
    group: str
    instance: str
    outdated: bool


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is.

    Attributes:
        problems: What is wrong, in words; none if it is well.
        tables: Replicated tables that it has.
        leader: Whether it leads the Keepers.
    """

    problems: tuple[str, ...] = ()
    tables: int = 0
    leader: bool = False


class Fleet(Protocol):
    """The cluster's nodes."""

    def nodes(self) -> Sequence[Node]:
        """All of them, as they are now."""
        ...

    def health(self, node: Node) -> Health:
        """Ask a node how it is."""
        ...

    def drain(self, node: Node) -> None:
        """Let a node finish what it does, and stop it.

        Raises:
            Unwell: It did not stop in order.
        """
        ...

    def end(self, node: Node) -> None:
        """End a node's instance; another takes its place."""
        ...


def replace_nodes(
    fleet: Fleet,
    *,
    everything: bool = False,
    tell: Callable[[str], None] = print,
    patience: float = PATIENCE_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> list[str]:
    """Replace what is to be replaced.

    Args:
        fleet: The nodes.
        everything: Those that are up to date, too.
        tell: Told what happens.
        patience: Seconds that a successor has to come up and catch up.
        pause: Seconds between two looks at it.

    Returns:
        Names of the replaced nodes, in order.

    Raises:
        Unwell: A node is not well, or a successor does not become so.
    """
    due = [node for node in fleet.nodes() if everything or node.outdated]
    done = []
    for node in _in_order(fleet, due):
        before = _all_well(fleet, node)
        if node.instance:  # else its group is starting one already
            tell(f"{node.name}: draining")
            fleet.drain(node)
            tell(f"{node.name}: ending {node.instance}")
            fleet.end(node)
        _wait_for_successor(fleet, node, before, tell, patience, pause)
        done.append(node.name)
    return done


def _in_order(fleet: Fleet, nodes: Iterable[Node]) -> list[Node]:
    """Keepers before servers, a leader after its followers."""
    return sorted(nodes, key=lambda node: (node.role != "keeper", fleet.health(node).leader, node.name))


def _all_well(fleet: Fleet, node: Node) -> Health:
    """Make sure that every node is well, so that the others can do without this one.

    A node that is itself unwell may be replaced: that is how it is mended. The others then rightly say that it is away.
    """
    own = fleet.health(node)
    for other in fleet.nodes():
        if other.name == node.name:
            continue
        if not other.instance:
            raise Unwell(f"{other.name} has no instance; {node.name} was left alone")
        problems = fleet.health(other).problems
        if problems and not (own.problems and all("are away" in problem for problem in problems)):
            raise Unwell(f"{other.name} is not well ({'; '.join(problems)}); {node.name} was left alone")
    return own


def _wait_for_successor(
    fleet: Fleet, node: Node, before: Health, tell: Callable[[str], None], patience: float, pause: float
) -> None:
    deadline = time.monotonic() + patience
    told = ""
    while True:
        now = next((each for each in fleet.nodes() if each.name == node.name), node)
        if not now.instance or now.instance == node.instance:
            problem = "no successor yet"
        else:
            health = fleet.health(now)
            problem = "; ".join(health.problems)
            if not problem and health.tables < before.tables:
                problem = f"has {health.tables} of {before.tables} tables"
        if not problem:
            tell(f"{node.name}: {now.instance} is well")
            return
        if problem != told:
            tell(f"{node.name}: {problem}")
            told = problem
        if time.monotonic() > deadline:
            raise Unwell(f"{node.name} was not well {patience:.0f} s after its replacement: {problem}")
        time.sleep(pause)


class AwsFleet:
    """The nodes as AWS has them: groups of one, and commands through Systems Manager.

    Args:
        session: boto3's session.
        cluster: Value of the groups' tag ``h3:cluster``.
        group_prefix: How the groups' names begin, where an account has several clusters of one name.
    """

    def __init__(self, session: Any, cluster: str, group_prefix: str = "") -> None:
        self._groups = session.client("autoscaling")
        self._ec2 = session.client("ec2")
        self._ssm = session.client("ssm")
        self._cluster = cluster
        self._prefix = group_prefix

    def nodes(self) -> list[Node]:
        """All of them, as they are now."""
        pages = self._groups.get_paginator("describe_auto_scaling_groups").paginate(
            Filters=[{"Name": "tag:h3:cluster", "Values": [self._cluster]}]
        )
        groups = [group for page in pages for group in page["AutoScalingGroups"]]
        return [self._node(group) for group in groups if group["AutoScalingGroupName"].startswith(self._prefix)]

    def _node(self, group: Any) -> Node:
        tags = {tag["Key"]: tag["Value"] for tag in group["Tags"]}
        in_service = [each for each in group["Instances"] if each["LifecycleState"] == "InService"]
        instance = in_service[0] if in_service else {}
        template = group["LaunchTemplate"]
        newest = self._ec2.describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
        )["LaunchTemplateVersions"][0]["VersionNumber"]
        return Node(
            tags["h3:node"],
            tags["h3:role"],
            group["AutoScalingGroupName"],
            instance.get("InstanceId", ""),
            outdated=instance.get("LaunchTemplate", {}).get("Version") != str(newest),
        )

    def health(self, node: Node) -> Health:
        """Ask a node how it is; one that cannot be asked is not well."""
        try:
            answer = json.loads(self._run(node, f"python3 {NODE}/health.py"))
        except (Unwell, ValueError) as error:
            return Health((str(error),))
        return Health(tuple(answer["problems"]), answer["tables"], answer.get("leader", False))

    def drain(self, node: Node) -> None:
        """Let a node finish what it does, and stop it. One that is down already needs no draining."""
        if "does not answer" not in "".join(self.health(node).problems):
            self._run(node, f"bash {NODE}/drain.sh")

    def end(self, node: Node) -> None:
        """End a node's instance; its group starts another."""
        self._groups.terminate_instance_in_auto_scaling_group(
            InstanceId=node.instance, ShouldDecrementDesiredCapacity=False
        )

    def _run(self, node: Node, command: str) -> str:
        """Run a command on a node; gives what it prints."""
        try:
            sent = self._ssm.send_command(
                InstanceIds=[node.instance],
                DocumentName="AWS-RunShellScript",
                Parameters={"commands": [command], "executionTimeout": [str(COMMAND_SECONDS)]},
                TimeoutSeconds=60,
            )["Command"]["CommandId"]
            deadline = time.monotonic() + COMMAND_SECONDS
            while time.monotonic() < deadline:
                time.sleep(1)
                try:
                    found = self._ssm.get_command_invocation(CommandId=sent, InstanceId=node.instance)
                except self._ssm.exceptions.InvocationDoesNotExist:
                    continue  # not there yet
                if found["Status"] == "Success":
                    return found["StandardOutputContent"]
                if found["Status"] not in ("Pending", "InProgress", "Delayed"):
                    text = (found.get("StandardErrorContent") or found["Status"]).strip().splitlines()[-1]
                    raise Unwell(f"{node.name} does not answer: {text}")
        except (self._ssm.exceptions.InvalidInstanceId, self._ssm.exceptions.ClientError) as error:
            raise Unwell(f"{node.name} does not answer: {error}") from None
        raise Unwell(f"{node.name} does not answer: no result of `{command}` within {COMMAND_SECONDS} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--region", required=True)
    parser.add_argument("--cluster", required=True, help="value of the groups' tag h3:cluster")
    parser.add_argument("--group-prefix", default="", help="only groups whose names begin so")
    parser.add_argument("--all", action="store_true", help="those that are up to date, too")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be replaced, and how all nodes are")
    options = parser.parse_args(arguments)

    import boto3.session

    fleet = AwsFleet(boto3.session.Session(region_name=options.region), options.cluster, options.group_prefix)
    found = fleet.nodes()
    if not found:
        sys.exit(f"There is no Auto Scaling group with the tag h3:cluster={options.cluster} in {options.region}")
    if options.dry_run:
        for node in found:
            state = "; ".join(fleet.health(node).problems) or "well"
            print(f"{node.name}: {state}; {'to be replaced' if options.all or node.outdated else 'up to date'}")
        return
    try:
        done = replace_nodes(fleet, everything=options.all)
    except Unwell as error:
        sys.exit(str(error))
    print(f"replaced: {', '.join(done) or 'nothing'}")


if __name__ == "__main__":
    main()
