"""A PostgreSQL server of the home's own, where its programs are on the machine.

It keeps what Dagster keeps in RDS in production. It listens on loopback alone, asks for a password
that only the owner of the home can read, and ends with whoever started it.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from h3_pipeline.errors import StorageError
from h3_pipeline.local.ports import HOST, held

PROGRAMS = ("initdb", "postgres", "pg_ctl")
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
"""Where Debian, Red Hat and Homebrew put them, which is not on ``PATH``."""

START_SECONDS = 60.0
STOP_SECONDS = 20.0
USER = "dagster"
DATABASE = "postgres"

_UNPRIVILEGED = ("postgres", "nobody")
"""Whom the server runs as where the user is root, whom it refuses."""


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """Where the server is and who may use it.

    Attributes:
        host: Always loopback.
        port: Its port.
        user: Its only user.
        password: The user's password; never shown.
        database: The database.
        process_id: Id of the server's first process.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    process_id: int

    def environment(self) -> dict[str, str]:
        """The variables by which ``dagster.yaml`` of production finds it."""
        return {
            "DAGSTER_PG_HOST": self.host,
            "DAGSTER_PG_PORT": str(self.port),
            "DAGSTER_PG_USERNAME": self.user,
            "DAGSTER_PG_PASSWORD": self.password,
            "DAGSTER_PG_DB": self.database,
            "PGSSLMODE": "disable",  # it never leaves the machine
        }


def find_programs(path: str | None = None, folders: Sequence[str] | None = None) -> Path:
    """The folder of PostgreSQL's programs, the newest where there are several.

    Args:
        path: Search path; by default ``PATH``.
        folders: Patterns of other folders to look into; by default `FOLDERS`.

    Raises:
        StorageError: They are not on this machine; the message says how to get them.
    """
    found = shutil.which("initdb", path=path)
    candidates = [Path(found).resolve().parent] if found else []
    for pattern in FOLDERS if folders is None else folders:
        matches = Path("/").glob(pattern.removeprefix("/"))
        candidates += sorted(matches, key=lambda folder: [int(n) for n in _numbers(folder)], reverse=True)
    for folder in candidates:
        if all((folder / program).exists() for program in PROGRAMS):
            return folder
    raise StorageError(
        "PostgreSQL is not on this machine: its programs initdb and postgres are neither on PATH nor where packages "
        "put them; install it (Debian and Ubuntu: apt-get install postgresql; macOS: brew install postgresql)"
    )


@contextmanager
def local_postgres(folder: Path, *, port: int = 0, durable: bool = True) -> Iterator[PostgresServer]:
    """Run a server; when left, it is stopped and its data stay.

    Args:
        folder: Where its data, its password and its log are.
        port: Port on loopback; 0 for any free one.
        durable: Whether what it says is written must survive a power cut; tests do without.

    Raises:
        StorageError: It is not on this machine, or does not start.
    """
    programs = find_programs()
    server = _Server(programs, folder, durable=durable)
    server.prepare()
    process = server.start(port)
    try:
        yield process
    finally:
        server.stop()


class _Server:
    def __init__(self, programs: Path, folder: Path, *, durable: bool) -> None:
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._log = folder / "postgres.log"
        self._durable = durable
        self._owner = _owner()
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Make the data, the first time, and end a server that was left behind."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._give(self._folder)
        self._folder.chmod(0o700)
        if not (self._data / "PG_VERSION").exists():
            shutil.rmtree(self._data, ignore_errors=True)  # of a first start that was cut off
            self._initialize()
        else:
            self._end_another()

    def _initialize(self) -> None:
        password = self._folder / "password"
        if not password.exists():
            descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(30))
            self._give(password)
        arguments = [f"--pgdata={self._data}", f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        made = self._run("initdb", *arguments, "--encoding=UTF8", "--locale=C", "--no-sync")
        if made.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StorageError(f"PostgreSQL cannot make its data in {self._folder}: {_last_line(made.stderr)}")

    def start(self, port: int) -> PostgresServer:
        with held(port) as free:
            pass
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(free)]
        options = {"listen_addresses": HOST, "unix_socket_directories": "", "max_connections": "200"}
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._give(self._log)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                user=self._owner.user,
                group=self._owner.group,
                extra_groups=self._owner.extra_groups,
            )
        password = (self._folder / "password").read_text()
        server = PostgresServer(HOST, free, USER, password, DATABASE, self._process.pid)
        try:
            self._wait(server)
        except BaseException:
            self.stop()
            raise
        return server

    def _wait(self, server: PostgresServer) -> None:
        import psycopg2  # a tenth of a second, for nothing where no server is started

        assert self._process
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg2.connect(
                    host=server.host,
                    port=server.port,
                    user=server.user,
                    password=server.password,
                    dbname=server.database,
                ).close()
            except psycopg2.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise StorageError(f"PostgreSQL does not start; its log is {self._log}: {_last_line(self._log.read_bytes())}")

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is not None:
            self._end_another()  # somebody restarted it by hand
            return
        # "fast": it ends its clients' connections and writes its data in order
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                return

    def _end_another(self) -> None:
        """End a server on our data that is not our child."""
        if self._run("pg_ctl", "status", "-D", str(self._data)).returncode == 0:
            self._run("pg_ctl", "stop", "-D", str(self._data), "-m", "fast", "-w")

    def _give(self, path: Path) -> None:
        if self._owner.user is not None:
            os.chown(path, self._owner.user, self._owner.group or 0)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            check=False,
            timeout=START_SECONDS,
            user=self._owner.user,
            group=self._owner.group,
            extra_groups=self._owner.extra_groups,
        )


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whom the programs run as and the data belong to; None is who we are."""

    user: int | None = None
    group: int | None = None
    extra_groups: Sequence[int] | None = None


def _owner() -> _Owner:
    if os.geteuid() != 0:
        return _Owner()
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Owner(entry.pw_uid, entry.pw_gid, ())
    raise StorageError("PostgreSQL does not run as root, and there is no user postgres or nobody; be another user")


def _numbers(folder: Path) -> list[str]:
    return ["".join(filter(str.isdigit, part)) for part in folder.parts if any(map(str.isdigit, part))] or ["0"]


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"
