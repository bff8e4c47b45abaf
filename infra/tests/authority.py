"""A cluster's own certificate, made as docs/aws.md says, for servers on this machine."""

import tempfile
from functools import cache
from pathlib import Path

from clickhouse.make_certificates import make

HOST = "localhost"
_FOLDER = tempfile.TemporaryDirectory(prefix="h3-infra-certificates-")


@cache
def certificates() -> Path:
    """Folder with `ca.pem` and `secret.json`, one for all tests."""
    folder = Path(_FOLDER.name)
    make([HOST], folder)
    return folder
