"""A ClickHouse server for tests: HTTP protocol over an embedded chDB engine, in a process of its own.

In a test::

    with clickhouse_server(tmp_path / "warehouse", password="secret") as server:
        client = clickhouse_connect.get_client(host=server.host, port=server.port, password="secret")
        server.inject(Fault.reset("^INSERT INTO trips", after=True))

By hand: ``python -m h3_pipeline_tests.servers.clickhouse_http --path DIR``; the first line on stdout is a JSON object
with ``host``, ``port``, ``control_port`` and ``pid``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from h3_pipeline_tests.servers.clickhouse_errors import http_status
from h3_pipeline_tests.servers.clickhouse_state import ReceivedStatement, ServerState
from h3_pipeline_tests.servers.faults import Fault

_START_SECONDS = 300
_GRACE_SECONDS = 5
_STOP_SECONDS = 15
_REPOSITORY = Path(__file__).resolve().parents[2]


class ClickHouseServer:
    """A running server, steered over its control port.

    Attributes:
        host: A loopback address.
        port: The port that clients talk to.
        pid: The id of its process.
    """

    def __init__(self, host: str, port: int, control_port: int, pid: int, secure: bool = False) -> None:
        self.host = host
        self.port = port
        self.pid = pid
        self._scheme = "https" if secure else "http"
        self._control_port = control_port

    @property
    def url(self) -> str:
        """Base URL of the HTTP or HTTPS interface."""
        return f"{self._scheme}://{self.host}:{self.port}"

    def inject(self, *faults: Fault) -> None:
        """Make faults due for the next statements that match."""
        self._control("POST", "/faults", [fault.to_dict() for fault in faults])

    def faults(self) -> list[Fault]:
        """The faults that have not (all) happened yet."""
        return [Fault.from_dict(data) for data in self._control("GET", "/faults")]

    def clear_faults(self) -> None:
        """Forget the faults that are still due."""
        self._control("DELETE", "/faults")

    def let_go(self) -> None:
        """Carry out the statements that are held back, or will be by the faults that are due now."""
        self._control("POST", "/let-go")

    def set_password(self, password: str) -> None:
        """Change the user's password; it holds from the next request on."""
        self._control("POST", "/password", password)

    def statements(self) -> list[ReceivedStatement]:
        """The statements received since the start or the last :meth:`clear_statements`, oldest first."""
        return [ReceivedStatement(**data) for data in self._control("GET", "/statements")]

    def clear_statements(self) -> None:
        """Forget the statements received so far."""
        self._control("DELETE", "/statements")

    def _control(self, method: str, path: str, document: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=60)
        try:
            connection.request(method, path, json.dumps(document), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"the control port answered {method} {path} with {response.status}")
        return json.loads(body)


def error_fault(
    pattern: str,
    code: int,
    name: str,
    message: str = "injected by the test",
    *,
    status: int | None = None,
    after: bool = False,
    times: int | None = 1,
    skip: int = 0,
) -> Fault:
    """A fault that answers with one of ClickHouse's errors, such as 241 ``MEMORY_LIMIT_EXCEEDED``.

    Args:
        pattern: Regular expression searched in the statement.
        code: ClickHouse's number of the error.
        name: Its name.
        message: Its message.
        status: HTTP status; by default the one that ClickHouse uses for the code.
        after: Whether the statement takes effect first.
        times: How many statements it meets; ``None`` is all of them.
        skip: How many matching statements pass first.
    """
    return Fault.error(
        pattern,
        http_status(code) if status is None else status,
        headers={"X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain; charset=UTF-8"},
        body=f"Code: {code}. DB::Exception: {message}. ({name})\n",
        after=after,
        times=times,
        skip=skip,
    )


def unavailable_fault(
    pattern: str, *, retry_after: int = 1, after: bool = False, times: int | None = 1, skip: int = 0
) -> Fault:
    """A fault that answers 503 with Retry-After in seconds, as a load balancer without a server behind it does."""
    headers = {"Retry-After": str(retry_after), "Content-Type": "text/plain"}
    body = "Service Unavailable\n"
    return Fault.error(pattern, 503, headers=headers, body=body, after=after, times=times, skip=skip)


@contextmanager
def clickhouse_server(
    path: Path,
    *,
    password: str = "",
    user: str = "default",
    chdb_options: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | None = None,
    python: Path = Path(sys.executable),
) -> Iterator[ClickHouseServer]:
    """Run a server in a child process for as long as the context lasts.

    Args:
        path: Folder of its data; kept, so that a second server on it finds what the first one left.
        password: The user's password.
        user: The only user.
        chdb_options: chDB's start options by name, such as ``config-file`` for named collections.
        host: The loopback address to listen on.
        port: The port there; 0 takes a free one.
        certificate: PEM file with a certificate and its key, to speak HTTPS.
        python: The Python that runs it, which must have the engine.

    Raises:
        RuntimeError: If it does not start; the message ends with what it wrote on stderr.
    """
    command = [str(python), "-m", __name__, "--path", str(path), "--user", user, "--end-with-stdin"]
    command += ["--host", host, "--port", str(port)]
    for name, value in (chdb_options or {}).items():
        command += ["--chdb-option", f"{name}={value}"]
    if certificate:
        command += ["--certificate", str(certificate)]
    # The password goes through the environment: a command line is for everybody to read.
    environment = {**os.environ, "CLICKHOUSE_TEST_SERVER_PASSWORD": password}
    environment["PYTHONPATH"] = os.pathsep.join([str(_REPOSITORY), environment.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
    path.mkdir(parents=True, exist_ok=True)
    errors = path.with_name(path.name + ".stderr.log")
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment
        )
    try:
        yield ClickHouseServer(**_greeting(process, errors), secure=certificate is not None)
    finally:
        _stop(process)


def _greeting(process: subprocess.Popen[bytes], errors: Path) -> dict[str, Any]:
    assert process.stdout
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        process.wait()
        raise RuntimeError(f"the ClickHouse test server did not start:\n{errors.read_text(errors='replace')[-2000:]}")
    return json.loads(line)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, SIGINT or, if asked to, the end of stdin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="folder of the data")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port there; 0 takes a free one (default)")
    parser.add_argument("--user", default="default")
    parser.add_argument("--config-file", type=Path, help="chDB's server configuration, for named collections")
    parser.add_argument("--chdb-option", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--certificate", type=Path, help="PEM file with certificate and key: speak HTTPS")
    parser.add_argument("--end-with-stdin", action="store_true", help="stop at the end of stdin: no orphans")
    options = parser.parse_args(arguments)
    engine_options = dict(option.split("=", 1) for option in options.chdb_option)
    if options.config_file:
        engine_options["config-file"] = str(options.config_file.resolve())

    # Only here: a test process that starts servers must not load an engine of its own.
    from h3_pipeline_tests.servers.clickhouse_engine import Engine
    from h3_pipeline_tests.servers.clickhouse_protocol import ControlServer, QueryServer
    from h3_pipeline_tests.servers.http_base import serving

    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    state = ServerState(options.user, os.environ.pop("CLICKHOUSE_TEST_SERVER_PASSWORD", ""))
    try:
        engine = Engine(options.path, engine_options)
    except RuntimeError as error:
        sys.exit(str(error))
    if options.end_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(ended,), daemon=True).start()
    server = QueryServer(engine, state, options.port, options.host, tls)
    control = ControlServer(state, server)
    with serving(server), serving(control):
        ports = {"port": server.server_port, "control_port": control.server_port}
        print(json.dumps({"host": options.host, **ports, "pid": os.getpid()}), flush=True)
        ended.wait()
    threading.Timer(_GRACE_SECONDS, os._exit, (0,)).start()  # the engine waits for statements that still run
    engine.close()
    os._exit(0)


def _wait_for_end_of_stdin(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    ended.set()


if __name__ == "__main__":
    main()
