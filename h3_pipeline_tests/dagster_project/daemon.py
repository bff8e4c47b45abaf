"""Dagster's own sensor daemon, one iteration at a time, with runs that are queued and never executed."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRun
from dagster._core.instance_for_test import instance_for_test
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_daemon

from h3_pipeline.partitions import UPLOADS
from h3_pipeline.runs import partitions_of

SENSOR = "uploads_sensor"


class Daemon:
    """The sensor daemon with one sensor, on an instance of its own.

    Args:
        instance: Dagster's storage.
        workspace: With the project's code location in this process.
    """

    def __init__(self, instance: DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance = instance
        self._workspace = workspace
        for location in workspace.create_request_context().code_locations:
            for repository in location.get_repositories().values():
                for sensor in repository.get_sensors():
                    if sensor.name == SENSOR:
                        self._origin, self._selector = sensor.get_remote_origin_id(), sensor.selector_id
                    else:
                        instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)

    def tick(self) -> None:
        """One iteration: the sensor once, however short the time since the last one."""
        with pytest.MonkeyPatch.context() as patch:
            # else a machine that is quick enough gets no second tick: the sensor's interval has not passed
            patch.setattr(sensor_daemon, "is_under_min_interval", lambda *arguments, **named: False)
            list(sensor_daemon.execute_sensor_iteration(self._workspace, logging.getLogger(__name__), None, None))

    def killed(self, prepare: Callable[[], None]) -> bool:
        """One iteration in a child process that ``prepare`` may have killed; tells whether it was."""
        child = os.fork()
        if child == 0:
            try:
                prepare()
                self.tick()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    @property
    def cursor(self) -> str | None:
        """The sensor's cursor."""
        state = self.instance.get_instigator_state(self._origin, self._selector)
        return state.instigator_data.cursor if state and state.instigator_data else None  # type: ignore[union-attr]

    def set_cursor(self, cursor: str) -> None:
        """Have something else in the cursor's place."""
        state = self.instance.get_instigator_state(self._origin, self._selector)
        assert state is not None
        assert state.instigator_data is not None
        self.instance.update_instigator_state(state.with_data(state.instigator_data._replace(cursor=cursor)))

    def errors(self) -> list[str]:
        """What failed ticks said."""
        ticks = self.instance.get_ticks(self._origin, self._selector)
        return [tick.error.message for tick in ticks if tick.error]

    def runs(self) -> list[list[str]]:
        """Partitions of every run, oldest first."""
        return [list(self._partitions(run)) for run in reversed(self.instance.get_runs())]

    def _partitions(self, run: DagsterRun) -> Sequence[str]:
        known = list(self.instance.get_dynamic_partitions(UPLOADS))
        return partitions_of(run, {partition: place for place, partition in enumerate(known)}, known)

    def fail_all(self) -> None:
        """Fail every run that is not finished."""
        for run in self.instance.get_runs():
            if not run.is_finished:
                self.instance.report_run_failed(run, "the test failed it")


@contextmanager
def sensor_daemon_on(folder: Path) -> Iterator[Daemon]:
    """The daemon with storage below a folder."""
    with instance_for_test(temp_dir=str(folder), overrides={"telemetry": {"enabled": False}}) as instance:
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="h3_pipeline.definitions"))
        with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
            yield Daemon(instance, workspace)
