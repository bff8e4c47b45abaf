"""ClickHouse servers with SQL-managed users, as far as a rotation needs them.

The embedded engine has one user, so users are kept here: their passwords as ClickHouse keeps them, hashed with a salt,
and the statements that change them, which the engine's own parser reads first. Everything else goes to the engine.
"""

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from h3_pipeline_tests.servers.clickhouse_engine import Context, Engine, Outcome, quoted
from h3_pipeline_tests.servers.clickhouse_errors import ServerError
from h3_pipeline_tests.servers.clickhouse_protocol import QueryServer
from h3_pipeline_tests.servers.clickhouse_sql import Statement
from h3_pipeline_tests.servers.clickhouse_state import ServerState
from h3_pipeline_tests.servers.http_base import serving

_ALTER_USER = re.compile(r"ALTER USER (\w+) IDENTIFIED WITH (.+)")
_METHOD = re.compile(r"sha256_hash BY '([0-9a-f]{64})' SALT '([0-9a-f]+)'")


@dataclass(frozen=True)
class Method:
    """One password of a user."""

    digest: str
    salt: str

    @classmethod
    def of(cls, password: str, salt: str = "5a") -> "Method":
        """The method that takes a password."""
        return cls(hashlib.sha256((password + salt).encode()).hexdigest(), salt)

    def takes(self, password: str) -> bool:
        """Whether a password is the one."""
        return Method.of(password, self.salt) == self


@dataclass
class Directory:
    """Users, as the servers of a cluster share them through Keeper.

    Attributes:
        methods: Ways to log in, by user.
        may_alter: Users that a user may change.
    """

    methods: dict[str, list[Method]]
    may_alter: Mapping[str, set[str]]


@dataclass
class ClusterServer:
    """One server.

    Attributes:
        url: Its HTTP interface.
        state: What it was asked, and the faults that it is to have.
    """

    url: str
    state: "_State"

    def lag(self, logins: int) -> None:
        """Hear of changes only when so many logins have been refused."""
        self.state.behind(logins)


@contextmanager
def cluster(folder: Path, directory: Directory, count: int = 2) -> Iterator[list[ClusterServer]]:
    """Servers that share their users."""
    with ExitStack() as held:
        engine = Engine(folder / "data", {})
        held.callback(engine.close)
        servers = []
        for _ in range(count):
            state = _State(directory)
            server = QueryServer(_UsersEngine(engine, state), state)  # type: ignore[arg-type] - as an Engine is used
            held.enter_context(serving(server))
            servers.append(ClusterServer(f"http://127.0.0.1:{server.server_port}", state))
        yield servers


class _State(ServerState):
    """What one server knows of the users."""

    def __init__(self, directory: Directory) -> None:
        super().__init__("", "")
        self.directory = directory
        self._asking = threading.local()
        self._known: dict[str, list[Method]] | None = None
        self._refusals_left = 0

    @property
    def asking(self) -> str:
        """The user whose statement this thread serves."""
        return self._asking.user

    def behind(self, logins: int) -> None:
        self._known = {user: list(methods) for user, methods in self.directory.methods.items()}
        self._refusals_left = logins

    def authenticate(self, credentials: tuple[str, str] | None) -> None:
        user, password = credentials or ("default", "")
        if self._known is not None and self._refusals_left == 0:
            self._known = None
        known = self.directory.methods if self._known is None else self._known
        if not any(method.takes(password) for method in known.get(user, [])):
            self._refusals_left = max(self._refusals_left - 1, 0)
            raise ServerError.of(516, "AUTHENTICATION_FAILED", f"{user}: Authentication failed: password is incorrect")
        self._asking.user = user


@dataclass
class _UsersEngine:
    """The engine, with users of its own."""

    engine: Engine
    state: _State
    version: str = field(init=False)

    def __post_init__(self) -> None:
        self.version = self.engine.version

    @contextmanager
    def run(self, statement: Statement, context: Context, data: Iterable[bytes], *, stream: bool) -> Iterator[Outcome]:
        text = statement.text.decode()
        if statement.kind == "ALTER":
            self._alter(self._parsed(text))
            yield Outcome([], None, {}, "UTC", compress=False)
            return
        text = text.replace("currentUser()", quoted(self.state.asking))
        with self.engine.run(Statement(statement.kind, text.encode()), context, data, stream=stream) as outcome:
            yield outcome

    def _parsed(self, text: str) -> str:
        """The statement as the engine prints it; an error if it is none."""
        question = Statement("SELECT", f"SELECT formatQuerySingleLine({quoted(text)})".encode())
        with self.engine.run(question, Context(default_format="TSVRaw"), (), stream=False) as outcome:
            return b"".join(outcome.pieces).decode().strip()

    def _alter(self, text: str) -> None:
        found = _ALTER_USER.fullmatch(text)
        assert found, f"this server does not know how to do: {text}"
        user, methods = found.groups()
        directory = self.state.directory
        if user not in directory.may_alter.get(self.state.asking, set()):
            message = f"{self.state.asking}: Not enough privileges: {text}"
            raise ServerError.of(497, "ACCESS_DENIED", message)
        if user not in directory.methods:
            raise ServerError.of(192, "UNKNOWN_USER", f"There is no user `{user}`")
        read = [Method(*pair) for pair in _METHOD.findall(methods)]
        assert ", ".join(f"sha256_hash BY '{m.digest}' SALT '{m.salt}'" for m in read) == methods
        directory.methods[user] = read
