"""The locks hold what the deployment asks for, and name no registry."""

import json
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

INFRA = Path(__file__).resolve().parents[1]
LOCK = (INFRA / "requirements.lock").read_text()


def asked(text: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return {canonicalize_name(made.name): made for made in (Requirement(line) for line in lines if line)}


def test_the_extra_is_part_of_what_is_locked() -> None:
    block = re.search(r'"infra": \[(.*?)\n        \]', (INFRA.parent / "setup.py").read_text(), re.DOTALL)
    assert block
    extra = {Requirement(text) for text in re.findall(r'"([^"]+)"', re.sub(r"#.*", "", block[1]))}
    assert len(extra) >= 8
    assert {str(each) for each in extra} <= {
        str(each) for each in asked((INFRA / "requirements.in").read_text()).values()
    }


def test_every_requirement_is_locked_with_hashes() -> None:
    locked = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK, re.MULTILINE)
    }
    for name, requirement in asked((INFRA / "requirements.in").read_text()).items():
        assert locked[name] in requirement.specifier, f"{name}: run `make infra-lock`"
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_locks_name_no_registry() -> None:
    packages = (INFRA / "package-lock.json").read_text()
    assert re.findall(r"https?:|file:|index-url|find-links", LOCK) == []
    assert "resolved" not in packages
    assert all("integrity" in each for name, each in json.loads(packages)["packages"].items() if name)
