"""Reads a Dockerfile, so that its steps can be replayed where there is no container engine."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: its name, and the rest on one line."""

    instruction: str
    rest: str


def stages(dockerfile: Path) -> list[list[Step]]:
    """The instructions by stage; what stands before the first FROM belongs to none."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    steps = [Step(*line.split(maxsplit=1)) for line in lines if line.strip()]
    found: list[list[Step]] = []
    for step in steps:
        if step.instruction == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def copy_from_context(step: Step, context: Path, workdir: Path) -> None:
    """Do a COPY from the build context."""
    *sources, target = [part for part in step.rest.split() if not part.startswith("--")]
    for source in sources:
        found = context / source
        into = workdir / target
        if found.is_dir():
            shutil.copytree(found, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into = into / found.name if target.endswith("/") else into
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, into)


def in_context(path: str, ignore_file: Path) -> bool:
    """Whether .dockerignore lets a path into the build: the last pattern that matches it or a folder above decides."""
    kept = True
    for line in ignore_file.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{expression}(?:/.*)?", path):
            kept = line.startswith("!")
    return kept
