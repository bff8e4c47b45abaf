"""The embedded engine: one process at a time, and the next as soon as that ends, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from h3_pipeline.clickhouse.client import ClickHouse, QueryError
from h3_pipeline.clickhouse.embedded import MEMORY_LIMIT_BYTES, open_embedded
from h3_pipeline.errors import WarehouseError

HOLDER = """
import sys
from pathlib import Path
from h3_pipeline.clickhouse.embedded import open_embedded
with open_embedded(Path(sys.argv[1])) as engine:
    engine.command("CREATE TABLE IF NOT EXISTS default.t ENGINE = MergeTree ORDER BY x AS SELECT 7 AS x")
    print("open", flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that has the engine open until it is told to end."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "open\n"

    def let_go(self) -> None:
        """Let it close the engine and end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=60)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[], Holder]]:
    holders: list[Holder] = []

    def start() -> Holder:
        holders.append(Holder(tmp_path / "data"))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        assert holder.process.stdout is not None
        holder.process.stdout.close()


def test_a_second_process_waits_says_so_once_and_goes_on(tmp_path: Path, hold: Callable[[], Holder]) -> None:
    holder = hold()
    said: list[str] = []

    def told(message: str) -> None:
        said.append(message)
        holder.let_go()

    with open_embedded(tmp_path / "data", on_wait=told) as engine:
        assert engine.value("SELECT x FROM default.t") == 7
    assert len(said) == 1
    assert "in use by another process" in said[0]
    assert str(tmp_path / "data") in said[0]


def test_a_wait_that_is_too_long_ends_in_one_clear_line(tmp_path: Path, hold: Callable[[], Holder]) -> None:
    hold()
    with (
        pytest.raises(WarehouseError, match="in use by another process") as caught,
        open_embedded(tmp_path / "data", wait_seconds=1.2),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_the_lock_of_a_killed_process_is_free_and_its_data_are_there(
    tmp_path: Path, hold: Callable[[], Holder]
) -> None:
    hold().kill()
    said: list[str] = []
    with open_embedded(tmp_path / "data", on_wait=said.append) as engine:
        assert engine.value("SELECT x FROM default.t") == 7
    assert said == []


def test_two_folders_one_after_another(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        with open_embedded(tmp_path / name) as engine:
            engine.command(f"CREATE TABLE IF NOT EXISTS default.{name} ENGINE = Memory AS SELECT 1")
            assert engine.rows("SELECT name FROM system.tables WHERE database = 'default'") == [(name,)]


def test_two_folders_at_once_are_refused_in_one_clear_line(tmp_path: Path) -> None:
    with open_embedded(tmp_path / "a") as engine:
        with pytest.raises(WarehouseError) as caught, open_embedded(tmp_path / "b"):
            pass
        assert "\n" not in str(caught.value)
        assert engine.value("SELECT 1") == 1


def test_an_exception_gives_the_engine_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_embedded(tmp_path / "a"):
        _ = 1 / 0
    with open_embedded(tmp_path / "b", wait_seconds=0) as engine:
        assert engine.value("SELECT 1") == 1


def test_its_memory_is_limited(tmp_path: Path) -> None:
    with open_embedded(tmp_path / "data") as engine:
        limit = engine.value("SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
        assert int(limit) == MEMORY_LIMIT_BYTES


def _values(engine: ClickHouse, *names: str) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    return engine.pairs(f"SELECT name, value FROM system.settings WHERE name IN ({listed})")


def test_a_commands_settings_are_its_own(tmp_path: Path) -> None:
    standing = "max_threads_min_free_memory_per_thread"
    names = ("max_block_size", standing)
    with open_embedded(tmp_path / "data") as engine:
        before = _values(engine, *names)
        engine.command(
            "CREATE TABLE default.seen ENGINE = MergeTree ORDER BY name AS "
            "SELECT name, value FROM system.settings WHERE has({names:Array(String)}, name)",
            {"names": list(names)},
            {"max_block_size": 1234, standing: 5},
        )
        assert engine.pairs("SELECT name, value FROM default.seen") == {"max_block_size": "1234", standing: "5"}
        assert _values(engine, *names) == before
        with pytest.raises(QueryError):
            engine.command("INSERT INTO default.nowhere SELECT 1", settings={"max_block_size": 1234, standing: 5})
        assert _values(engine, *names) == before
    assert before[standing] == "0"


def test_another_connection_has_settings_of_its_own(tmp_path: Path) -> None:
    threads = "SELECT value FROM system.settings WHERE name = 'max_threads'"
    with open_embedded(tmp_path / "data") as engine:
        before = engine.value(threads)
        engine.command("CREATE TABLE default.numbers (n UInt64) ENGINE = MergeTree ORDER BY n")
        with engine.another({"max_threads": 1}) as other, ThreadPoolExecutor(2) as pool:
            insert = "INSERT INTO default.numbers SELECT number FROM numbers(300000)"
            begun = [pool.submit(one.command, insert) for one in (engine, other)]
            assert [each.result(timeout=60) for each in begun] == [None, None]
            assert other.value(threads) == "1"
            other.command("SELECT 1", settings={"max_threads": 3})
            assert other.value(threads) == "1"
        assert engine.value(threads) == before
        assert engine.value("SELECT count() FROM default.numbers") == 600_000
