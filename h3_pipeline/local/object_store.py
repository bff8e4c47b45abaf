"""The local object store: one S3 server for each home, shared by whoever needs it.

The first user starts the server, others join it, the last one to leave stops it. A user is a lock
file that its process holds: the operating system lets go of it however the process ends, so a
user that was killed counts no more. If all users are killed, the server stays until the next
user leaves, or until `stop`.

    home/object_store/
        guard.lock       held while somebody joins, leaves or stops the server
        users/*.lock     one for each user, held for as long as it uses the server
        server.json      process id and ports of the server
        s3.json          its credentials
        security.toml    the keys by which its parts trust one another
        data/  weed.log
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from h3_pipeline.errors import StorageError
from h3_pipeline.local.seaweedfs import START_SECONDS, STOP_SECONDS, ObjectStoreConnection, SeaweedFS

__all__ = ["ObjectStoreConnection", "local_object_store", "running", "stop"]

_GUARD_SECONDS = 2 * (START_SECONDS + STOP_SECONDS)


@contextmanager
def local_object_store(home: Path) -> Iterator[ObjectStoreConnection]:
    """Use the object store of `home`: start it or join it, and stop it if nobody else uses it at the end.

    Args:
        home: Folder of all local state.

    Yields:
        How to reach the server, which has answered a signed request.

    Raises:
        StorageError: The server cannot be started here.
    """
    folder = _folder(home)
    users = folder / "users"
    with _guard(folder):
        _make(users)
        user = FileLock(users / f"{os.getpid()}-{uuid.uuid4().hex}.lock", blocking=False, thread_local=False)
        user.acquire()
        try:
            connection = SeaweedFS(folder).start()
        except BaseException:
            _leave(user)
            raise
    try:
        yield connection
    finally:
        with _guard(folder):
            _leave(user)
            if not _anyone_in(users):
                SeaweedFS(folder).stop()


def stop(home: Path) -> bool:
    """Stop the object store of `home`, whoever uses it.

    Returns:
        Whether it was running.
    """
    folder = _folder(home)
    if not folder.is_dir():
        return False
    with _guard(folder):
        return SeaweedFS(folder).stop()


def running(home: Path) -> ObjectStoreConnection | None:
    """How to reach the object store of `home`, or None if it does not run."""
    return SeaweedFS(_folder(home)).connection()


def _folder(home: Path) -> Path:
    return home / "object_store"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The local object store cannot use {folder}: {error.strerror or error}") from error


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    _make(folder)
    guard = FileLock(folder / "guard.lock", timeout=_GUARD_SECONDS)
    try:
        guard.acquire()
    except Timeout:
        raise StorageError(
            f"Another process has been starting or stopping the local object store for {_GUARD_SECONDS:.0f} s "
            f"(it holds {folder / 'guard.lock'}); end that process and try again"
        ) from None
    except OSError as error:
        raise StorageError(f"The local object store cannot use {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        guard.release()


def _leave(user: FileLock) -> None:
    user.release()
    Path(user.lock_file).unlink(missing_ok=True)


def _anyone_in(users: Path) -> bool:
    """Whether a live process holds one of the lock files; removes those that nobody holds."""
    for path in users.glob("*.lock"):
        user = FileLock(path, blocking=False)
        try:
            user.acquire()
        except Timeout:
            return True
        _leave(user)
    return False
