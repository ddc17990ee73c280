"""The client's certificate and key, and what there is to know of the server's."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from eximcertd.errors import EximcertdError
from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from pathlib import Path

    from eximcertd.cli.client.files import Smarthost
    from eximcertd.fingerprint import Fingerprint

VALIDITY: Final = timedelta(days=3650)
_CLOCK_SKEW: Final = timedelta(days=1)
"""The certificate is valid from then on before it is made: the server's clock may be behind."""
_LONGEST_COMMON_NAME: Final = 64
"""Characters (RFC 5280, appendix A.1, ub-common-name)."""


class ServerCertificate(NamedTuple):
    """A server's certificate. names: DNS names and IP addresses that it is for; its common name if there are none."""

    pem: str
    fingerprint: Fingerprint
    names: tuple[str, ...]
    not_after: datetime
    self_signed: bool

    @property
    def expired(self) -> bool:
        """Tell whether its time is over."""
        return self.not_after < datetime.now(UTC)

    def covers(self, server: Smarthost) -> bool:
        """Tell whether the certificate is for the server's name, as Exim compares it (RFC 6125)."""
        wildcard = re.sub(r"^[^.]*\.(?=.*\.)", "*.", server.host)
        return not {server.host, *([] if server.is_address else [wildcard])}.isdisjoint(self.names)


def machine_name() -> str:
    """Return this machine's name: its fully qualified one if it has one."""
    name = socket.getfqdn()
    if "." not in name or name.startswith("localhost"):
        name = socket.gethostname()
    return re.sub(r"[^a-z0-9.-]", "-", name.lower()).strip(".-") or "client"


def make(name: str, purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH) -> tuple[str, str]:
    """Return a new self-signed certificate and its private key (PKCS#8), both as PEM text. P-256, CA:FALSE.

    name: the machine's. purpose: the extended key usage.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_LONGEST_COMMON_NAME])])
    now = datetime.now(UTC).replace(microsecond=0)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def of_server(der: bytes) -> ServerCertificate:
    """Return what a server's certificate says. Raises EximcertdError."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # cryptography 42 and later has the former alone without a warning, Debian 12's 38 the latter alone
        aware = getattr(certificate, "not_valid_after_utc", None)
        not_after = aware or certificate.not_valid_after.replace(tzinfo=UTC)
        self_signed = certificate.issuer == certificate.subject
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        names = _names(certificate)
    except ValueError as error:
        raise EximcertdError(f"the server's certificate cannot be read: {error}") from None
    return ServerCertificate(pem, of_der(der), names, not_after, self_signed)


def fingerprint_of(pem: Path) -> Fingerprint:
    """Return the fingerprint of the certificate in a PEM file. Raises EximcertdError."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    except OSError as error:
        raise EximcertdError(f"the certificate {pem} cannot be read: {error.strerror}") from None
    except ValueError:
        raise EximcertdError(f"{pem} holds no certificate", hint="restore it from a backup") from None
    return of_der(certificate.public_bytes(serialization.Encoding.DER))


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(str(one.value).lower() for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*(name.lower() for name in names.get_values_for_type(x509.DNSName)), *addresses)
