"""What the other contenders need is locked apart, in the pipeline's versions where both have a package."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = (REPOSITORY / "benchmarks" / "requirements.lock").read_text(encoding="utf-8")
PIPELINE_LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")


def locked(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def extra() -> dict[str, Requirement]:
    asked = [Requirement(text) for text in requires("h3_pipeline") or ()]
    chosen = [one for one in asked if one.marker and one.marker.evaluate({"extra": "bench"})]
    return {canonicalize_name(one.name): one for one in chosen if 'extra == "bench"' in str(one.marker)}


def test_the_extra_is_what_is_locked() -> None:
    lines = (REPOSITORY / "benchmarks" / "requirements.in").read_text(encoding="utf-8").splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert {(canonicalize_name(one.name), str(one.specifier)) for one in asked} == {
        (name, str(one.specifier)) for name, one in extra().items()
    }
    assert len(asked) >= 8
    for one in asked:
        versions = locked(LOCK)[canonicalize_name(one.name)]
        assert any(version in one.specifier for version in versions), f"{one}: run `make bench-lock`"


def test_both_locks_agree() -> None:
    pipeline, bench = locked(PIPELINE_LOCK), locked(LOCK)
    both = pipeline.keys() & bench.keys()
    assert {"chdb", "clickhouse-connect", "h3", "pandas", "pyarrow"} <= both
    assert {name: bench[name] for name in both if not bench[name] & pipeline[name]} == {}


def test_every_package_has_hashes_and_no_registry_is_named() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert re.findall(r"https?:|file:|index-url|find-links", LOCK) == []
