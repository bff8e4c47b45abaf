"""Opens the warehouse that the settings name, with its tables up to date: the only one, or one of its shards."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.credentials import credentials
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.errors import WarehouseError
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import BucketAccess
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.backup_exchange import finish_interrupted_exchange
from h3_pipeline.warehouse.everywhere import everywhere, everywhere_is_current, keep_everywhere
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.lock import ProcessLock, ServerLock
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement
from h3_pipeline.warehouse.sharding import NAMED, Shard, group_by_shard, shards_of

logger = logging.getLogger(__name__)


class Shards:
    """The shards among which the settings have the uploads spread; a single one where they do not.

    In a loader::

        for shard, keys in Shards(settings).group(keys).items():
            with open_shard(settings, shard, access) as warehouse:
                ...

    Args:
        settings: Which warehouse.

    Raises:
        WarehouseError: The cluster cannot be asked.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.all: tuple[Shard, ...] = (NAMED,)
        if settings.clickhouse_sharding != "off":
            with _connection(settings, None)() as engine:
                self.all = shards_of(engine, settings.clickhouse_cluster or "")

    def group(self, uploads: Iterable[str]) -> dict[Shard, list[str]]:
        """Uploads by the shard that each is on, in the order given; a shard without any is left out.

        Args:
            uploads: Keys below ``uploads/``.

        Raises:
            WarehouseError: The cluster cannot be asked.
        """
        keys = list(uploads)
        if len(self.all) == 1:
            return dict.fromkeys(self.all, keys) if keys else {}
        with _connection(self._settings, None)() as engine:
            return group_by_shard(engine, self.all, keys)


@contextmanager
def open_warehouse(
    settings: Settings, access: BucketAccess | None, *, on_wait: Callable[[str], None] = logger.info
) -> Iterator[Warehouse]:
    """Open the warehouse, where it is one.

    The embedded one belongs to one process at a time: open it late and leave it early.

    Args:
        settings: Which warehouse.
        access: The bucket, for the embedded engine; a server has its own named collection.
        on_wait: Told, in words, that another process has the embedded warehouse open, or is publishing.

    Raises:
        WarehouseError: It cannot be opened, or has several shards, of which none is the whole.
    """
    shard, *others = Shards(settings).all
    if others:
        raise WarehouseError(
            f"The warehouse has {len(others) + 1} shards, and this works on a single one only "
            "(CLICKHOUSE_SHARDING; see docs/scaling.md)"
        )
    with open_shard(settings, shard, access, on_wait=on_wait) as warehouse:
        yield warehouse


@contextmanager
def open_shard(
    settings: Settings, shard: Shard, access: BucketAccess | None, *, on_wait: Callable[[str], None] = logger.info
) -> Iterator[Warehouse]:
    """Open one of the warehouse's shards.

    Args:
        settings: Which warehouse.
        shard: One of `Shards`.
        access: The bucket, for the embedded engine; a server has its own named collection.
        on_wait: Told, in words, that another process has the embedded warehouse open, or is publishing.

    Raises:
        WarehouseError: It cannot be opened.
    """
    placement = _placement(settings)
    with _engine(settings, shard.host, access, on_wait) as engine:
        lock = (
            ProcessLock()
            if settings.embedded
            else ServerLock(engine, placement, _connection(settings, shard.host), on_wait=on_wait)
        )
        engine.repeat(lambda: finish_interrupted_exchange(engine, placement, lock))
        # every migration can be run twice
        engine.repeat(lambda: migrate(engine, placement))
        if settings.clickhouse_sharding != "off":
            engine.repeat(lambda: keep_everywhere(engine, placement, cluster=settings.clickhouse_cluster or ""))
        yield Warehouse(engine, placement, settings.h3_rollup_resolutions, lock, handovers(settings))


def handovers(settings: Settings) -> Handovers | None:
    """Where tasks leave their trips for the embedded warehouse; None where a server loads clean CSVs."""
    return Handovers(settings.home / "handovers") if settings.embedded else None


@contextmanager
def open_server(settings: Settings, *, on_wait: Callable[[str], None] = logger.info) -> Iterator[ClickHouse]:
    """Connect to the server that the settings name, to read; names without a database are those of all shards.

    Args:
        settings: Which warehouse; not the embedded one.
        on_wait: Told, in words, that there is a wait.

    Raises:
        WarehouseError: It cannot be opened.
    """
    if settings.clickhouse_sharding == "off":
        with open_shard(settings, NAMED, None, on_wait=on_wait) as warehouse:
            yield warehouse.engine
        return
    placement = _placement(settings)
    with _connection(settings, None)() as engine:
        if not everywhere_is_current(engine, placement):
            # a shard that nothing was loaded into yet is asked too
            for shard in (*Shards(settings).all, NAMED):
                with open_shard(settings, shard, None, on_wait=on_wait):
                    pass
        engine.use(everywhere(placement).database)
        yield engine


def _placement(settings: Settings) -> Placement:
    return Placement(
        settings.clickhouse_database, settings.clickhouse_cluster if settings.clickhouse_replicated else None
    )


@contextmanager
def _engine(
    settings: Settings, host: str | None, access: BucketAccess | None, on_wait: Callable[[str], None]
) -> Iterator[ClickHouse]:
    if settings.embedded:
        configuration = named_collection_configuration(access) if access else ""
        with open_embedded(settings.home / "warehouse", configuration=configuration, on_wait=on_wait) as engine:
            yield engine
        return
    with _connection(settings, host)() as engine:
        yield engine


def _connection(settings: Settings, host: str | None) -> Callable[[], AbstractContextManager[ClickHouse]]:
    """Opens a connection to a server; None is the one that the settings name."""
    return partial(
        open_http,
        host=host or settings.clickhouse_host or "",
        port=settings.warehouse_http_port,
        secure=settings.clickhouse_secure,
        credentials=credentials(settings),
    )
