"""The secrets of a home's object store: made once, readable by their owner alone."""

import json
import os
import secrets
from pathlib import Path

from h3_pipeline.errors import StorageError

S3_FILE = "s3.json"
"""Who may use the S3 server, in SeaweedFS's own form."""

SECURITY_FILE = "security.toml"
"""Keys by which the parts of SeaweedFS trust one another; SeaweedFS finds the file by this name."""


def make_credentials(folder: Path) -> None:
    """Make those files in `folder` that are not there yet, and close all to others.

    Raises:
        OSError: A file cannot be written.
    """
    identity = {
        "name": "local",
        "credentials": [{"accessKey": secrets.token_hex(10), "secretKey": secrets.token_urlsafe(30)}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    _write_once(folder / S3_FILE, json.dumps({"identities": [identity]}, indent=2))

    # The servers behind S3 listen on loopback too; signed by these keys, they serve S3 alone.
    names = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    keys = "".join(f'[{name}]\nkey = "{secrets.token_hex(32)}"\n\n' for name in names)
    admin = f'[admin]\nuser = "local"\npassword = "{secrets.token_urlsafe(30)}"\n'
    _write_once(folder / SECURITY_FILE, keys + admin)


def read_credentials(folder: Path) -> tuple[str, str]:
    """The access key and the secret key of the S3 server.

    Raises:
        StorageError: The file is not there or not as it was made.
    """
    path = folder / S3_FILE
    try:
        credentials: dict[str, str] = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return credentials["accessKey"], credentials["secretKey"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(
            f"{path} does not hold the object store's credentials; "
            "run `h3-pipeline stop`, delete the file, and new ones are made"
        ) from error


def _write_once(path: Path, text: str) -> None:
    if path.exists():
        path.chmod(0o600)
        return
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
