"""Three configurations, each synthesized once a session, and an AWS of this machine's own to deploy them into."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from h3_infra.node import use_own_node

use_own_node()
pytest.register_assert_rewrite("tests.deployed", "tests.fargate", "tests.pipeline")

from tests.emulator.client import Aws  # noqa: E402
from tests.synthesis import Assembly, Choice, synthesize  # noqa: E402

INFRA = Path(__file__).resolve().parents[1]
LONGEST = ("test_option_a.py", "test_option_b.py", "test_checks.py")
"""They begin first: the other processes do the rest meanwhile."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> dict[Choice, Assembly]:
    """The cloud assembly of every choice, made when it is first asked for."""

    class Assemblies(dict[Choice, Assembly]):
        def __missing__(self, choice: Choice) -> Assembly:
            self[choice] = synthesize(choice, tmp_path_factory.mktemp(choice.value))
            return self[choice]

    return Assemblies()


@pytest.fixture(scope="session", params=[Choice.DEV, Choice.PROD, Choice.CLOUD], ids=lambda choice: choice.value)
def assembly(request: pytest.FixtureRequest, assemblies: dict[Choice, Assembly]) -> Assembly:
    """Each of the configurations that a team may choose."""
    return assemblies[request.param]


@pytest.fixture(scope="session")
def prod(assemblies: dict[Choice, Assembly]) -> Assembly:
    """Production with option A."""
    return assemblies[Choice.PROD]


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Aws]:
    """An empty AWS."""
    with (tmp_path / "emulator.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.emulator"],
            cwd=INFRA,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{INFRA}{os.pathsep}{INFRA.parent}"},
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, (tmp_path / "emulator.log").read_text()
            yield Aws(url, tmp_path)
        finally:
            process.terminate()
            process.wait(timeout=30)
