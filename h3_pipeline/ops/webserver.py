"""Dagster's webserver as production runs it: with a true ``/health``, and with the users that a load balancer proves.

Run it with ``python -m h3_pipeline.ops.webserver --host 0.0.0.0 -w workspace.yaml``; ``DAGSTER_HOME`` names the folder
of the instance's ``dagster.yaml``, ``PORT`` the port.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.version import __version__ as webserver_version
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from h3_pipeline.errors import PipelineError, SettingsError
from h3_pipeline.ops.daemon_watch import daemon_watch
from h3_pipeline.ops.database import outlive_restarts
from h3_pipeline.ops.health import HealthCheck, health_check
from h3_pipeline.ops.identity import LoadBalancer, RequireUser, load_balancer, user_of
from h3_pipeline.ops.logs import log_to_stderr
from h3_pipeline.ops.run_coordinator import USER_TAG
from h3_pipeline.ops.tracing import instrument
from h3_pipeline.settings import Settings

HEALTH = "/health"

KEEP_ALIVE_SECONDS = 330
"""Longer than a load balancer keeps an idle connection, or it sends a request into one that is just being closed."""

SHUTDOWN_SECONDS = 10
"""How long open pages may hold up the end; ECS kills after 30 seconds."""

STATEMENT_TIMEOUT_MS = 15_000
POOL_RECYCLE_SECONDS = 3600
POOL_MAX_OVERFLOW = 20


class ProxiedRequestContext(WorkspaceRequestContext):
    """A request whose user, if one is proved, is noted on what it starts."""

    def get_viewer_tags(self) -> dict[str, str]:
        """Tags of a backfill, and so of its runs."""
        user = user_of(self.source)
        return {USER_TAG: user} if user else {}

    def get_reporting_user_tags(self) -> dict[str, str]:
        """Tags of an event reported by hand."""
        return self.get_viewer_tags()


class ProxiedProcessContext(WorkspaceProcessContext):
    """The workspace of a webserver whose requests know their user."""

    def create_request_context(self, source: object | None = None) -> ProxiedRequestContext:
        """The context of one request."""
        return ProxiedRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=self.read_only,
        )


class PipelineWebserver(DagsterWebserver[WorkspaceProcessContext, WorkspaceRequestContext]):
    """Dagster's webserver, which otherwise answers 200 on any path.

    Args:
        process_context: The workspace.
        health: What ``/health`` shows.
        balancer: The load balancer whose users are let in; None lets everybody in.
    """

    def __init__(
        self, process_context: WorkspaceProcessContext, health: HealthCheck, balancer: LoadBalancer | None = None
    ) -> None:
        self._health = health
        self._balancer = balancer
        super().__init__(process_context)

    async def health_endpoint(self, _request: Request) -> JSONResponse:
        """200 if requests should come here, 503 if not; the body tells how each part is."""
        health = await asyncio.wrap_future(self._health.find())
        headers = {"Cache-Control": "no-store"}
        return JSONResponse(dict(health.document), status_code=200 if health.ready else 503, headers=headers)

    def build_routes(self) -> list[BaseRoute]:
        """Ours before Dagster's, whose last one takes every path."""
        return [Route(HEALTH, self.health_endpoint, methods=["GET", "HEAD"]), *super().build_routes()]

    def build_middleware(self) -> list[Middleware]:
        """Users first: what nobody proves gets no further."""
        users = []
        if self._balancer is not None:
            users.append(Middleware(RequireUser, balancer=self._balancer, open_paths=frozenset({HEALTH})))
        return [*users, *super().build_middleware()]


def process_context(
    instance: DagsterInstance, workspace: Sequence[Path], *, read_only: bool
) -> AbstractContextManager[ProxiedProcessContext]:
    """The code locations of workspace files, loaded.

    Args:
        instance: The instance.
        workspace: Workspace files.
        read_only: Whether nothing can be launched, stopped or changed through it.
    """
    return ProxiedProcessContext(
        instance,
        workspace_load_target=WorkspaceFileTarget([str(path) for path in workspace]),
        version=webserver_version,
        read_only=read_only,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args(arguments)
    configure_loggers(log_level=options.log_level.upper())
    try:
        settings = Settings.load()
        log_to_stderr(settings)
        options.workspace = options.workspace or [Path("workspace.yaml")]
        for path in options.workspace:
            if not path.is_file():
                raise SettingsError(f"There is no workspace file {path}; name one with -w")
        _serve(options, settings)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    outlive_restarts()
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(STATEMENT_TIMEOUT_MS, POOL_RECYCLE_SECONDS, POOL_MAX_OVERFLOW)
        with (
            process_context(instance, options.workspace, read_only=options.read_only) as context,
            daemon_watch(instance, settings),
        ):
            server = PipelineWebserver(context, health_check(instance, settings), load_balancer(settings))
            uvicorn.run(
                instrument(server.create_asgi_app(), settings),
                host=options.host,
                port=options.port or settings.port,
                log_level=options.log_level,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
                access_log=False,
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m h3_pipeline.ops.webserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, help="port to listen on; by default PORT, or 3000")
    parser.add_argument(
        "-w", "--workspace", type=Path, action="append", metavar="FILE", help="workspace file; ./workspace.yaml"
    )
    parser.add_argument("--read-only", action="store_true", help="for viewers: nothing can be launched or changed")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="warning")
    return parser


if __name__ == "__main__":
    sys.exit(main())
