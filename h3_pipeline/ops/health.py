"""Whether this webserver should get requests, and how the parts behind it are.

Load balancers ask often, and from several places at once: what was found is good for a second, and
all who ask meanwhile wait for the same check. Only the instance storage decides: without it no page
of the UI works. What else is down is shown, and takes nobody's UI away.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from dagster import DagsterInstance

from h3_pipeline.clickhouse.ping import ping
from h3_pipeline.ops.questions import Answered, NoAnswer, Question
from h3_pipeline.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
"""How long a part may take to answer; load balancers give up after five seconds."""

GOOD_FOR_SECONDS = 1.0

SILENT_AFTER_SECONDS = 180.0
"""The daemon writes a heartbeat every 30 seconds."""


class Status(StrEnum):
    """How a part is."""

    OK = "ok"
    DOWN = "down"
    SILENT = "silent"
    UNKNOWN = "unknown"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Health:
    """What a check found.

    Attributes:
        ready: Whether requests should come here.
        document: What is shown; it holds no address, no secret and no trace.
    """

    ready: bool
    document: Mapping[str, Any]


class HealthCheck:
    """Finds out, at most once at a time and once a second.

    Args:
        heartbeats: Asks the instance storage when each daemon was last heard, in seconds since 1970;
            a daemon that should be there and was never heard is None.
        warehouse: Asks the warehouse whether it is there and raises if it is not; None where it is
            embedded, and opened by runs alone.
        patience_seconds: How long each may take.
        good_for_seconds: How long a finding is good.
        silent_after_seconds: How old a daemon's last heartbeat may be.
    """

    def __init__(
        self,
        heartbeats: Callable[[], Mapping[str, float | None]],
        warehouse: Callable[[], None] | None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        good_for_seconds: float = GOOD_FOR_SECONDS,
        silent_after_seconds: float = SILENT_AFTER_SECONDS,
    ) -> None:
        self._storage = Question(heartbeats, patience_seconds)
        self._warehouse = Question(warehouse, patience_seconds) if warehouse else None
        self._good_for = good_for_seconds
        self._silent_after = silent_after_seconds
        self._lock = threading.Lock()
        self._finding: Future[Health] | None = None
        self._found_at = 0.0

    def find(self) -> Future[Health]:
        """A finding that is, or will be, at most `good_for_seconds` old."""
        with self._lock:
            if self._finding is not None and (
                not self._finding.done() or time.monotonic() - self._found_at < self._good_for
            ):
                return self._finding
            self._finding = Future()
            threading.Thread(target=self._check, args=(self._finding,), daemon=True).start()
            return self._finding

    def _check(self, finding: Future[Health]) -> None:
        try:
            health = self._look()
        except Exception:
            logger.exception("the health check itself failed")
            health = Health(False, {"status": Status.DOWN})
        with self._lock:
            self._found_at = time.monotonic()
        finding.set_result(health)

    def _look(self) -> Health:
        self._storage.put()
        if self._warehouse:
            self._warehouse.put()
        heartbeats, storage = _ask("instance storage", self._storage)
        parts = {
            "instance_storage": storage,
            "daemon": self._daemon(heartbeats),
            "warehouse": _ask("warehouse", self._warehouse)[1] if self._warehouse else {"status": Status.EMBEDDED},
        }
        ready = heartbeats is not None
        fine = all(part["status"] in (Status.OK, Status.EMBEDDED) for part in parts.values())
        status = Status.DOWN if not ready else Status.OK if fine else "degraded"
        return Health(ready, {"status": status, "versions": _versions(), **parts})

    def _daemon(self, heartbeats: Answered[Mapping[str, float | None]] | None) -> dict[str, Any]:
        """How the daemon is, which is several that beat on their own: the one heard longest ago counts."""
        heard = [beat for beat in heartbeats.value.values() if beat is not None] if heartbeats else []
        if not heartbeats or not heard:
            return {"status": Status.UNKNOWN, "heartbeat_age_seconds": None}
        age = max(0.0, time.time() - min(heard))
        part: dict[str, Any] = {
            "status": Status.OK if age <= self._silent_after else Status.SILENT,
            "heartbeat_age_seconds": round(age, 1),
            "latency_ms": _milliseconds(heartbeats.seconds),
        }
        never = sorted(name for name, beat in heartbeats.value.items() if beat is None)
        return part | {"status": Status.UNKNOWN, "never_heard": never} if never else part


def health_check(instance: DagsterInstance, settings: Settings) -> HealthCheck:
    """The check of an instance and the warehouse that the settings name."""

    def heartbeats() -> dict[str, float | None]:
        found = instance.get_daemon_heartbeats()
        needed = instance.get_required_daemon_types()
        return {name: found[name].timestamp if name in found else None for name in needed}

    def warehouse() -> None:
        ping(
            settings.clickhouse_host or "",
            settings.warehouse_http_port,
            secure=settings.clickhouse_secure,
            authority=settings.clickhouse_ca_cert,
            timeout_seconds=PATIENCE_SECONDS,
        )

    return HealthCheck(heartbeats, None if settings.embedded else warehouse)


def _ask(name: str, question: Question[Any]) -> tuple[Answered[Any] | None, dict[str, Any]]:
    """The answer, if there is one, and what is shown of it."""
    try:
        answered = question.answer()
    except NoAnswer:
        return None, {"status": Status.DOWN, "problem": "no answer in time"}
    except Exception as error:
        # its message may name hosts and users, and is for nobody outside
        logger.warning("the %s is down: %s", name, type(error).__name__)
        return None, {"status": Status.DOWN, "problem": "it cannot be reached"}
    return answered, {"status": Status.OK, "latency_ms": _milliseconds(answered.seconds)}


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("h3_pipeline", "dagster")}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
