"""The lock file holds what setup.py asks for, and nothing of the machine that it was made on."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")


def _locked() -> dict[str, set[str]]:
    """Locked versions by name; a name has several where a marker decides."""
    locked: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), set()).add(version)
    return locked


def test_every_requirement_is_locked_at_a_version_that_it_allows() -> None:
    locked = _locked()
    asked = [Requirement(text) for text in requires("h3_pipeline") or ()]
    assert len(asked) > 20
    for requirement in asked:
        if requirement.marker and re.search('extra == "(infra|bench)"', str(requirement.marker)):
            continue  # locked apart: infra/tests/test_locks.py, h3_pipeline_tests/benchmarks/test_lock.py
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert any(version in requirement.specifier for version in versions), f"{requirement}: run `make lock`"


def test_every_package_has_hashes() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == sum(len(versions) for versions in _locked().values())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_names_no_registry_and_no_path() -> None:
    assert re.findall(r"https?:|file:|index-url|find-links|^.*\s/\w+/.*$", LOCK, re.MULTILINE) == []
