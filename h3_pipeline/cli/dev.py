"""``dev``: Dagster's UI and daemon beside the local bucket, until it is told to stop."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from h3_pipeline.cli import screen
from h3_pipeline.cli.process import Terminated
from h3_pipeline.errors import PipelineError
from h3_pipeline.local.dagster_home import dagster_home
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog

HOST = "127.0.0.1"
START_SECONDS = 180.0
GRACE_SECONDS = 10.0
"""How long Dagster may take to end; what is left of it then is killed."""


def dev(*, verbose: bool) -> int:
    """Run Dagster until Ctrl-C or SIGTERM."""
    settings = Settings.load()
    load_catalog(settings)
    url = f"http://{HOST}:{settings.port}"
    with _only_one(settings.home, url):
        _require_free(settings.port)
        with bucket_access(settings) as access, dagster_home(settings.home) as folder:
            with _dagster(settings, folder, verbose=verbose) as dagster:
                try:
                    with screen.stage("Starting Dagster"):
                        _wait_until_it_answers(dagster, url)
                    screen.say(f"Dagster    {url}", style="bold")
                    screen.say(f"bucket     {access.name} at {access.endpoint_url or 'AWS S3'}")
                    if settings.local_object_store:
                        screen.say(f"           its keys are in {settings.home / 'object_store' / 's3.json'}")
                    screen.say("upload     h3-pipeline upload FILE...    loaded within a minute")
                    screen.say("stop       Ctrl-C")
                    code = dagster.wait()
                except (KeyboardInterrupt, Terminated):
                    screen.say("Stopping Dagster and the bucket")
                    return 0
            raise PipelineError(f"Dagster ended by itself, with exit code {code}; what it said is above")


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


@contextmanager
def _only_one(home: Path, url: str) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    lock = _lock(home)
    try:
        lock.acquire()
    except Timeout:
        raise PipelineError(f"`h3-pipeline dev` runs already, at {running_ui(home) or 'an address to come'}") from None
    try:
        _record(home).write_text(json.dumps({"pid": os.getpid(), "url": url}))
        yield
    finally:
        _record(home).unlink(missing_ok=True)
        lock.release()


def _lock(home: Path) -> FileLock:
    return FileLock(home / "dev.lock", blocking=False)


def _record(home: Path) -> Path:
    return home / "dev.json"


def _require_free(port: int) -> None:
    if not port_is_free(port):
        raise PipelineError(
            f"Port {port} is in use by another program; end that, or choose another: PORT={port + 1} h3-pipeline dev"
        )


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
def _dagster(settings: Settings, folder: Path, *, verbose: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's processes; when left, all of them are gone."""
    level = "info" if verbose else "warning"
    command = [sys.executable, "-m", "dagster", "dev", "-m", "h3_pipeline.definitions"]
    command += ["-h", HOST, "-p", str(settings.port), "--log-level", level, "--code-server-log-level", level]
    # Their working folder is another than ours, so paths become absolute.
    environment = {**os.environ, "H3_PIPELINE_HOME": str(settings.home)}
    if settings.h3_pipeline_feeds:
        environment["H3_PIPELINE_FEEDS"] = str(settings.h3_pipeline_feeds.expanduser().resolve())
    if not verbose:
        environment["PYTHONWARNINGS"] = "ignore"
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        cwd=folder,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
    )
    try:
        yield child
    finally:
        _end(child)


def _wait_until_it_answers(child: subprocess.Popen[bytes], url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None:
        try:
            with opener.open(f"{url}/server_info", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise PipelineError(f"Dagster's UI did not answer at {url} within {START_SECONDS:.0f} s") from None
            time.sleep(0.3)
    raise PipelineError(
        f"Dagster ended while it was starting, with exit code {child.returncode}; what it said is above"
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ask Dagster to end, and kill what has not ended in time."""
    # a second Ctrl-C must not leave anything behind
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        family = _family(child.pid)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
        family |= _family(child.pid)
        for process in family:
            try:
                process.kill()  # psutil makes sure that the id has not passed to another process
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(list(family), timeout=5)
        child.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _family(pid: int) -> set[psutil.Process]:
    """Dagster's processes: the descendants of its first one, and all that are in its session."""
    family: set[psutil.Process] = set()
    try:
        first = psutil.Process(pid)
        family = {first, *first.children(recursive=True)}
    except psutil.NoSuchProcess:
        pass
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid:
                family.add(process)
        except OSError:
            continue
    return family
