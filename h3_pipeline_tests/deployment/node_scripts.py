"""The scripts that run on a node, as modules: they are no package there either."""

import importlib.util
import sys
from functools import cache
from types import ModuleType

from infra.clickhouse.user_data import FILES

FOLDER = FILES / "node"


@cache
def load(name: str) -> ModuleType:
    """Import one of them, without leaving compiled files among those that a node fetches."""
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(FOLDER))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
        sys.dont_write_bytecode = before
    return module
