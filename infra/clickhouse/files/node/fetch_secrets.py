#!/usr/bin/env python3
"""Writes what the node's services may not be told in the open: certificate, cluster password, local passwords.

Runs on the node, on the system's Python (3.9) and the AWS command line. Running it again renews the certificate and
keeps the local passwords. Nothing secret is printed.
"""

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

ETC = Path("/etc/h3-clickhouse")
SYSTEM_AUTHORITIES = Path("/etc/pki/tls/certs/ca-bundle.crt")
WAIT_SECONDS = 3600
PEM = {"certificate": "certificate.pem", "private_key": "private_key.pem", "ca": "ca.pem"}


def main() -> None:
    """Fetch and write everything; wait while nobody has put the certificate into its secret yet."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        tls = secret(os.environ["H3_TLS_SECRET"])
        if all("-----BEGIN" in str(tls.get(key, "")) for key in PEM):
            break
        if time.monotonic() > deadline:
            sys.exit(f"{os.environ['H3_TLS_SECRET']} still has no PEM in {', '.join(PEM)}")
        print("waiting for the certificate", flush=True)
        time.sleep(30)
    write_tls(tls, ETC / "tls", SYSTEM_AUTHORITIES)
    cluster = secret(os.environ["H3_CLUSTER_SECRET"])
    write_passwords(cluster["password"], ETC)


def secret(arn: str) -> dict:
    """A secret's JSON, read with the instance's role."""
    command = ["aws", "secretsmanager", "get-secret-value", "--secret-id", arn, "--output", "json"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(json.loads(answer)["SecretString"])


def write_tls(tls: dict, folder: Path, system_authorities: Path) -> None:
    """Certificate, key and authorities, for root and the services alone."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: tls[key].strip() + "\n" for key, name in PEM.items()}
    # one file for everything that a node trusts: its peers and S3
    files["ca-bundle.pem"] = files["ca.pem"] + system_authorities.read_text(encoding="utf-8")
    for name, content in files.items():
        write(folder / name, content, group="clickhouse")


def write_passwords(cluster_password: str, folder: Path) -> None:
    """What the server reads (the cluster's password, hashes), and what local scripts read (two passwords made here)."""
    path = folder / "passwords.env"
    known = read(path)
    own = {name: known.get(name) or secrets.token_hex(24) for name in ("H3_ADMIN_PASSWORD", "H3_MONITOR_PASSWORD")}
    write(path, assignments(own))
    hashes = {f"{name}_HASH": hashlib.sha256(value.encode()).hexdigest() for name, value in own.items()}
    write(folder / "secrets.env", assignments({"H3_CLUSTER_PASSWORD": cluster_password, **hashes}))


def assignments(values: dict) -> str:
    """Lines for systemd's EnvironmentFile."""
    for name, value in values.items():
        if not str(value).isalnum():
            sys.exit(f"{name} may only have letters and digits")
    return "".join(f"{name}={value}\n" for name, value in values.items())


def read(path: Path) -> dict:
    """What `assignments` wrote, if anything."""
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").splitlines())


def write(path: Path, content: str, group: str = "root") -> None:
    """Replace a file at once; nobody but root and a group ever reads it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(content, encoding="utf-8")
    if group != "root":
        shutil.chown(new, group=group)
        new.chmod(0o640)
    new.replace(path)


if __name__ == "__main__":
    main()
