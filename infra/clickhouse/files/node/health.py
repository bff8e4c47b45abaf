#!/usr/bin/env python3
"""Says as JSON how this node is, and what is wrong with it: `replace_nodes.py` asks before and after each replacement.

Runs on the node, on the system's Python (3.9). ``problems`` is empty if the others can do without any one of them.
"""

import json
import os

from fetch_secrets import ETC, read
from publish_metrics import KEEPER_PROBE, ask, keeper_values

LAG_SECONDS = 10

REPLICAS = """
SELECT
    count() AS tables,
    countIf(is_readonly OR is_session_expired) AS read_only,
    max(absolute_delay) AS lag_seconds,
    sum(lost_part_count) AS lost_parts,
    sum(total_replicas - active_replicas) AS missing
FROM system.replicas
FORMAT JSONEachRow
"""


def main() -> None:
    """Print one line."""
    environment = {**read(ETC / "node.env"), **read(ETC / "passwords.env")}
    os.environ.update({name: value.strip("'") for name, value in environment.items()})
    print(json.dumps(keeper_health() if os.environ["H3_ROLE"] == "keeper" else server_health()))


def server_health() -> dict:
    """A server: every replicated table takes writes, lags little, and has all its replicas; Keeper answers."""
    try:
        found = {name: int(value) for name, value in json.loads(ask(REPLICAS)).items()}
        ask(KEEPER_PROBE)
    except OSError as error:
        return {"tables": 0, "problems": [f"does not answer, or Keeper does not: {error}"]}
    faults = {
        f"{found['read_only']} tables are read-only": found["read_only"],
        f"lags {found['lag_seconds']} s": found["lag_seconds"] > LAG_SECONDS,
        f"{found['missing']} replicas of its tables are away": found["missing"],
    }
    return {"tables": found["tables"], "problems": [text for text, wrong in faults.items() if wrong]}


def keeper_health() -> dict:
    """A Keeper: part of a quorum."""
    try:
        values = keeper_values()
    except SystemExit as error:
        return {"tables": 0, "problems": [str(error)]}
    followers = values["KeeperSyncedFollowers"]
    problems = []
    if values["KeeperIsLeader"] is None:
        problems.append("says nothing of its quorum")
    elif values["KeeperIsLeader"] and not followers:
        problems.append("leads nobody")
    return {"tables": 0, "leader": bool(values["KeeperIsLeader"]), "problems": problems}


if __name__ == "__main__":
    main()
