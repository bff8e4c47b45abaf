"""``dev``: Dagster's UI and daemon beside the local bucket, until it is told to stop."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from h3_pipeline.cli import screen
from h3_pipeline.cli.dagster_services import HOST, DagsterServices, dagster_services
from h3_pipeline.cli.process import Terminated
from h3_pipeline.cli.production_services import ProductionServices, production_services
from h3_pipeline.errors import PipelineError
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.local.postgres import find_programs
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog
from h3_pipeline.storage.bucket import Bucket


def dev(*, verbose: bool, production_like: bool = False) -> int:
    """Run Dagster until Ctrl-C or SIGTERM.

    Args:
        verbose: Show all that it says.
        production_like: With the processes that it has in production.
    """
    settings = Settings.load()
    if production_like:
        find_programs()
    load_catalog(settings)
    with _only_one(settings):
        if not port_is_free(settings.port):
            raise PipelineError(
                f"Port {settings.port} is in use by another program; end that, or choose another port in PORT"
            )
        with bucket_access(settings) as access:
            bucket = Bucket(access)
            bucket.check()
            try:
                with _services(settings, verbose, production_like) as dagster:
                    with screen.stage("Starting Dagster"):
                        dagster.wait_until_ready()
                    screen.say(f"Dagster    {dagster.url}", style="bold")
                    screen.say(f"bucket     {access.name} at {access.endpoint_url or 'AWS S3'}")
                    if settings.local_object_store:
                        screen.say(f"           its keys are in {settings.home / 'object_store' / 's3.json'}")
                    screen.say("upload     h3-pipeline upload FILE...    loaded within a minute")
                    screen.say(f"log        {dagster.log}")
                    screen.say("stop       Ctrl-C")
                    try:
                        code = dagster.wait()
                    except (KeyboardInterrupt, Terminated):
                        screen.say("Stopping Dagster and the bucket")
                        raise
            except (KeyboardInterrupt, Terminated):
                return 0
            raise PipelineError(f"Dagster ended by itself, with exit code {code}; its log is {dagster.log}")


@contextmanager
def _services(
    settings: Settings, verbose: bool, production_like: bool
) -> Iterator[DagsterServices | ProductionServices]:
    """Dagster's processes: those of a laptop, or those of production."""
    if production_like:
        with production_services(settings, verbose=verbose) as production:
            yield production
        return
    with dagster_home(settings.home) as folder, dagster_services(settings, folder, verbose=verbose) as local:
        yield local


def running_ui(home: Path) -> str | None:
    """URL of the UI of the ``dev`` that runs on this home, or None."""
    lock = _lock(home)
    if not Path(lock.lock_file).exists():
        return None
    try:
        with lock:
            return None
    except Timeout:
        pass
    try:
        return str(json.loads(_record(home).read_text())["url"])
    except (OSError, ValueError, LookupError):
        return None  # it is just starting


def port_is_free(port: int) -> bool:
    """Whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Dagster's server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Be the only ``dev`` of the home, and tell other commands where the UI is."""
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    lock = _lock(home)
    try:
        lock.acquire()
    except Timeout:
        raise PipelineError(f"`h3-pipeline dev` runs already, at {running_ui(home) or 'an address to come'}") from None
    try:
        _record(home).write_text(json.dumps({"pid": os.getpid(), "url": f"http://{HOST}:{settings.port}"}))
        yield
    finally:
        _record(home).unlink(missing_ok=True)
        lock.release()


def _lock(home: Path) -> FileLock:
    return FileLock(home / "dev.lock", blocking=False)


def _record(home: Path) -> Path:
    return home / "dev.json"
