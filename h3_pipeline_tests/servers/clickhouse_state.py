"""What a running server remembers: its user, its sessions, its faults and what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from h3_pipeline_tests.servers.clickhouse_errors import ServerError
from h3_pipeline_tests.servers.faults import FaultPlan


@dataclass
class ReceivedStatement:
    """One statement as it arrived, and how it ended.

    Attributes:
        query: Its text without the data of an INSERT.
        settings: Settings of the URL, ``log_comment`` among them.
        parameters: Values of ``{name:Type}`` placeholders, escaped as in TSV.
        headers: The request's headers; names in lower case.
        status: HTTP status of the response; 0 as long as there is none, and after a reset.
        exception_code: ClickHouse's error number; 0 for none.
        fault: What was done to it; empty for nothing.
        executed: Whether the engine carried it out.
    """

    query: str
    query_id: str
    user: str
    database: str
    session_id: str
    method: str
    settings: dict[str, str]
    parameters: dict[str, str]
    headers: dict[str, str]
    status: int = 0
    exception_code: int = 0
    fault: str = ""
    executed: bool = False


@dataclass
class _Session:
    statements: list[bytes] = field(default_factory=list)
    busy: bool = False


class ServerState:
    """Shared by all requests; every method may be called from any thread."""

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password
        self.faults = FaultPlan()
        self.statements: list[ReceivedStatement] = []
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._running: set[str] = set()

    def authenticate(self, credentials: tuple[str, str] | None) -> None:
        """Raises :class:`ServerError` unless these are the user and the password."""
        if credentials is None and self.password:
            raise ServerError.of(194, "REQUIRED_PASSWORD", f"{self.user}: Authentication failed: password is required")
        if credentials is not None and credentials != (self.user, self.password):
            message = "Authentication failed: password is incorrect, or there is no user with such name"
            raise ServerError.of(516, "AUTHENTICATION_FAILED", f"{credentials[0]}: {message}")

    @contextmanager
    def session(self, session_id: str, *, must_exist: bool) -> Iterator[list[bytes]]:
        """Hold a session; what is appended to the list runs before its later statements.

        Raises:
            ServerError: If another request holds it, or it does not exist but must.
        """
        if not session_id:
            yield []
            return
        with self._lock:
            if must_exist and session_id not in self._sessions:
                raise ServerError.of(372, "SESSION_NOT_FOUND", f"Session {session_id} not found")
            session = self._sessions.setdefault(session_id, _Session())
            if session.busy:
                message = f"Session {session_id} is locked by a concurrent client"
                raise ServerError.of(373, "SESSION_IS_LOCKED", message)
            session.busy = True
        try:
            yield session.statements
        finally:
            session.busy = False

    @contextmanager
    def running(self, query_id: str) -> Iterator[None]:
        """Raises :class:`ServerError` if a statement of that id is running."""
        with self._lock:
            if query_id in self._running:
                message = f"Query with id = {query_id} is already running"
                raise ServerError.of(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", message)
            self._running.add(query_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(query_id)
