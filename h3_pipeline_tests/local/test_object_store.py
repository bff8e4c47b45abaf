import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import h3_pipeline
from h3_pipeline.errors import StorageError
from h3_pipeline.local import seaweedfs
from h3_pipeline.local.object_store import ObjectStoreConnection, local_object_store, running, stop
from h3_pipeline.local.ports import held

LONGEST_SECONDS = 300
SOURCE = Path(h3_pipeline.__file__).parents[1]
USER = """
import sys
from pathlib import Path
from h3_pipeline.local.object_store import local_object_store
with local_object_store(Path(sys.argv[1])) as connection:
    print(connection.endpoint_url, flush=True)
    sys.stdin.readline()
"""


STARTER = """
import os, signal, sys
from pathlib import Path
from h3_pipeline.local import seaweedfs
from h3_pipeline.local.object_store import local_object_store
seaweedfs.SeaweedFS._wait_until_ready = lambda *arguments: os.killpg(0, signal.SIGKILL)
with local_object_store(Path(sys.argv[1])):
    pass
"""


class User:
    """A process that uses the object store of `home` until it is told to leave."""

    def __init__(self, home: Path, program: str = USER, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=SOURCE,
            env={**os.environ, **environment},
            text=True,
            start_new_session=True,
        )

    def endpoint(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        _, errors = self.process.communicate("\n", timeout=LONGEST_SECONDS)
        assert self.process.returncode == 0, errors

    def send(self, number: signal.Signals) -> None:
        """Signal the user and whatever else is in its process group, as a terminal's Ctrl-C does."""
        os.killpg(self.process.pid, number)
        self.process.communicate(timeout=LONGEST_SECONDS)


@pytest.fixture
def user(home: Path) -> Iterator[Callable[..., User]]:
    """Starts users of `home`; those that are left at the end are killed."""
    users: list[User] = []

    def start(**environment: str) -> User:
        users.append(User(home, **environment))
        return users[-1]

    yield start
    for each in users:
        if each.process.poll() is None:
            each.send(signal.SIGKILL)


def client(connection: ObjectStoreConnection, **config: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=connection.endpoint_url,
        aws_access_key_id=connection.access_key,
        aws_secret_access_key=connection.secret_key,
        region_name=connection.region,
        config=Config(**{"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}, **config}),
    )


def server_of(home: Path) -> psutil.Process:
    return psutil.Process(json.loads((home / "object_store" / "server.json").read_text())["pid"])


def processes_of(home: Path) -> list[int]:
    """Servers that have anything to do with the home, whatever its record says."""
    commands = {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    return [pid for pid, command in commands.items() if str(home) in " ".join(command)]


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def http_status(url: str) -> int | None:
    """Status of the answer, or None while nothing listens there."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {LONGEST_SECONDS} s"
        time.sleep(0.01)


class TestSharing:
    def test_users_that_come_at_once_share_one_server_and_the_last_to_leave_stops_it(
        self, home: Path, user: Callable[..., User]
    ) -> None:
        users = [user() for _ in range(3)]
        endpoints = {each.endpoint() for each in users}
        assert len(endpoints) == 1
        server = server_of(home)
        for each in users[:2]:
            each.leave()
            connection = running(home)
            assert connection is not None
            assert connection.endpoint_url in endpoints
            client(connection).list_buckets()
        assert server_of(home) == server
        users[2].leave()
        assert not lives(server)
        assert running(home) is None
        assert stop(home) is False

    def test_killed_users_do_not_count(self, home: Path, user: Callable[..., User]) -> None:
        users = [user(), user()]
        assert users[0].endpoint() == users[1].endpoint()
        server = server_of(home)
        for each in users:
            each.send(signal.SIGKILL)
        assert lives(server), "the server is in no process group of its users"
        assert len(list((home / "object_store" / "users").iterdir())) == 2
        with local_object_store(home) as connection:
            client(connection).list_buckets()
            assert server_of(home) == server
        assert not lives(server)
        assert list((home / "object_store" / "users").iterdir()) == []

    @pytest.mark.slow
    def test_a_server_whose_starter_was_killed_before_it_was_ready_is_taken_over(
        self, home: Path, user: Callable[..., User]
    ) -> None:
        starter, record = user(program=STARTER), home / "object_store" / "server.json"
        assert starter.process.wait(LONGEST_SECONDS) == -signal.SIGKILL
        server = server_of(home)
        assert json.loads(record.read_text())["ready"] is False
        assert running(home) is None
        with local_object_store(home) as connection:
            client(connection).list_buckets()
            assert server_of(home) == server
        assert not lives(server)

    @pytest.mark.slow
    def test_ctrl_c_on_one_user_leaves_the_server_to_the_other(self, home: Path, user: Callable[..., User]) -> None:
        starter = user()
        starter.endpoint()
        server = server_of(home)
        with local_object_store(home) as connection:
            starter.send(signal.SIGINT)
            assert starter.process.returncode != 0
            client(connection).list_buckets()
            assert lives(server)
        assert not lives(server)

    def test_stop_ends_it_whoever_uses_it(self, home: Path, user: Callable[..., User]) -> None:
        starter = user()
        starter.endpoint()
        server = server_of(home)
        assert stop(home) is True
        assert not lives(server)
        assert stop(home) is False
        starter.leave()

    def test_two_homes_at_once_have_nothing_in_common(self, object_store: ObjectStoreConnection, home: Path) -> None:
        with local_object_store(home) as other:
            assert other.endpoint_url != object_store.endpoint_url
            client(object_store).create_bucket(Bucket="only-in-one")
            assert client(other).list_buckets()["Buckets"] == []
            stranger = ObjectStoreConnection(other.endpoint_url, object_store.access_key, object_store.secret_key)
            with pytest.raises(ClientError, match="InvalidAccessKeyId"):
                client(stranger).list_buckets()
        client(object_store).delete_bucket(Bucket="only-in-one")

    def test_a_process_that_was_given_the_same_id_is_left_alone(self, home: Path) -> None:
        stranger = subprocess.Popen(["sleep", "60"])
        try:
            folder = home / "object_store"
            folder.mkdir(parents=True)
            record = {"pid": stranger.pid, "ready": True, "ports": {"s3.port": 1}}
            (folder / "server.json").write_text(json.dumps(record))
            assert running(home) is None
            assert stop(home) is False
            time.sleep(0.1)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


class TestSecrets:
    @pytest.fixture(scope="class")
    @staticmethod
    def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ObjectStoreConnection]]:
        home = tmp_path_factory.mktemp("secrets")
        starter = User(home, AWS_SECRET_ACCESS_KEY="of-somebody", AWS_ACCESS_KEY_ID="somebody", S3_BUCKET="surprise")
        try:
            starter.endpoint()
            connection = running(home)
            assert connection is not None
            yield home / "object_store", connection
        finally:
            starter.leave()

    def test_only_the_owner_can_read_them(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        folder, _ = used
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("s3.json", "security.toml"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    def test_they_are_shown_nowhere(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        folder, connection = used
        assert connection.secret_key in (folder / "s3.json").read_text()
        assert connection.secret_key not in repr(connection)
        server = server_of(folder.parent)
        shown = " ".join(server.cmdline()) + (folder / "weed.log").read_text()
        assert "mini" in shown
        assert connection.secret_key not in shown
        assert connection.access_key not in shown

    def test_the_users_own_aws_settings_do_not_reach_the_server(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        folder, connection = used
        assert set(server_of(folder.parent).environ()) == {"HOME", "PATH"}
        assert client(connection).list_buckets()["Buckets"] == []

    def test_wrong_and_missing_credentials_are_refused(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        _, connection = used
        wrong = ObjectStoreConnection(connection.endpoint_url, connection.access_key, "wrong")
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client(wrong).list_buckets()
        with pytest.raises(ClientError, match="AccessDenied"):
            client(connection, signature_version=UNSIGNED).list_objects_v2(Bucket="any-bucket")

    def test_the_servers_behind_s3_give_out_nothing(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        folder, connection = used
        client(connection).create_bucket(Bucket="private")
        client(connection).put_object(Bucket="private", Key="key", Body=b"secret")
        ports = json.loads((folder / "server.json").read_text())["ports"]
        for url, status in {
            f"http://127.0.0.1:{ports['filer.port']}/buckets/private/key": 401,
            f"http://127.0.0.1:{ports['filer.port']}/buckets/private/": 401,
            f"http://127.0.0.1:{ports['admin.port']}/": 404,
        }.items():
            wait_for(lambda url=url: http_status(url) is not None, url)  # the last of them listens after S3
            assert http_status(url) == status

    def test_it_listens_on_loopback_alone(self, used: tuple[Path, ObjectStoreConnection]) -> None:
        folder, _ = used
        listening = [
            connection.laddr.ip
            for connection in server_of(folder.parent).net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 5
        assert set(listening) == {"127.0.0.1"}


class TestData:
    def write_until_it_ends(self, home: Path, end: Callable[[psutil.Process], None]) -> dict[str, bytes]:
        """Put objects from two threads, end the server meanwhile; returns what was acknowledged."""
        acknowledged: dict[str, bytes] = {}
        with local_object_store(home) as connection:
            client(connection).create_bucket(Bucket="bucket")

            def write(writer: int) -> None:
                s3 = client(connection)
                for number in range(100_000):
                    key, body = f"{writer}/{number}", f"{writer} {number} ".encode() * 5_000
                    try:
                        s3.put_object(Bucket="bucket", Key=key, Body=body)
                    except (BotoCoreError, ClientError):
                        return
                    acknowledged[key] = body

            with ThreadPoolExecutor(2) as pool:
                writers = [pool.submit(write, writer) for writer in range(2)]
                wait_for(lambda: len(acknowledged) >= 40, "40 objects")
                end(server_of(home))
                for each in writers:
                    each.result(timeout=LONGEST_SECONDS)
        return acknowledged

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_what_was_acknowledged_is_there_after_the_next_start(self, home: Path, number: signal.Signals) -> None:
        acknowledged = self.write_until_it_ends(home, lambda server: server.send_signal(number))
        assert len(acknowledged) >= 40
        with local_object_store(home) as connection:
            s3 = client(connection)
            kept = {
                each["Key"]: s3.get_object(Bucket="bucket", Key=each["Key"])["Body"].read()
                for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bucket")
                for each in page["Contents"]
            }
        assert {key: kept.get(key) for key in acknowledged} == acknowledged

    def test_a_restart_keeps_data_credentials_and_endpoint(self, tmp_path: Path) -> None:
        home = tmp_path / ("longer-than-the-path-of-a-socket-may-be" * 3)
        with local_object_store(home) as before:
            client(before).create_bucket(Bucket="bucket")
            client(before).put_object(Bucket="bucket", Key="uploads/a b|ü.csv", Body=b"a,b\n1,2\n")
        with local_object_store(home) as after:
            assert after == before
            assert client(after).get_object(Bucket="bucket", Key="uploads/a b|ü.csv")["Body"].read() == b"a,b\n1,2\n"

    def test_an_upload_into_a_bucket_that_is_not_there_fails(self, object_store: ObjectStoreConnection) -> None:
        with pytest.raises(ClientError, match="NoSuchBucket"):
            client(object_store).put_object(Bucket="not-there", Key="key", Body=b"")

    @pytest.mark.slow
    def test_an_object_larger_than_a_volume_can_be_stored(
        self, object_store: ObjectStoreConnection, tmp_path: Path
    ) -> None:
        big, again = tmp_path / "big", tmp_path / "again"
        block = bytes(range(256)) * 4096
        with big.open("wb") as file:
            for number in range(seaweedfs._VOLUME_MB + 44):
                file.write(number.to_bytes(8) + block[8:])
        s3 = client(object_store)
        s3.create_bucket(Bucket="big")
        s3.upload_file(str(big), "big", "big")
        s3.download_file("big", "big", str(again))
        assert subprocess.run(["cmp", big, again]).returncode == 0
        s3.delete_object(Bucket="big", Key="big")
        big.unlink()
        again.unlink()


class TestFaults:
    def test_a_server_that_cannot_start_names_its_log_and_what_it_said(self, home: Path) -> None:
        database = home / "object_store" / "data" / "filerldb2"
        database.parent.mkdir(parents=True)
        database.write_text("not a folder")
        with pytest.raises(StorageError, match="filerldb2") as fault, local_object_store(home):
            pass
        assert str(home / "object_store" / "weed.log") in str(fault.value)
        assert "\n" not in str(fault.value)
        assert running(home) is None
        assert processes_of(home) == []
        assert list((home / "object_store" / "users").iterdir()) == []

    def test_a_server_that_does_not_answer_in_time_is_not_left_behind(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seaweedfs, "START_SECONDS", 0)
        # asked where nobody listens: a machine may be so slow that the server is ready before it is asked first
        ask = seaweedfs._client
        nobody = f"http://127.0.0.1:{seaweedfs._free_ports(preferred={})['s3.port']}"
        monkeypatch.setattr(seaweedfs, "_client", lambda connection: ask(replace(connection, endpoint_url=nobody)))
        with pytest.raises(StorageError, match=r"did not answer within 0 s: .*weed\.log"), local_object_store(home):
            pass
        assert running(home) is None
        assert processes_of(home) == []

    def test_ports_that_were_taken_meanwhile_are_replaced(self, home: Path) -> None:
        ports = seaweedfs._free_ports(preferred={})
        folder = home / "object_store"
        folder.mkdir(parents=True)
        (folder / "server.json").write_text(json.dumps({"pid": None, "ready": False, "ports": ports}))
        with held(ports["s3.port"]), local_object_store(home) as connection:
            assert connection.endpoint_url != f"http://127.0.0.1:{ports['s3.port']}"
            client(connection).list_buckets()

    def test_spoilt_credentials_name_the_file(self, home: Path) -> None:
        folder = home / "object_store"
        folder.mkdir(parents=True)
        (folder / "s3.json").write_text("{}")
        with pytest.raises(StorageError, match=r"s3\.json"), local_object_store(home):
            pass
        assert processes_of(home) == []

    def test_a_record_that_makes_no_sense_is_none(self, home: Path) -> None:
        folder = home / "object_store"
        folder.mkdir(parents=True)
        for record in ("", "[]", '{"pid": "x"}', '{"pid": 1, "ready": true, "ports": 5}'):
            (folder / "server.json").write_text(record)
            assert running(home) is None
            assert stop(home) is False

    def test_without_the_wheel_another_s3_server_is_asked_for(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def absent(name: str) -> None:
            raise PackageNotFoundError(name)

        monkeypatch.setattr(seaweedfs, "files", absent)
        with pytest.raises(StorageError, match="S3_ENDPOINT_URL"), local_object_store(home):
            pass
