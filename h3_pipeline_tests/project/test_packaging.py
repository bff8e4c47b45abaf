"""setup.py asks for what the code imports, and packs what lies beside the code."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "h3_pipeline"
OWN = {"benchmarks", "docs", "h3_pipeline", "h3_pipeline_tests", "infra"}


@cache
def _setup_arguments() -> dict[str, Any]:
    """Arguments of setup() that are literals."""
    calls = [node for node in ast.walk(ast.parse((REPOSITORY / "setup.py").read_text())) if isinstance(node, ast.Call)]
    call = next(node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "setup")
    return {
        str(keyword.arg): ast.literal_eval(keyword.value)
        for keyword in call.keywords
        if isinstance(keyword.value, ast.List | ast.Dict | ast.Constant)
    }


def _asked(*, dev: bool) -> set[str]:
    arguments = _setup_arguments()
    texts = arguments["install_requires"] + (arguments["extras_require"]["dev"] if dev else [])
    return {canonicalize_name(Requirement(text).name) for text in texts}


def _imports(folder: Path) -> Iterator[tuple[str, Path]]:
    """Full names that absolute imports name, and where."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from ((f"{node.module}.{alias.name}", path) for alias in node.names)


@pytest.mark.parametrize(("folder", "dev"), [("h3_pipeline", False), ("h3_pipeline_tests", True), ("docs", True)])
def test_every_import_is_asked_for(folder: str, dev: bool) -> None:
    asked = _asked(dev=dev)
    distributions = packages_distributions()
    missing = {}
    for name, path in _imports(REPOSITORY / folder):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top in OWN:
            continue
        providers = {canonicalize_name(provider) for provider in distributions.get(top, ())}
        if not providers & asked:
            missing[top] = str(path.relative_to(REPOSITORY))
    assert not missing


def test_every_file_beside_the_code_is_packed() -> None:
    patterns = _setup_arguments()["package_data"]["h3_pipeline"]
    packed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    beside = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert PACKAGE / "py.typed" in beside
    assert beside - packed == set()


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
