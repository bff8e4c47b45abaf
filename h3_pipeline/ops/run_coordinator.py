"""Dagster's run queue, which also notes who asked for a run."""

from dagster import DagsterRun, QueuedRunCoordinator
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.workspace.context import WorkspaceRequestContext

from h3_pipeline.ops.identity import user_of
from h3_pipeline.ops.tracing import run_tags

USER_TAG = "user"
"""The tag by which Dagster's UI shows who launched a run."""


class AttributingRunCoordinator(QueuedRunCoordinator):
    """Queues runs and tags those launched from the UI with the name of the user that the proxy proved.

    A run that a sensor or a schedule asks for gets no such tag, and an automatic retry keeps that of
    the run it repeats.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Queue a run."""
        workspace = context.workspace
        user = user_of(workspace.source) if isinstance(workspace, WorkspaceRequestContext) else None
        # the trace of the request that launches it, where requests are traced
        tags = run_tags()
        if user:
            # over whatever the launchpad sent: a name is proved, or it is not there
            tags[USER_TAG] = user
        if tags:
            self._instance.add_run_tags(context.dagster_run.run_id, tags)
        return super().submit_run(context)
