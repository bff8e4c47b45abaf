"""Runs as processes of this machine, each on its own: what ECS does with tasks, without ECS.

A run gets the command that ECS would give its task, outlives the daemon that launched it, and is
known by its process alone, so that another daemon can look after it.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil
from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

PROCESS_TAG = "h3_pipeline/worker"
"""Id and start of a run's process; ids alone are used again by the system."""


class ProcessRunLauncher(RunLauncher, ConfigurableClass):
    """Launches each run as a process.

    Configured in ``dagster.yaml``, without settings of its own::

        run_launcher:
          module: h3_pipeline.ops.launchers.process
          class: ProcessRunLauncher
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What it was configured with."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """It has no settings."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make one from its settings."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run's process."""
        run = context.dagster_run
        origin = context.job_code_origin
        if origin is None:
            raise ValueError(f"run {run.run_id} does not say where its code is")
        command = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        folder = Path(sys.executable).parent  # where `dagster` is, as in the image
        process = subprocess.Popen(
            command.get_command_args(),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": os.pathsep.join([str(folder), os.environ.get("PATH", "")])},
            start_new_session=True,  # it outlives this process, and hears no Ctrl-C
        )
        self._children[process.pid] = process
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: _name(psutil.Process(process.pid))})
        self._instance.report_engine_event(f"Launched the run in process {process.pid}.", run, cls=type(self))

    def terminate(self, run_id: str) -> bool:
        """Ask a run's process to end, as ECS does; False if there is none."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process = self._process(run)
        if process is None:
            return False
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            return True
        return False

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether the daemon may ask how a run's process is."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """How a run's process is."""
        name = run.tags.get(PROCESS_TAG)
        if name is None:
            return CheckRunHealthResult(WorkerStatus.UNKNOWN, "the run has no process yet")
        if self._process(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=name)
        child = self._children.get(int(name.partition(":")[0]))
        code = child.poll() if child else None
        ended = "" if code is None else f", with exit code {code}"
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {name} has ended{ended}", run_worker_id=name)

    def _process(self, run: DagsterRun) -> psutil.Process | None:
        """A run's process, if it lives."""
        name = run.tags.get(PROCESS_TAG)
        if name is None:
            return None
        pid = int(name.partition(":")[0])
        if pid in self._children and self._children[pid].poll() is not None:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if _name(process) == name and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def _name(process: psutil.Process) -> str:
    return f"{process.pid}:{process.create_time():.2f}"
