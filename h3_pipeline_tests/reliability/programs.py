"""What a child process is told to do: load, replace and retract, or process, and say how it went."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from h3_pipeline.processing.engine import open_task_engine
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.processing.manifest import Manifest
from h3_pipeline.processing.process import process_upload
from h3_pipeline.processing.together import process_together
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import Bucket, BucketAccess
from h3_pipeline.warehouse.backup import take_backup
from h3_pipeline.warehouse.backup_operation import OnProgress, Progress
from h3_pipeline.warehouse.backup_restore import restore_backup
from h3_pipeline.warehouse.connect import open_warehouse
from h3_pipeline_tests.reliability.checksums import census, checksums, leftovers
from h3_pipeline_tests.uploads import processing_task

Program = dict[str, Any]
OnStage = Callable[[str], None]

HEADER = "started_at,ended_at,origin_lat,origin_lng,destination_lat,destination_lng,region,fare_amount"


def trips_csv(months: dict[str, int], *, first: int = 0, bad: int = 0, region: str = "Prague") -> str:
    """Trips of some months, ``YYYY-MM`` to the number of rows; places, hours and cells overlap between files.

    Args:
        months: Rows by month of departure.
        first: Shifts every trip by so many minutes.
        bad: Rows at null island, which are refused.
        region: Their region.
    """
    lines = [HEADER]
    for month, rows in months.items():
        for row in range(rows):
            minute = (first + row * 7) % (28 * 1440)
            clock = f"{month}-{1 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}"
            place = f"{50 + row % 17 / 100:.4f},{14.42 + row % 5 / 100:.4f},{50.01 + row % 7 / 100:.4f},14.43"
            lines.append(f"{clock}:00Z,{clock}:45Z,{place},{region},{row % 9}.5")
    lines += [f"{min(months)}-01T00:00:00Z,,0,0,50,14,{region},1"] * bad
    return "\n".join(lines) + "\n"


def load(manifest: Manifest, upload: str | None = None) -> list[Any]:
    """An operation that loads a processed upload, under another key if wanted."""
    return ["load", asdict(replace(manifest, upload=upload) if upload else manifest)]


def load_together(*manifests: Manifest) -> list[Any]:
    """An operation that loads processed uploads at once."""
    return ["load together", [asdict(manifest) for manifest in manifests]]


def retract(upload: str) -> list[Any]:
    """An operation that takes an upload out."""
    return ["retract", upload]


def back_up() -> list[Any]:
    """An operation that takes a backup."""
    return ["back up", ""]


def restore(at: str = "") -> list[Any]:
    """An operation that puts a backup in the place of what is there."""
    return ["restore", at]


def warehouse_program(
    home: Path,
    access: BucketAccess,
    operations: list[list[Any]],
    answer: Path,
    rollup_resolutions: tuple[int, ...] = (9, 8, 7, 6, 5),
) -> Program:
    """Work on the embedded warehouse of ``home``.

    The answer is what the warehouse held before and what it holds after, see `checksums`.
    """
    return {
        "kind": "warehouse",
        "home": str(home),
        "access": asdict(access),
        "operations": operations,
        "rollup_resolutions": rollup_resolutions,
        "answer": str(answer),
    }


def processing_program(home: Path, access: BucketAccess, keys: list[str], answer: Path) -> Program:
    """Process uploads, together if there are several; at the end their manifests are in ``answer``."""
    return {"kind": "processing", "home": str(home), "access": asdict(access), "keys": keys, "answer": str(answer)}


def run(program: Program, on_stage: OnStage) -> None:
    """Do what a program says, in this process."""
    answer = _PROGRAMS[program["kind"]](program, BucketAccess(**program["access"]), on_stage)
    Path(program["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _warehouse(program: Program, access: BucketAccess, on_stage: OnStage) -> dict[str, Any]:
    settings = Settings.load(h3_pipeline_home=program["home"], h3_rollup_resolutions=program["rollup_resolutions"])
    with open_warehouse(settings, access) as warehouse:
        on_stage("open")
        found = census(warehouse.engine)
        for operation, what in program["operations"]:
            if operation == "load":
                warehouse.load(Manifest.from_json(what), on_stage=on_stage)
            elif operation == "load together":
                warehouse.load_all([Manifest.from_json(each) for each in what], on_stage=on_stage)
            elif operation == "back up":
                take_backup(warehouse, Bucket(access), on_progress=_once(on_stage), on_stage=on_stage)
            elif operation == "restore":
                at = datetime.fromisoformat(what) if what else None
                bucket, progress = Bucket(access), _once(on_stage)
                restore_backup(warehouse, bucket, at=at, overwrite=True, on_progress=progress, on_stage=on_stage)
            else:
                warehouse.retract(what, on_stage=on_stage)
        return {
            "found": found,
            "census": census(warehouse.engine),
            "checksums": checksums(warehouse.engine),
            "leftovers": leftovers(warehouse.engine),
        }


def _once(on_stage: OnStage) -> OnProgress:
    """Makes a stage of the engine's first sign of progress."""
    said = False

    def on_progress(_: Progress) -> None:
        nonlocal said
        if not said:
            said = True
            on_stage("under way")

    return on_progress


def _processing(program: Program, access: BucketAccess, on_stage: OnStage) -> dict[str, Any]:
    bucket = Bucket(access)
    manifests = {}
    handovers = Handovers(Path(program["home"]) / "handovers")
    handovers.prepare()
    with open_task_engine(Path(program["home"]), access) as task:
        on_stage("open")
        processing, keys = processing_task(bucket, task, handovers=handovers), program["keys"]
        together = process_together(keys, processing, on_stage=on_stage) if len(keys) > 1 else {}
        for key in keys:
            processed = together.get(key) or process_upload(key, processing, on_stage=on_stage)
            manifests[key] = asdict(processed.manifest)
        on_stage("processed")
    return manifests


_PROGRAMS = {"warehouse": _warehouse, "processing": _processing}
