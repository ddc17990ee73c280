"""Real certificates for tests and the demo, made in milliseconds.

    alice = make(directory, "laptop.alice.example")
    alice.certificate, alice.key, alice.fingerprint

On a command line: ``scripts/make-certificates DIRECTORY NAME...``
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from eximcertd.certificates.index import Index
from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

DAY: Final = timedelta(days=1)
LONG: Final = 3650 * DAY


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key, as files.

    certificate: the PEM file. key: its private key, PKCS#8 PEM, unencrypted. chain: the PEM file to show to
    a server (the certificate, then its issuer where there is one). der: the certificate's bytes.
    """

    name: str
    certificate: Path
    key: Path
    chain: Path
    der: bytes
    fingerprint: Fingerprint
    private: Key

    @property
    def pem(self) -> str:
        """The certificate's PEM text."""
        return self.certificate.read_text()


def new_key(kind: str) -> Key:
    """Return a new private key: "ec" (P-256), "ed25519", "rsa" (2048 bits) or "rsa1024", which is weak."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa") or 2048))


def make(
    directory: Path,
    name: str,
    *,
    key: str | Key = "ec",
    ca: bool = False,
    issuer: Identity | None = None,
    names: Sequence[str] | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    serial: int | None = None,
    subject: x509.Name | None = None,
    sha1: bool = False,
    usages: Sequence[x509.ExtensionType] = (),
    stem: str | None = None,
) -> Identity:
    """Make a certificate in ``directory`` as STEM.pem and STEM.key (0600) and return both.

    key: a kind that ``new_key`` knows, or the key of another certificate (a renewal). issuer: the CA that
    signs it; None: self-signed. names: DNS names, by default its own; [] for none. not_before, not_after:
    by default from an hour ago for ten years. subject: by default CN=name. stem: by default the name.
    sha1: a weak signature. usages: more extensions.
    """
    private = new_key(key) if isinstance(key, str) else key
    own = subject if subject is not None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC).replace(microsecond=0)
    signer = issuer.private if issuer else private
    issued_by = x509.load_der_x509_certificate(issuer.der).subject if issuer else own
    begins = not_before or min(now - timedelta(hours=1), (not_after or now) - 30 * DAY)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(issued_by)
        .public_key(private.public_key())
        .serial_number(serial if serial is not None else x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(not_after or now + LONG)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    alternatives = [name] if names is None else names
    if alternatives and not ca:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in alternatives]), critical=False
        )
    for usage in usages:
        builder = builder.add_extension(usage, critical=False)
    digest: hashes.SHA1 | hashes.SHA256 | None = hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303 - weak is wanted
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        digest = None  # Ed25519 has its digest built in
    certificate = builder.sign(signer, digest)  # type: ignore[arg-type] # SHA-1 is taken, though not declared
    der = certificate.public_bytes(serialization.Encoding.DER)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem or name}.pem"
    path.write_bytes(pem)
    key_path = path.with_name(f"{stem or name}.key")
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    chain = path
    if issuer is not None:
        chain = path.with_name(f"{stem or name}.chain")
        chain.write_bytes(pem + issuer.certificate.read_bytes())
    fingerprint = Fingerprint(hashlib.sha256(der).hexdigest().upper())
    return Identity(name, path, key_path, chain, der, fingerprint, private)


def make_ca(directory: Path, name: str = "Lab Root CA") -> Identity:
    """Make a self-signed CA certificate; pass it as ``issuer`` to ``make``."""
    return make(directory, name, ca=True, stem=name.replace(" ", "-"))


def make_expired(directory: Path, name: str) -> Identity:
    """Make a certificate whose time was over yesterday."""
    return make(directory, name, not_after=datetime.now(UTC).replace(microsecond=0) - DAY)


def make_weak(directory: Path, name: str) -> Identity:
    """Make a certificate with an RSA key of 1024 bits."""
    return make(directory, name, key="rsa1024")


def indexed(directory: Path) -> Index:
    """Return an index that has looked at a directory."""
    index = Index(directory)
    index.refresh()
    return index


def main(arguments: Sequence[str]) -> int:
    """Make certificates from a command line: DIRECTORY NAME..."""
    if len(arguments) < 2:
        print("usage: make-certificates DIRECTORY NAME...", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    for name in arguments[1:]:
        made = make(Path(arguments[0]), name)
        print(made.fingerprint, made.certificate, made.key)  # noqa: T201 - what the program is for
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
