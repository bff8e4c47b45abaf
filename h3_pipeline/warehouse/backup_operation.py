"""Runs the engine's own BACKUP and RESTORE to their end, and tells how far they are.

They run in the background of the engine, so that no connection must last as long as they do.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from h3_pipeline.clickhouse.client import ClickHouse, QueryError, first_sentence
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import identifier, literal
from h3_pipeline.storage.named_collection import NAME as BUCKET
from h3_pipeline.warehouse.schema import Placement

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 2.0
_SETTINGS = {
    # the engine would try for hours to reach a bucket that is away
    "backup_restore_s3_retry_attempts": 20,
}
_DONE = ("BACKUP_CREATED", "RESTORED")
_RUNNING = ("CREATING_BACKUP", "RESTORING")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is.

    Attributes:
        done: Bytes dealt with.
        total: Bytes in all.
    """

    done: int
    total: int


OnProgress = Callable[[Progress], None]


def unwatched(_: Progress) -> None:
    """Tell nobody."""


class OperationFailed(WarehouseError):
    """The engine began an operation and could not complete it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A BACKUP or RESTORE of some tables.

    Attributes:
        engine: The warehouse.
        placement: Its cluster counts, not its database.
        tables: Tables.
        database: Their database in the engine.
        database_in_backup: Their database in the backup.
        data: Prefix of the objects that the engine writes or reads.
    """

    engine: ClickHouse
    placement: Placement
    tables: Iterable[str]
    database: str
    database_in_backup: str
    data: str

    def back_up(self, base: str | None, size: int, on_progress: OnProgress) -> None:
        """Write the tables to the bucket.

        Args:
            base: Prefix of the objects of the full backup to rest on; None for a full backup.
            size: Bytes of the tables on disk.
            on_progress: Told now and then how far it is.

        Raises:
            OperationFailed: It could not be completed.
        """
        tables = self._tables(self.database, self.database_in_backup)
        settings = {"base_backup": _location(base)} if base else {}
        self._run(f"BACKUP {tables} {self._on_cluster} TO {_location(self.data)}", settings, size, on_progress)

    def restore(self, on_progress: OnProgress) -> None:
        """Read the tables from the bucket, into tables that do not exist yet, or are empty.

        Args:
            on_progress: Told now and then how far it is.

        Raises:
            OperationFailed: It could not be completed.
        """
        tables = self._tables(self.database_in_backup, self.database)
        # replicated tables are there already, under the path of their own database
        settings = {"allow_different_table_def": "true"} if self.placement.cluster else {}
        self._run(f"RESTORE {tables} {self._on_cluster} FROM {_location(self.data)}", settings, None, on_progress)

    @property
    def _on_cluster(self) -> str:
        return self.placement.on_cluster()

    def _tables(self, source: str, target: str) -> str:
        return ", ".join(
            f"TABLE {identifier(source)}.{identifier(name)} AS {identifier(target)}.{identifier(name)}"
            for name in self.tables
        )

    def _run(self, statement: str, settings: Mapping[str, str], size: int | None, on_progress: OnProgress) -> None:
        number = uuid4().hex
        clause = ", ".join(f"{name} = {value}" for name, value in {"id": literal(number), **settings}.items())
        try:
            self.engine.command(f"{statement} SETTINGS {clause} ASYNC", settings=_SETTINGS)
        except QueryError as error:
            if not error.passing:
                raise
            # whether it began is the engine's to say
            logger.info("nobody knows whether the operation began: %s", error)
        self._wait(number, size, on_progress)

    def _wait(self, number: str, size: int | None, on_progress: OnProgress) -> None:
        pause = _FIRST_PAUSE
        while True:
            records = self.engine.records(
                "SELECT toString(status) AS status, error, total_size, bytes_read FROM system.backups "
                "WHERE id = {id:String}",
                {"id": number},
            )
            if not records:
                raise OperationFailed(
                    f"{self.engine.where} knows nothing of {self.data} any more: it was restarted, or another server "
                    "answered. Run the command again."
                )
            record = records[0]
            if record["status"] in _DONE:
                return
            if record["status"] not in _RUNNING:
                raise OperationFailed(f"{self.engine.where}: {first_sentence(str(record['error']))}")
            total = int(record["total_size"])
            done, total = (int(record["bytes_read"]), total) if size is None else (total, max(size, total))
            on_progress(Progress(done, total))
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def _location(prefix: str) -> str:
    return f"S3({BUCKET}, {literal(prefix)})"
