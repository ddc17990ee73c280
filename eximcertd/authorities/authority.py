"""A certificate authority, known from its certificate: a distinguished name and a key (RFC 5280, section 6.1.1).

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from eximcertd.authorities.signature import SignatureError, load_key, parsed
from eximcertd.certificates import der as walk
from eximcertd.certificates.names import rfc4514
from eximcertd.errors import RefusedError
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.text import clean

if TYPE_CHECKING:
    from datetime import datetime

MOST_PATTERNS: Final = 100


@dataclass(frozen=True)
class Authority:
    """An authority. der: its certificate. subject, spki: the DER form of its name and of its key.

    name: the subject as text (RFC 4514), unescaped. not_before, not_after: aware. patterns: of the names of the
    certificates that it may issue, empty for any. crl: the path of its CRL, or "".
    """

    fingerprint: Fingerprint
    der: bytes
    subject: bytes
    spki: bytes
    name: str
    not_before: datetime
    not_after: datetime
    patterns: tuple[str, ...] = ()
    crl: str = ""

    @cached_property
    def key(self) -> Any:
        """The public key. Raises SignatureError."""
        return load_key(self.spki)

    @classmethod
    def of(cls, der: bytes, patterns: tuple[str, ...] = (), crl: str = "") -> Authority:
        """Return the authority whose certificate this is. Raises RefusedError for a certificate of no authority."""
        try:
            where = walk.fields(der)
            begins, ends = walk.validity(der, where.validity)
            subject = walk.raw(der, where.subject)
            name = rfc4514(walk.name(der, where.subject))
            found = cls(of_der(der), der, subject, walk.raw(der, where.key), name, begins, ends, patterns, crl)
            problem = _problem(der, found)
        except (walk.DerError, SignatureError) as error:
            problem, name = str(error), ""
        if problem:
            raise RefusedError(
                f"this certificate{f' ({clean(name)})' if name else ''} cannot be an authority: {problem}"
            )
        return found

    def same(self, other: Authority) -> bool:
        """Tell whether the other is another certificate of the same name and key."""
        return (self.subject, self.spki) == (other.subject, other.spki) and self.der != other.der

    def problem(self, now: datetime) -> str:
        """Return why it vouches for nobody at ``now``, a clause, or ""."""
        if now > self.not_after:
            return f"the certificate of the authority has expired on {self.not_after:%Y-%m-%d}"
        if now < self.not_before:
            return f"the certificate of the authority is not valid before {self.not_before:%Y-%m-%d}"
        return ""


def read_certificate(der: bytes) -> tuple[x509.Certificate, x509.Extensions]:
    """Return a certificate and its extensions, as cryptography reads them. Raises SignatureError."""
    certificate = parsed(lambda: x509.load_der_x509_certificate(der))
    return certificate, parsed(lambda: certificate.extensions)


def value_of(extensions: x509.Extensions, kind: type[Any]) -> Any:
    """Return the value of an extension, or None."""
    return next((one.value for one in extensions if isinstance(one.value, kind)), None)


def _problem(der: bytes, authority: Authority) -> str:
    certificate, extensions = read_certificate(der)
    if certificate.version is not x509.Version.v3:
        return "it is X.509 version 1, which says of no certificate that it is a CA's"
    constraints = value_of(extensions, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return "it has no basic constraints CA:TRUE"
    usage = value_of(extensions, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "its key usage does not permit to sign certificates"
    if value_of(extensions, x509.NameConstraints) is not None:
        return "it has name constraints, which eximcertd does not apply"
    if not list(walk.elements(authority.subject, walk.element(authority.subject))):
        return "it has no name"
    _ = authority.key
    return ""
