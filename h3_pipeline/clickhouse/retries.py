"""Which failures of a server pass by themselves, and how patiently to wait for that.

A failure says one of three things about the statement: it never reached the server, its outcome is
unknown, or the server refused it. The first may always be repeated, the second only where
repeating does no harm, the third only for the error codes named here.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError, StreamFailureError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")


class TransientCode(IntEnum):
    """ClickHouse's error codes that mean "not now" rather than "not so"."""

    TOO_MANY_SIMULTANEOUS_QUERIES = 202
    NO_FREE_CONNECTION = 203
    SOCKET_TIMEOUT = 209
    NETWORK_ERROR = 210
    NO_ZOOKEEPER = 225
    ABORTED = 236
    MEMORY_LIMIT_EXCEEDED = 241
    TABLE_IS_READ_ONLY = 242
    TOO_MANY_PARTS = 252
    TOO_FEW_LIVE_REPLICAS = 285
    UNKNOWN_STATUS_OF_INSERT = 319
    CANNOT_SCHEDULE_TASK = 439
    DEADLOCK_AVOIDED = 473
    S3_ERROR = 499
    KEEPER_EXCEPTION = 999


TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
"""HTTP statuses of a proxy or load balancer whose server is away; ClickHouse's own errors carry a code."""

_TRANSIENT_CODES = frozenset(TransientCode)
_UNSENT = (NewConnectionError, ConnectTimeoutError, NameResolutionError)
_STATUS = re.compile(r"HTTP driver received HTTP status (\d{3})")


class Failure(Enum):
    """What a failure says about the statement.

    Attributes:
        REFUSED: The server said no, and will say it again.
        UNSENT: No connection: the server never saw the statement.
        PASSING: It may pass. Whether the statement took effect, wholly or in part, is unknown.
    """

    REFUSED = "refused"
    UNSENT = "unsent"
    PASSING = "passing"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to try.

    Attributes:
        attempts: Tries in all.
        first_wait: Upper bound of the first wait, seconds; it doubles from try to try.
        longest_wait: Upper bound of any wait, seconds.
    """

    attempts: int
    first_wait: float
    longest_wait: float

    def repeat(self, work: Callable[[], T], passing: Callable[[BaseException], bool]) -> T:
        """Do ``work``, again while its failure may pass; the last failure is raised.

        Waits are random below their bound, so that many clients do not come back at once.
        """
        return Retrying(
            retry=retry_if_exception(passing),
            wait=wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait, min=self.first_wait / 2),
            stop=stop_after_attempt(self.attempts),
            before_sleep=lambda state: logger.info(
                "try %s failed, trying again: %s", state.attempt_number, state.outcome and state.outcome.exception()
            ),
            reraise=True,
        )(work)


STATEMENT = Patience(attempts=8, first_wait=0.2, longest_wait=10.0)
"""For one statement: half a minute, enough for a server to restart."""

WORK = Patience(attempts=4, first_wait=1.0, longest_wait=20.0)
"""For a piece of work that begins anew each time."""


def classify(error: ClickHouseError | HTTPError) -> Failure:
    """What an error of the client says about the statement."""
    code = getattr(error, "code", None)
    if code is not None:
        return Failure.PASSING if code in _TRANSIENT_CODES else Failure.REFUSED
    cause = error if isinstance(error, HTTPError) else error.__cause__
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    if isinstance(cause, SSLError):
        return Failure.REFUSED
    if isinstance(cause, _UNSENT):
        return Failure.UNSENT
    if isinstance(cause, HTTPError) or isinstance(error, StreamFailureError):
        return Failure.PASSING
    status = _STATUS.search(str(error))
    return Failure.PASSING if status and int(status[1]) in TRANSIENT_STATUSES else Failure.REFUSED
