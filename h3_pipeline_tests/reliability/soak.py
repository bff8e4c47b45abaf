"""Kills for as long as you like: ``python -m h3_pipeline_tests.reliability.soak --minutes 30 --seed 1``.

Random uploads are loaded, replaced and retracted by children that are killed at random instants, again and again; after
each round the tables are compared with those of a warehouse that did the same without being killed. The last line is
the summary; the exit code is 0 if nothing was lost, doubled or half-visible.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from h3_pipeline.local.object_store import local_object_store
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline_tests.reliability.checksums import half_visible
from h3_pipeline_tests.reliability.programs import load, retract, trips_csv, warehouse_program
from h3_pipeline_tests.reliability.zygote import Zygote, zygote
from h3_pipeline_tests.uploads import process_all

_UPLOADS = 4
_VERSIONS = 2
_OPERATIONS = 3
_KILLS = 6


@dataclass
class Summary:
    """What was done and what went wrong."""

    rounds: int = 0
    kills: int = 0
    operations: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    half_visible: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.differing or self.half_visible)

    def __str__(self) -> str:
        return (
            f"soak: {self.rounds} rounds, {self.operations} operations, {self.kills} kills; rows lost {self.lost}, "
            f"doubled {self.doubled}; ends that differ {self.differing}, months half-visible {self.half_visible}"
        )


def soak(minutes: float, seed: int) -> Summary:
    """Kill for some minutes; at least one round."""
    choice = random.Random(seed)
    summary = Summary()
    deadline = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory(prefix="h3-pipeline-soak-") as name, zygote() as children:
        folder = Path(name)
        with local_object_store(folder / "store") as store:
            access = BucketAccess("trips-soak", store.region, store.endpoint_url, store.access_key, store.secret_key)
            bucket = Bucket(access)
            bucket.create()
            manifests = _uploads(bucket, folder / "processing", choice)
            loaded: set[str] = set()
            while not summary.rounds or time.monotonic() < deadline:
                operations = _operations(choice, manifests, loaded)
                _round(children, access, folder, operations, choice, summary)
                print(summary, flush=True)
    return summary


def _uploads(bucket: Bucket, home: Path, choice: random.Random) -> dict[str, list[Manifest]]:
    def content() -> str:
        months = choice.sample(["2024-01", "2024-02", "2024-03", "2024-11"], choice.randint(1, 3))
        rows = {month: choice.randint(1, 200) for month in months}
        return trips_csv(rows, first=choice.randint(0, 5000), bad=choice.randint(0, 1))

    made = process_all(
        bucket,
        home,
        {f"{upload}-{version}.csv": content() for upload in range(_UPLOADS) for version in range(_VERSIONS)},
    )
    return {
        f"{upload}.csv": [
            replace(made[f"{upload}-{version}.csv"], upload=f"{upload}.csv") for version in range(_VERSIONS)
        ]
        for upload in range(_UPLOADS)
    }


def _operations(choice: random.Random, manifests: dict[str, list[Manifest]], loaded: set[str]) -> list[list[Any]]:
    operations = []
    for upload in choice.sample(sorted(manifests), _OPERATIONS):
        if upload in loaded and choice.random() < 0.3:
            operations.append(retract(upload))
            loaded.discard(upload)
        else:
            operations.append(load(choice.choice(manifests[upload])))
            loaded.add(upload)
    return operations


def _round(
    children: Zygote,
    access: BucketAccess,
    folder: Path,
    operations: list[list[Any]],
    choice: random.Random,
    summary: Summary,
) -> None:
    calm = children.finish(warehouse_program(folder / "calm", access, operations, folder / "calm.json"))
    program = warehouse_program(folder / "killed", access, operations, folder / "killed.json")
    for _ in range(_KILLS):
        ended = children.run(program, kill_after=choice.uniform(0.2, 4.0))
        if ended.error:
            raise RuntimeError(f"the warehouse does not work after a kill: {ended.error}")
        summary.kills += ended.killed
    killed = children.finish(program)
    difference = killed["checksums"]["trips"][0] - calm["checksums"]["trips"][0]
    summary.rounds += 1
    summary.operations += len(operations)
    summary.lost += max(-difference, 0)
    summary.doubled += max(difference, 0)
    summary.differing += killed["checksums"] != calm["checksums"]
    summary.half_visible += len(half_visible(killed["found"], calm["found"], calm["census"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    summary = soak(options.minutes, options.seed)
    print(summary)
    return 0 if summary.clean else 1


if __name__ == "__main__":
    sys.exit(main())
