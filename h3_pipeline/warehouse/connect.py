"""Opens the warehouse that the settings name, with its tables up to date."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from h3_pipeline.clickhouse.client import ClickHouse
from h3_pipeline.clickhouse.credentials import credentials
from h3_pipeline.clickhouse.embedded import open_embedded
from h3_pipeline.clickhouse.http import open_http
from h3_pipeline.processing.handover import Handovers
from h3_pipeline.settings import Settings
from h3_pipeline.storage.bucket import BucketAccess
from h3_pipeline.storage.named_collection import named_collection_configuration
from h3_pipeline.warehouse.backup_exchange import finish_interrupted_exchange
from h3_pipeline.warehouse.loading import Warehouse
from h3_pipeline.warehouse.lock import ProcessLock, ServerLock
from h3_pipeline.warehouse.migrate import migrate
from h3_pipeline.warehouse.schema import Placement

logger = logging.getLogger(__name__)


@contextmanager
def open_warehouse(
    settings: Settings, access: BucketAccess | None, *, on_wait: Callable[[str], None] = logger.info
) -> Iterator[Warehouse]:
    """Open the warehouse.

    The embedded one belongs to one process at a time: open it late and leave it early.

    Args:
        settings: Which warehouse.
        access: The bucket, for the embedded engine; a server has its own named collection.
        on_wait: Told, in words, that another process has the embedded warehouse open, or is publishing.

    Raises:
        WarehouseError: It cannot be opened.
    """
    placement = Placement(settings.clickhouse_database, settings.clickhouse_cluster)
    with _engine(settings, access, on_wait) as engine:
        lock = (
            ProcessLock()
            if settings.embedded
            else ServerLock(engine, placement, _connection(settings), on_wait=on_wait)
        )
        engine.repeat(lambda: finish_interrupted_exchange(engine, placement, lock))
        # every migration can be run twice
        engine.repeat(lambda: migrate(engine, placement))
        yield Warehouse(engine, placement, settings.h3_rollup_resolutions, lock, handovers(settings))


def handovers(settings: Settings) -> Handovers | None:
    """Where tasks leave their trips for the embedded warehouse; None where a server loads clean CSVs."""
    return Handovers(settings.home / "handovers") if settings.embedded else None


@contextmanager
def _engine(settings: Settings, access: BucketAccess | None, on_wait: Callable[[str], None]) -> Iterator[ClickHouse]:
    if settings.embedded:
        configuration = named_collection_configuration(access) if access else ""
        with open_embedded(settings.home / "warehouse", configuration=configuration, on_wait=on_wait) as engine:
            yield engine
        return
    with _connection(settings)() as engine:
        yield engine


def _connection(settings: Settings) -> Callable[[], AbstractContextManager[ClickHouse]]:
    """Opens a connection to the server."""
    return partial(
        open_http,
        host=settings.clickhouse_host or "",
        port=settings.warehouse_http_port,
        secure=settings.clickhouse_secure,
        credentials=credentials(settings),
    )
