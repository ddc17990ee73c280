"""Whether an approved authority has issued a client's certificate, and for a purpose and a name that it may have.

All of it is read from the bytes of the certificate. What Exim logs about an issuer is not used: anybody can make a
certificate that names any issuer. Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from eximcertd.authorities.authority import read_certificate, value_of
from eximcertd.authorities.crl import Crl
from eximcertd.authorities.signature import SignatureError, load_key, parsed, verify_signature
from eximcertd.certificates import der as walk
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from eximcertd.authorities.authority import Authority
    from eximcertd.fingerprint import Fingerprint

LARGEST_LEAF: Final = 6 << 10
MOST_NAMES: Final = 100
_ANY_PURPOSE: Final = "2.5.29.37.0"
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
"""The extensions that may be critical (RFC 5280, section 4.2)."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The certificate is the authority's. serial: of the certificate. not_before, not_after: aware; when both hold."""

    authority: Authority
    serial: int
    not_before: datetime
    not_after: datetime


def verify(
    der: bytes,
    authorities: Sequence[Authority],
    now: datetime,
    crls: Mapping[Fingerprint, Crl | str],
) -> Enrolled | str:
    """Return which of the authorities has issued a certificate, or why none, a clause; "" if none has that name.

    now: aware. crls: of the authorities that have one: the CRL, or why it cannot be used.
    """
    try:
        where = walk.fields(der)
        issuer = walk.raw(der, where.issuer)
        named = [one for one in authorities if one.subject == issuer]
        if not named:
            return ""
        begins, ends = walk.validity(der, where.validity)
        serial = _check(der, begins, ends, now)
        load_key(walk.raw(der, where.key))
        authority = _issuer(der, named)
        problem = authority.problem(now) or _revoked(authority, serial, now, crls) or _outside(der, authority.patterns)
    except (SignatureError, walk.DerError) as error:
        return str(error)
    if problem:
        return problem
    return Enrolled(authority, serial, max(begins, authority.not_before), min(ends, authority.not_after))


def _check(der: bytes, begins: datetime, ends: datetime, now: datetime) -> int:
    """Check what concerns the certificate alone; return its serial number. Raises SignatureError."""
    if len(der) > LARGEST_LEAF:
        raise SignatureError(f"it is larger than {LARGEST_LEAF} bytes")
    certificate, extensions = read_certificate(der)
    if certificate.version is not x509.Version.v3:
        raise SignatureError("it is not X.509 version 3")
    constraints = value_of(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise SignatureError("it is the certificate of a CA, not of a client")
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise SignatureError(f"it has a critical extension that is not understood: {extension.oid.dotted_string}")
    if len(value_of(extensions, x509.SubjectAlternativeName) or ()) > MOST_NAMES:
        raise SignatureError(f"it has more than {MOST_NAMES} alternative names")
    purposes = value_of(extensions, x509.ExtendedKeyUsage)
    if purposes is not None and not {one.dotted_string for one in purposes} & {_CLIENT, _ANY_PURPOSE}:
        raise SignatureError("its extended key usage does not permit the authentication of a client")
    if now > ends:
        raise SignatureError(f"it has expired on {ends:%Y-%m-%d}")
    if now < begins:
        raise SignatureError(f"it is not valid before {begins:%Y-%m-%d}")
    return certificate.serial_number


def _issuer(der: bytes, named: Iterable[Authority]) -> Authority:
    """Return the one of several authorities of a name whose key has signed it. Raises SignatureError."""
    failure = SignatureError("")
    for authority in named:
        try:
            verify_signature(der, authority.key)
        except SignatureError as error:
            failure = error
        else:
            return authority
    raise failure


def _revoked(authority: Authority, serial: int, now: datetime, crls: Mapping[Fingerprint, Crl | str]) -> str:
    if not authority.crl:
        return ""
    crl = crls.get(authority.fingerprint, "it was not read yet")
    problem = crl if isinstance(crl, str) else crl.problem(now)
    if problem:
        return f"the CRL {clean(authority.crl)} cannot be used: {problem}"
    return "it is on the CRL of its authority" if isinstance(crl, Crl) and serial in crl.serials else ""


def _outside(der: bytes, patterns: Sequence[str]) -> str:
    """Return which name no pattern matches, a clause, or "". Raises SignatureError.

    DNS names and mail addresses among the alternative names count; where there are none, each CN of the subject.
    """
    if not patterns:
        return ""
    certificate, extensions = read_certificate(der)
    alternative = value_of(extensions, x509.SubjectAlternativeName) or ()
    names = [one.value for one in alternative if isinstance(one, x509.DNSName | x509.RFC822Name)]
    if not names:
        subject = parsed(lambda: certificate.subject, "its subject")
        names = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if not names:
        return "it has no name to compare with the authority's patterns"
    outside = next((name for name in names if not any(matches(name, one) for one in patterns)), None)
    return "" if outside is None else f"the authority is not approved for the name {clean(outside[:100])}"


def matches(name: str, pattern: str) -> bool:
    """Tell whether a name matches: ``*`` stands for any characters but ``@``, and case does not matter.

    Takes time in proportion to the length of the name, whatever the pattern is.
    """
    if not (name.isascii() and name.isprintable()) or name.count("@") != pattern.count("@"):
        return False
    name, (first, *others) = name.lower(), pattern.lower().split("*")
    if not others:
        return name == first
    last = others.pop()
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in others:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
