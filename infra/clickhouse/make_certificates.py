"""Makes the certificate that ClickHouse nodes show one another and their clients, by an authority of its own.

    python infra/clickhouse/make_certificates.py --names ch-1.h3.internal,...,clickhouse.h3.internal --folder FOLDER
    aws secretsmanager put-secret-value --secret-id h3-prod/clickhouse/tls --secret-string file://FOLDER/secret.json

Writes `ca.pem` (for clients: `infra/certificates/clickhouse.pem`), `ca_key.pem` (to be kept offline: whoever has it can
pose as a node) and `secret.json`. Run again with the same folder, it renews the certificate by the same authority. A
certificate of a public authority does as well: put it into the secret in its place.
"""

import argparse
import json
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397

Key = ec.EllipticCurvePrivateKey


def make(names: Sequence[str], folder: Path, now: datetime | None = None) -> None:
    """Write authority, its key and the secret's content.

    Args:
        names: Host names of all nodes, and of what stands before them.
        folder: Where; an authority that is there already is used again.
        now: Start of validity; the clock if None.
    """
    now = now or datetime.now(UTC)
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _authority(folder, now)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(names[0], authority.subject, key, now, CERTIFICATE_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            # a Keeper shows it to other Keepers as a client, too
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(_authority_key_identifier(authority_key), critical=False)
    )
    certificate = builder.sign(authority_key, hashes.SHA256())
    secret = {"certificate": _pem(certificate), "private_key": _key_pem(key), "ca": _pem(authority)}
    _write_private(folder / "secret.json", json.dumps(secret))


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, Key]:
    certificate_file, key_file = folder / "ca.pem", folder / "ca_key.pem"
    if certificate_file.exists() and key_file.exists():
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SystemExit(f"{key_file} is not a key that this program made")
        return x509.load_pem_x509_certificate(certificate_file.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = "ClickHouse nodes"
    builder = (
        _builder(name, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    certificate_file.write_text(_pem(certificate))
    _write_private(key_file, _key_pem(key))
    return certificate, key


def _builder(name: str, issuer: x509.Name, key: Key, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _authority_key_identifier(key: Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted).decode()


def _write_private(path: Path, content: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
    path.write_text(content)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    description, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", required=True, help="comma-separated host names")
    parser.add_argument("--folder", required=True, type=Path)
    options = parser.parse_args(arguments)
    make([name.strip() for name in options.names.split(",") if name.strip()], options.folder)
    print(f"{options.folder / 'secret.json'} is what the TLS secret is to hold")


if __name__ == "__main__":
    main()
