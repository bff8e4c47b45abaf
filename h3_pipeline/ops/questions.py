"""Questions that must be answered soon, put to parts that may never answer."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer, and how long it took.

    Attributes:
        value: The answer.
        seconds: From the question to the answer.
    """

    value: T
    seconds: float


class NoAnswer(Exception):
    """There was no answer in time."""


class Question(Generic[T]):
    """Something that is asked again and again, by one thread at a time.

    A part that hangs holds one thread, however often it is asked, and whoever asks meanwhile learns
    at once that it hangs.

    Args:
        ask: Asks, and returns the answer.
        patience_seconds: How long an answer may take.
    """

    def __init__(self, ask: Callable[[], T], patience_seconds: float) -> None:
        self._ask = ask
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._asked_at = 0.0
        self._pending: Future[Answered[T]] | None = None

    def put(self) -> None:
        """Ask, unless the last answer is still to come."""
        with self._lock:
            if self._pending is not None and not self._pending.done():
                return
            self._asked_at = time.monotonic()
            self._pending = Future()
            # a daemon thread: a part that hangs must not keep the process from ending
            threading.Thread(target=self._answer, args=(self._pending, self._asked_at), daemon=True).start()

    def answer(self) -> Answered[T]:
        """The answer to what was put last.

        Raises:
            NoAnswer: It did not come in time.
            Exception: What asking raised.
        """
        with self._lock:
            pending, asked_at = self._pending, self._asked_at
        if pending is None:
            raise NoAnswer
        try:
            return pending.result(timeout=max(0.0, asked_at + self._patience - time.monotonic()))
        except FutureTimeoutError:
            if pending.done():  # asking itself may raise a TimeoutError
                raise
            raise NoAnswer from None

    def _answer(self, pending: Future[Answered[T]], asked_at: float) -> None:
        try:
            value = self._ask()
        except BaseException as error:  # whatever it is, somebody waits for it
            pending.set_exception(error)
        else:
            pending.set_result(Answered(value, time.monotonic() - asked_at))
