"""One publisher at a time in one warehouse, whatever machine it runs on.

The embedded engine has its process lock. On a server a lease is a table, ``publish_lease_<number>``,
whose comment says who holds it and until when:

* The highest number counts. Taking the lock is creating the next number, which the server lets one
  client do; a number is never used again, so that a late statement of an earlier holder cannot
  touch a later lease.
* The holder renews its comment. One that is dead, or asleep, does not: its lease runs out by the
  server's clock, the next number is taken, and its table is dropped.
* The holder asks before each exchange whether it still holds. What it asked too early, because it
  fell asleep after the answer, is stopped by the next holder, who first drops the staging tables
  that it finds: every exchange needs one.
"""

import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.errors import WarehouseError
from h3_pipeline.sql import literal
from h3_pipeline.warehouse.schema import Placement

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
WAIT_SECONDS = 3600.0
_POLL_SECONDS = 0.5
_RENEWALS_PER_LEASE = 4
LEASE_PREFIX = "publish_lease_"
_TABLE_ALREADY_EXISTS = 57
_UNKNOWN_TABLE = 60


class LeaseLost(WarehouseError):
    """This process was out of touch for so long that another one took its place."""


class Lease(Protocol):
    """The right to publish."""

    def check(self) -> None:
        """Make sure that it still holds.

        Raises:
            LeaseLost: It does not.
        """
        ...


class PublishLock(Protocol):
    """Lets one publisher in at a time."""

    def hold(self, purpose: str) -> AbstractContextManager[Lease]:
        """Wait for the lock and hold it.

        Args:
            purpose: What for, in words for those who wait.

        Raises:
            WarehouseError: Another publisher kept it for too long.
        """
        ...


class ProcessLock:
    """The embedded engine belongs to one process, which has it open: there is nobody else."""

    @contextmanager
    def hold(self, purpose: str) -> Iterator[Lease]:  # noqa: ARG002 - nobody waits
        """Nothing to wait for."""
        yield self

    def check(self) -> None:
        """It holds as long as the process lives."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The lease with the highest number, as the server has it now."""

    number: int
    owner: str
    holder: str
    milliseconds_left: int


class ServerLock:
    """Leases on a server.

    Args:
        engine: The publisher's connection.
        placement: Where the lease's table is.
        connect: Opens one more connection, for the renewals.
        on_wait: Told once, in words, that there is a wait.
        lease_seconds: How long a holder that is not heard of keeps the lock.
        wait_seconds: How long to wait for it.
    """

    def __init__(
        self,
        engine: ClickHouse,
        placement: Placement,
        connect: Callable[[], AbstractContextManager[ClickHouse]],
        *,
        on_wait: Callable[[str], None] = logger.info,
        lease_seconds: float = LEASE_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._engine = engine
        self._placement = placement
        self._connect = connect
        self._on_wait = on_wait
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds

    @contextmanager
    def hold(self, purpose: str) -> Iterator[Lease]:
        """Wait for the lock and hold it, renewed in the background.

        Args:
            purpose: What for, in words for those who wait.

        Raises:
            WarehouseError: Another publisher kept it for too long.
        """
        owner = uuid4().hex
        lease = _ServerLease(
            self._engine,
            self._placement,
            self._acquire(owner, f"{socket.gethostname()}, process {os.getpid()}: {purpose}"),
            owner,
            self._lease_seconds,
        )
        stop = threading.Event()
        renewals = threading.Thread(
            target=lease.renew_until, args=(stop, self._connect), name="publish-lease", daemon=True
        )
        renewals.start()
        try:
            yield lease
        finally:
            stop.set()
            renewals.join()
            lease.release()

    def _acquire(self, owner: str, holder: str) -> int:
        deadline = time.monotonic() + self._wait_seconds
        told = False
        while True:
            found = _latest(self._engine, self._placement)
            if found is not None and found.owner == owner:
                self._drop_older(found.number)
                return found.number
            if found is None or found.milliseconds_left <= 0:
                self._try(1 if found is None else found.number + 1, owner, holder)
                continue  # who has it now is the server's to say
            if not told:
                self._on_wait(
                    f"Another process is publishing to {self._engine.where} ({found.holder}); waiting for it to finish."
                )
                told = True
            if time.monotonic() > deadline:
                raise WarehouseError(
                    f"{self._engine.where} has been in use by another publisher for {self._wait_seconds:.0f} s "
                    f"({found.holder}). Wait for that run to end, or stop it, and try again."
                )
            time.sleep(_POLL_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - only to spread the load

    def _try(self, number: int, owner: str, holder: str) -> None:
        comment = _comment(owner, holder, _now(self._engine) + int(self._lease_seconds * 1000))
        try:
            self._engine.command(
                f"CREATE TABLE {_table(self._placement, number)} (nothing UInt8) ENGINE = Null "
                f"COMMENT {literal(comment)}"
            )
        except QueryError as error:
            # another was quicker, or the outcome is unknown: the next look tells
            if error.code != _TABLE_ALREADY_EXISTS and not error.passing:
                raise
        found = _latest(self._engine, self._placement)
        if found is not None and found.number > number:
            # the number was free because it is of the past: whoever holds now has nothing to do with it
            self._engine.command(f"DROP TABLE IF EXISTS {_table(self._placement, number)} SYNC", repeatable=True)

    def _drop_older(self, number: int) -> None:
        for older in _numbers(self._engine, self._placement):
            if older < number:
                self._engine.command(f"DROP TABLE IF EXISTS {_table(self._placement, older)} SYNC", repeatable=True)


class _ServerLease:
    """One number, held."""

    def __init__(self, engine: ClickHouse, placement: Placement, number: int, owner: str, lease_seconds: float) -> None:
        self._engine = engine
        self._placement = placement
        self._number = number
        self._owner = owner
        self._lease_seconds = lease_seconds

    def check(self) -> None:
        """Ask the server whether this is still the lease that counts."""
        found = _latest(self._engine, self._placement)
        if found is None or found.owner != self._owner or found.milliseconds_left <= 0:
            raise LeaseLost(
                f"This process was out of touch with {self._engine.where} for more than {self._lease_seconds:.0f} s, "
                "and another publisher may have taken its place; nothing more was published. Run the upload again."
            )

    def renew_until(self, stop: threading.Event, connect: Callable[[], AbstractContextManager[ClickHouse]]) -> None:
        """Renew again and again, on a connection of its own."""
        pause = self._lease_seconds / _RENEWALS_PER_LEASE
        while not stop.wait(pause):
            try:
                with connect() as engine:
                    while True:
                        self._write(engine, _now(engine) + int(self._lease_seconds * 1000))
                        if stop.wait(pause):
                            return
            except QueryError as error:
                if error.code == _UNKNOWN_TABLE:
                    return  # taken over; `check` tells the publisher
                logger.warning("the publishing lease could not be renewed: %s", error)
            except WarehouseError as error:
                logger.warning("the publishing lease could not be renewed: %s", error)

    def release(self) -> None:
        """Let the next one in at once; if that fails, the lease runs out."""
        try:
            self._write(self._engine, 0)
        except QueryError as error:
            logger.info("the publishing lease was not given back and runs out by itself: %s", error)

    def _write(self, engine: ClickHouse, expires: int) -> None:
        holder = f"{socket.gethostname()}, process {os.getpid()}"
        comment = _comment(self._owner, holder, expires)
        engine.command(
            f"ALTER TABLE {_table(self._placement, self._number)} MODIFY COMMENT {literal(comment)}", repeatable=True
        )


def _table(placement: Placement, number: int) -> str:
    return placement.table(f"{LEASE_PREFIX}{number}")


def _comment(owner: str, holder: str, expires: int) -> str:
    return json.dumps({"owner": owner, "holder": holder, "expires": expires})


def _now(engine: ClickHouse) -> int:
    """The server's clock, milliseconds since 1970: the only one that all publishers share."""
    return int(engine.value("SELECT toUnixTimestamp64Milli(now64(3))"))


def _numbers(engine: ClickHouse, placement: Placement) -> list[int]:
    rows = engine.rows(
        "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String})",
        {"database": placement.database, "prefix": LEASE_PREFIX},
    )
    return [int(row[0].removeprefix(LEASE_PREFIX)) for row in rows]


def _latest(engine: ClickHouse, placement: Placement) -> _Found | None:
    rows = engine.rows(
        "SELECT toUInt64(substring(name, length({prefix:String}) + 1)) AS number, comment, "
        "toUnixTimestamp64Milli(now64(3)) AS now FROM system.tables "
        "WHERE database = {database:String} AND startsWith(name, {prefix:String}) ORDER BY number DESC LIMIT 1",
        {"database": placement.database, "prefix": LEASE_PREFIX},
    )
    if not rows:
        return None
    number, comment, now = rows[0]
    lease = json.loads(comment)
    return _Found(int(number), lease["owner"], lease["holder"], int(lease["expires"]) - int(now))
