"""The certificate revocation list of an authority (RFC 5280, section 5), PEM or DER. Pure: no I/O, no clock."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

from cryptography import x509

from eximcertd.authorities.signature import SignatureError, parsed, verify_signature
from eximcertd.certificates import der as walk

if TYPE_CHECKING:
    from datetime import datetime

    from eximcertd.authorities.authority import Authority

_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----")


@dataclass(frozen=True, slots=True)
class Crl:
    """serials: of the revoked certificates. next_update: aware; the list is not used after it."""

    serials: frozenset[int]
    next_update: datetime

    def problem(self, now: datetime) -> str:
        """Return why it cannot be used at ``now``, a clause, or ""."""
        return f"its next update was due on {self.next_update:%Y-%m-%d %H:%M} UTC" if now > self.next_update else ""


def read_crl(data: bytes, authority: Authority) -> Crl | str:
    """Return the CRL that ``data`` holds, or why it cannot be used, a clause."""
    try:
        return _read(data, authority)
    except (SignatureError, walk.DerError, binascii.Error) as error:
        return str(error)


def _read(data: bytes, authority: Authority) -> Crl:
    blocks = _PEM.findall(data)
    if len(blocks) > 1:
        raise SignatureError("it holds several CRLs: give the one of this authority")
    der = binascii.a2b_base64(blocks[0]) if blocks else data
    if der[:1] != b"\x30":
        raise SignatureError("it holds no CRL, neither in PEM nor in DER")
    crl = parsed(lambda: x509.load_der_x509_crl(der))
    if _issuer(der) != authority.subject:
        raise SignatureError("it is the CRL of another authority")
    verify_signature(der, authority.key)
    for extension in parsed(lambda: crl.extensions):
        limits = isinstance(extension.value, x509.DeltaCRLIndicator | x509.IssuingDistributionPoint)
        if (limits or extension.critical) and not _covers_all(extension.value):
            raise SignatureError("it does not cover all certificates of the authority")
    next_update = getattr(crl, "next_update_utc", None) or crl.next_update
    if next_update is None:
        raise SignatureError("it does not say when its next update is due")
    serials = parsed(lambda: frozenset(entry.serial_number for entry in crl))
    return Crl(serials, next_update if next_update.tzinfo else next_update.replace(tzinfo=UTC))


def _issuer(der: bytes) -> bytes:
    """Return the DER form of the issuer: after the version, which is optional, and the algorithm."""
    to_be_signed = walk.element(der, walk.element(der).contents)
    sequences = [part for part in walk.elements(der, to_be_signed) if part.tag == walk.SEQUENCE]
    return walk.raw(der, sequences[1]) if len(sequences) > 1 else b""


def _covers_all(value: object) -> bool:
    """Tell whether such an extension leaves the CRL complete for the certificates of clients."""
    return isinstance(value, x509.IssuingDistributionPoint) and not (
        value.indirect_crl
        or value.only_contains_ca_certs
        or value.only_contains_attribute_certs
        or value.only_some_reasons
    )
