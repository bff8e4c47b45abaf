"""Runs one command of the pipeline in a deployment, as a task of its own, and shows what it says.

    .venv/bin/python infra/run_task.py prod h3-pipeline restore --at 2026-11-20T12:00

The task is one of the runs' definition: it has their settings, secrets and rights, and so speaks to the server that
publishers speak to. It costs nothing once it has ended.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from h3_infra.config import Config, ConfigError  # noqa: E402

CONTAINER = "run"
POLL_SECONDS = 10
LONGEST_SECONDS = 12 * 3600


def start(ecs: Any, cluster: str, command: Sequence[str]) -> str:
    """Start the task, in the daemon's network.

    Returns:
        Its ARN.

    Raises:
        RuntimeError: ECS does not start it.
    """
    (service,) = ecs.describe_services(cluster=cluster, services=["daemon"])["services"]
    answer = ecs.run_task(
        cluster=cluster,
        taskDefinition=f"{cluster}-{CONTAINER}",
        launchType=service["launchType"],
        networkConfiguration=service["networkConfiguration"],
        overrides={"containerOverrides": [{"name": CONTAINER, "command": list(command)}]},
        enableExecuteCommand=True,
    )
    if not answer["tasks"]:
        raise RuntimeError("; ".join(str(failure.get("reason")) for failure in answer["failures"]))
    return answer["tasks"][0]["taskArn"]


def wait(ecs: Any, cluster: str, task: str) -> dict[str, Any]:
    """Wait until the task has ended, and return what ECS says of its container."""
    patience = {"Delay": POLL_SECONDS, "MaxAttempts": LONGEST_SECONDS // POLL_SECONDS}
    ecs.get_waiter("tasks_stopped").wait(cluster=cluster, tasks=[task], WaiterConfig=patience)
    (found,) = ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"]
    return next(each for each in found["containers"] if each["name"] == CONTAINER)


def said(ecs: Any, logs: Any, cluster: str, task: str) -> list[str]:
    """Lines of the task's log."""
    definition = ecs.describe_task_definition(taskDefinition=f"{cluster}-{CONTAINER}")["taskDefinition"]
    container = next(each for each in definition["containerDefinitions"] if each["name"] == CONTAINER)
    group = container["logConfiguration"]["options"]["awslogs-group"]
    stream = f"{CONTAINER}/{CONTAINER}/{task.rpartition('/')[2]}"
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=[stream])
    return [event["message"] for page in pages for event in page["events"]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its exit code is the command's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--no-wait", action="store_true", help="print the task's ARN, and leave it to itself")
    parser.add_argument("environment", help="dev or prod: a file in infra/config/")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="such as h3-pipeline status")
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("which command?")
    try:
        config = Config.load(options.environment)
        ecs = boto3.client("ecs", region_name=config.region)
        task = start(ecs, config.name, options.command)
    except (ConfigError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(task, file=sys.stderr)
    if options.no_wait:
        return 0
    container = wait(ecs, config.name, task)
    print("\n".join(said(ecs, boto3.client("logs", region_name=config.region), config.name, task)))
    if "exitCode" not in container:
        print(f"error: the task was not started: {container.get('reason')}", file=sys.stderr)
    return container.get("exitCode", 1)


if __name__ == "__main__":
    sys.exit(main())
