#!/usr/bin/env python3
"""Makes roles, users and grants on this server from sql/access.sql, once it answers.

Runs on the node, on the system's Python (3.9) and the AWS command line. Passwords reach the server only as salted
hashes, on standard input. The statements change nothing that is there already, so every server may run them.
"""

import hashlib
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

from fetch_secrets import ETC, read, secret

USERS = ("loader", "reader", "backup", "rotator")
WAIT_SECONDS = 900


def main() -> None:
    """Wait for the server and for Keeper, then apply."""
    text = (Path(__file__).resolve().parent.parent / "sql" / "access.sql").read_text(encoding="utf-8")
    passwords = {user: secret(os.environ[f"H3_{user.upper()}_SECRET"])["password"] for user in USERS}
    sql = fill_in(text, os.environ["H3_DATABASE"], passwords)
    environment = {**os.environ, "CLICKHOUSE_PASSWORD": read(ETC / "passwords.env")["H3_ADMIN_PASSWORD"]}
    command = ["clickhouse-client", "--secure", "--host", os.environ["H3_NODE"], "--port", "9440", "--user", "admin"]
    command += ["--config-file", str(Path(__file__).resolve().parent / "client.xml"), "--multiquery"]
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        done = subprocess.run(command, input=sql, env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            # only the error, never the statement: that has hashes in it
            sys.exit("users and grants could not be applied: " + re.split(r"[\n(]", done.stderr, maxsplit=1)[0])
        time.sleep(5)


def fill_in(text: str, database: str, passwords: dict) -> str:
    """The statements with names and salted hashes in place of what is between @ signs."""
    values = {"database": f"`{database}`", "everywhere": f"`{database}_everywhere`", "scratch": f"{database}__*"}
    for user, password in passwords.items():
        salt = secrets.token_hex(16)
        values[f"{user}_salt"] = salt
        values[f"{user}_hash"] = hashlib.sha256((password + salt).encode()).hexdigest()
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], text)


if __name__ == "__main__":
    main()
