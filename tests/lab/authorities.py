"""Certificate authorities of the lab, honest and other ones: what lab.certificates does not make.

site = Signer("Site CA")
leaf = site.issue("client7.example")
"""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from eximcertd.fingerprint import Fingerprint, of_der
from lab.certificates import DAY, Identity, new_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NOW: Final = datetime.now(UTC).replace(microsecond=0)
CLIENT: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")
SERVER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1")
EMAIL: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.4")
ANY_PURPOSE: Final = x509.ObjectIdentifier("2.5.29.37.0")


def name_of(text: str) -> x509.Name:
    """Return O=Site, CN=text; no name for ""."""
    parts = [(NameOID.ORGANIZATION_NAME, "Site"), (NameOID.COMMON_NAME, text)] if text else []
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


@dataclass
class Signer:
    """A certificate with its key, which signs others whatever it may. issuer: None for itself.

    key: a kind that lab.certificates.new_key knows, or a key. extensions: besides the basic constraints.
    """

    name: str
    issuer: Signer | None = None
    key: Any = "ec"
    ca: bool | None = True
    pathlen: int | None = None
    purposes: Sequence[x509.ObjectIdentifier] = ()
    names: Sequence[x509.GeneralName] = ()
    not_before: datetime = NOW - DAY
    not_after: datetime = NOW + 365 * DAY
    subject: x509.Name | None = None
    issuer_name: x509.Name | None = None
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = ()
    serial: int = field(default_factory=x509.random_serial_number)
    der: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        self.private: Any = new_key(self.key) if isinstance(self.key, str) else self.key
        self.subject = name_of(self.name) if self.subject is None else self.subject
        signer = self.issuer or self
        issued_by = self.issuer_name if self.issuer_name is not None else signer.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(issued_by or self.subject)
            .public_key(self.private.public_key())
            .serial_number(self.serial)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
        )
        more: list[tuple[x509.ExtensionType, bool]] = list(self.extensions)
        if self.ca is not None:
            more.append((x509.BasicConstraints(self.ca, self.pathlen), True))
        if self.purposes:
            more.append((x509.ExtendedKeyUsage(list(self.purposes)), False))
        if self.names:
            more.append((x509.SubjectAlternativeName(list(self.names)), False))
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        made = _sign(builder, signer.private, self.digest)
        self.der = made.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self) -> Fingerprint:
        return of_der(self.der)

    @property
    def pem(self) -> bytes:
        return x509.load_der_x509_certificate(self.der).public_bytes(serialization.Encoding.PEM)

    def without_a_value(self) -> bytes:
        """Return the certificate in DER form, but the type of the last part of its name has swallowed the value."""
        at = self.der.rindex(b"\x06\x03\x55\x04\x03") + 1
        return self.der[:at] + bytes([self.der[at - 2] - 2]) + self.der[at + 1 :]

    def issue(self, name: str, **more: Any) -> Signer:
        """Sign a client's certificate: CA:FALSE, its name as the DNS name, unless ``more`` says otherwise."""
        return Signer(name, self, **{"ca": False, "names": [x509.DNSName(name)] if name else [], **more})

    def crl(
        self,
        revoked: Iterable[Signer] = (),
        *,
        next_update: datetime = NOW + 7 * DAY,
        key: Any = None,
        pem: bool = True,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """Return a CRL of these certificates. key: another one than its own."""
        assert self.subject is not None
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.subject)
            .last_update(next_update - 30 * DAY)
            .next_update(next_update)
        )
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(NOW - timedelta(hours=1))
            builder = builder.add_revoked_certificate(entry.build())
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        made = _sign(builder, key or self.private, hashes.SHA256())
        return bytes(made.public_bytes(serialization.Encoding.PEM if pem else serialization.Encoding.DER))

    def identity(self, directory: Path, *chain: Signer) -> Identity:
        """Write certificate and key into ``directory``, for the clients of the lab. chain: shown after it."""
        directory.mkdir(parents=True, exist_ok=True)
        stem = directory / self.fingerprint[:16]
        certificate, key, shown = (stem.with_suffix(end) for end in (".pem", ".key", ".chain"))
        certificate.write_bytes(self.pem)
        shown.write_bytes(b"".join(one.pem for one in (self, *chain)))
        key.touch(mode=0o600)
        key.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Identity(self.name, certificate, key, shown, self.der, self.fingerprint, self.private)


def by_openssl(signer: Signer, directory: Path, *options: str, extensions: str = "") -> Identity:
    """Return a client that openssl makes, for what cryptography does not: X.509 v1 (no extensions), MD5, RSA-PSS."""
    leaf = signer.issue("client7.example").identity(directory)
    ca, request, given = signer.identity(directory), directory / "request", directory / "extensions"
    run: list[Any] = ["openssl", "req", "-new", "-key", leaf.key, "-subj", "/CN=client7.example", "-out", request]
    subprocess.run(run, check=True, capture_output=True)
    given.write_text(extensions)
    sign: list[Any] = ["openssl", "x509", "-req", "-in", request, "-CA", ca.certificate, "-CAkey", ca.key]
    sign += ["-days", "30", "-outform", "DER", *options, *(["-extfile", given] if extensions else [])]
    der = subprocess.run(sign, check=True, capture_output=True).stdout
    for file in (leaf.certificate, leaf.chain):
        file.write_text(ssl.DER_cert_to_PEM_cert(der))
    return replace(leaf, der=der, fingerprint=of_der(der))


def _sign(builder: Any, key: Any, digest: hashes.HashAlgorithm) -> Any:
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return builder.sign(key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return builder.sign(key, digest)
