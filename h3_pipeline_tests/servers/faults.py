"""Faults that a server injects on request: what goes wrong, for which requests, how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What happens to a request that a fault meets."""

    RESET = "reset"
    ERROR = "error"
    DELAY = "delay"
    HOLD = "hold"
    TRUNCATE = "truncate"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault, for the next requests whose subject matches a pattern.

    The subject is the statement's text for ClickHouse, and ``METHOD /bucket/key?query`` for S3. Make one with
    :meth:`reset`, :meth:`error`, :meth:`delay`, :meth:`hold` or :meth:`truncate`.

    Attributes:
        action: What happens.
        pattern: Regular expression searched in the subject; case is ignored and ``.`` matches newlines.
        times: How many matching requests it meets; ``None`` is all of them.
        skip: How many matching requests pass unharmed first.
        after: For a reset or an error: once the request took effect, so that the client cannot know whether it did.
        status: HTTP status of an error.
        headers: Response headers of an error.
        body: Response body of an error.
        seconds: How long a delay holds the request back before it is carried out.
        keep_bytes: How much of the response body (as sent, compressed or not) passes before it is cut.
    """

    action: Action
    pattern: str
    times: int | None = 1
    skip: int = 0
    after: bool = False
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0
    keep_bytes: int = 0

    def __post_init__(self) -> None:
        re.compile(self.pattern)  # a bad pattern fails in the test, not in the server
        if self.skip < 0 or (self.times is not None and self.times < 1):
            raise ValueError(
                f"a fault needs skip >= 0 and times >= 1 or None, not skip={self.skip}, times={self.times}"
            )

    @classmethod
    def reset(cls, pattern: str, *, after: bool = False, times: int | None = 1, skip: int = 0) -> Fault:
        """The connection is reset (RST) without a response."""
        return cls(action=Action.RESET, pattern=pattern, after=after, times=times, skip=skip)

    @classmethod
    def error(
        cls,
        pattern: str,
        status: int,
        *,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        after: bool = False,
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """An HTTP error is answered."""
        return cls(
            action=Action.ERROR,
            pattern=pattern,
            status=status,
            body=body,
            headers=dict(headers or {}),
            after=after,
            times=times,
            skip=skip,
        )

    @classmethod
    def delay(cls, pattern: str, seconds: float, *, times: int | None = 1, skip: int = 0) -> Fault:
        """The request is carried out late; it takes effect even if the client is gone by then."""
        return cls(action=Action.DELAY, pattern=pattern, seconds=seconds, times=times, skip=skip)

    @classmethod
    def hold(cls, pattern: str, *, times: int | None = 1, skip: int = 0) -> Fault:
        """The request is held back until the test lets it go; it takes effect even if the client is gone by then."""
        return cls(action=Action.HOLD, pattern=pattern, times=times, skip=skip)

    @classmethod
    def truncate(cls, pattern: str, keep_bytes: int, *, times: int | None = 1, skip: int = 0) -> Fault:
        """The response ends after ``keep_bytes`` bytes of its body and the connection closes."""
        return cls(action=Action.TRUNCATE, pattern=pattern, keep_bytes=keep_bytes, times=times, skip=skip)

    def to_dict(self) -> dict[str, Any]:
        """A form that JSON can carry."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fault:
        """The fault that :meth:`to_dict` described."""
        return cls(**{**data, "action": Action(data["action"])})


def matches(pattern: str, subject: str) -> bool:
    """Whether a pattern is found in a request's subject; case is ignored and ``.`` matches newlines."""
    return re.search(pattern, subject, re.IGNORECASE | re.DOTALL) is not None


class FaultPlan:
    """The faults that are due, safe to use from many threads.

    Of several faults that match one request the one added first meets it; the others do not count that request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Make faults due."""
        with self._lock:
            self._due.extend(faults)

    def clear(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._due.clear()

    def due(self) -> list[Fault]:
        """The faults still to come, with the ``times`` and ``skip`` that are left."""
        with self._lock:
            return list(self._due)

    def take(self, subject: str) -> Fault | None:
        """The fault that meets this request, counted down; ``None`` if it goes unharmed."""
        with self._lock:
            for position, fault in enumerate(self._due):
                if not matches(fault.pattern, subject):
                    continue
                if fault.skip:
                    self._due[position] = replace(fault, skip=fault.skip - 1)
                    return None
                if fault.times == 1:
                    del self._due[position]
                elif fault.times is not None:
                    self._due[position] = replace(fault, times=fault.times - 1)
                return fault
        return None
