"""Certificates: a node that shows one is believed under each of its names, and nobody else is."""

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.clickhouse.make_certificates import CERTIFICATE_DAYS, main, make

NAMES = ("ch-1.h3.internal", "clickhouse.h3.internal")


def shake_hands(folder: Path, name: str, authority: Path) -> None:
    """A TLS handshake between a client and a node, without a network."""
    secret = json.loads((folder / "secret.json").read_text())
    (folder / "node.pem").write_text(secret["certificate"] + secret["private_key"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "node.pem")
    client_side = ssl.create_default_context(cafile=str(authority))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    client = client_side.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(10):
        done = 0
        for end in (client, server):
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            return
    pytest.fail("the handshake did not end")


def test_a_node_is_believed_by_each_of_its_names(tmp_path: Path) -> None:
    main(["--names", ",".join(NAMES), "--folder", str(tmp_path)])
    for name in NAMES:
        shake_hands(tmp_path, name, tmp_path / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(tmp_path, "ch-9.h3.internal", tmp_path / "ca.pem")
    assert json.loads((tmp_path / "secret.json").read_text())["ca"] == (tmp_path / "ca.pem").read_text()
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077} == {"ca.pem", "node.pem"}


def test_a_renewed_certificate_is_believed_by_who_trusts_the_authority(tmp_path: Path) -> None:
    make(NAMES, tmp_path, now=datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS + 1))
    authority = (tmp_path / "ca.pem").read_text()
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(tmp_path, NAMES[0], tmp_path / "ca.pem")
    make(NAMES, tmp_path)
    assert (tmp_path / "ca.pem").read_text() == authority
    shake_hands(tmp_path, NAMES[0], tmp_path / "ca.pem")


def test_another_authority_is_not_believed(tmp_path: Path) -> None:
    make(NAMES, tmp_path / "ours")
    make(NAMES, tmp_path / "theirs")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tmp_path / "theirs", NAMES[0], tmp_path / "ours" / "ca.pem")
