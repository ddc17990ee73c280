"""The part of DER (X.690) that distinguishes a certificate from other data, and reads what a library refuses.

RFC 5280, section 4.1:

    Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE, signature BIT STRING }
    TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer SEQUENCE,
                                  validity SEQUENCE, subject SEQUENCE, subjectPublicKeyInfo SEQUENCE, ...,
                                  [3] extensions OPTIONAL }

Pure. Every loop is bounded by the length of its input.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
VERSION: Final = 0xA0
EXTENSIONS: Final = 0xA3

BASIC_CONSTRAINTS: Final = "2.5.29.19"

_LONG_FORM: Final = 0x80
_MOST_LENGTH_BYTES: Final = 4
_MOST_ARCS: Final = 64
_TEXT_ENCODINGS: Final = {0x0C: "utf-8", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}

Attribute = tuple[str, str]
"""Dotted object identifier, value as text."""

Name = tuple[tuple[Attribute, ...], ...]
"""Relative distinguished names in the order of the certificate, each of one or more attributes."""


class DerError(ValueError):
    """The bytes do not follow X.690 and RFC 5280; the message names what was expected."""


class Element(NamedTuple):
    """Where an element lies in its buffer: its tag byte, where it begins, its contents begin, and it ends."""

    tag: int
    start: int
    contents: int
    end: int


def element(data: bytes, start: int = 0, limit: int | None = None) -> Element:
    """Return the element that begins at ``start``. limit: where the enclosing one ends. Raises DerError."""
    limit = len(data) if limit is None else limit
    if start + 2 > limit:
        raise DerError("the data ends where an element should begin")
    length = data[start + 1]
    contents = start + 2
    if length >= _LONG_FORM:
        size = length & 0x7F
        if not 0 < size <= _MOST_LENGTH_BYTES or contents + size > limit:
            raise DerError("an element has no length")
        length = int.from_bytes(data[contents : contents + size], "big")
        contents += size
    if contents + length > limit:
        raise DerError("an element is longer than what it lies in")
    return Element(data[start], start, contents, contents + length)


def elements(data: bytes, within: Element) -> Iterator[Element]:
    """Yield the elements that ``within`` is made of. Raises DerError."""
    at = within.contents
    while at < within.end:
        found = element(data, at, within.end)
        yield found
        at = found.end


def first_element(data: bytes) -> bytes | None:
    """Return the SEQUENCE that ``data`` begins with, without what follows it; None where it is none or cut off."""
    if data[:1] != b"\x30":
        return None
    try:
        end = element(data).end
    except DerError:
        return None
    return data if end == len(data) else data[:end]


class Fields(NamedTuple):
    """The fields of a certificate that every one has, as elements of its bytes."""

    serial: Element
    issuer: Element
    validity: Element
    subject: Element
    key: Element
    algorithm: Element
    rest: tuple[Element, ...]


def fields(der: bytes) -> Fields:
    """Return where the fields of a certificate lie. Raises DerError where ``der`` has not that shape."""
    whole = element(der)
    parts = list(elements(der, whole)) if whole.tag == SEQUENCE else []
    if [part.tag for part in parts] != [SEQUENCE, SEQUENCE, BIT_STRING]:
        raise DerError("this is no certificate: it is not of three parts")
    tbs = list(elements(der, parts[0]))
    if tbs and tbs[0].tag == VERSION:
        del tbs[0]
    if [part.tag for part in tbs[:6]] != [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE]:
        raise DerError("this is no certificate: serial, issuer, validity, subject and key are not where they belong")
    return Fields(tbs[0], tbs[2], tbs[3], tbs[4], tbs[5], parts[1], tuple(tbs[6:]))


def subject(der: bytes) -> Element:
    """Return where the subject of a certificate lies, without a look at what follows. Raises DerError."""
    tbs = element(der, element(der).contents)
    part = element(der, tbs.contents, tbs.end)
    for _ in range(5 if part.tag == VERSION else 4):
        part = element(der, part.end, tbs.end)
    if part.tag != SEQUENCE:
        raise DerError("this is no certificate: the subject is not where it belongs")
    return part


def issuer(der: bytes) -> bytes:
    """Return the DER form of a certificate's issuer, b"" where it cannot be read."""
    try:
        return raw(der, fields(der).issuer)
    except DerError:
        return b""


def is_certificate(der: bytes) -> bool:
    """Tell whether ``der`` has the shape of a certificate; requests, lists and keys have not."""
    try:
        fields(der)
    except DerError:
        return False
    return True


def raw(der: bytes, part: Element) -> bytes:
    """Return the bytes of a whole element, its tag and length included."""
    return der[part.start : part.end]


def contents(der: bytes, part: Element) -> bytes:
    """Return the bytes of an element without tag and length."""
    return der[part.contents : part.end]


def oid(der: bytes, part: Element) -> str:
    """Return an object identifier in dotted form. Raises DerError."""
    data = contents(der, part)
    if part.tag != OID or not data or len(data) > 4 * _MOST_ARCS:
        raise DerError("an object identifier was expected")
    arcs, value = [], 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < _LONG_FORM:
            arcs.append(value)
            value = 0
    if not arcs:
        raise DerError("an object identifier does not end")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def algorithm(der: bytes, part: Element) -> str:
    """Return the object identifier that an AlgorithmIdentifier begins with. Raises DerError."""
    return oid(der, element(der, part.contents, part.end))


def name(der: bytes, part: Element) -> Name:
    """Return a distinguished name. Raises DerError."""
    return tuple(
        tuple(_attribute(der, attribute) for attribute in elements(der, relative)) for relative in elements(der, part)
    )


def _attribute(der: bytes, part: Element) -> Attribute:
    found = list(elements(der, part))
    if len(found) < 2:  # noqa: PLR2004 - its type and its value
        raise DerError("an attribute of a name has a type and a value")
    kind, value = found[:2]
    encoding = _TEXT_ENCODINGS.get(value.tag, "utf-8" if contents(der, value).isascii() else "latin-1")
    return oid(der, kind), contents(der, value).decode(encoding, "backslashreplace")


def validity(der: bytes, part: Element) -> tuple[datetime, datetime]:
    """Return when a certificate's time begins and ends, both aware UTC. Raises DerError."""
    times = [_time(der, time) for time in elements(der, part)]
    if len(times) != 2:  # noqa: PLR2004 - its two ends
        raise DerError("a validity has two ends")
    return times[0], times[1]


def _time(der: bytes, part: Element) -> datetime:
    text = contents(der, part).decode("ascii", "replace")
    if part.tag == UTC_TIME:  # two digits of the year: 1950 to 2049 (RFC 5280, section 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    elif part.tag != GENERALIZED_TIME:
        raise DerError("a time was expected")
    for form in ("%Y%m%d%H%M%SZ", "%Y%m%d%H%MZ"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise DerError("there is no such time")


def is_ca(der: bytes, rest: tuple[Element, ...]) -> bool:
    """Tell whether the extensions among ``rest`` hold basic constraints that say CA. Raises DerError."""
    for part in rest:
        if part.tag != EXTENSIONS:
            continue
        for extension in elements(der, element(der, part.contents, part.end)):
            inside = list(elements(der, extension))
            if inside and oid(der, inside[0]) == BASIC_CONSTRAINTS and inside[-1].tag == OCTET_STRING:
                constraints = element(der, inside[-1].contents, inside[-1].end)
                flag = next(elements(der, constraints), None)
                return flag is not None and flag.tag == BOOLEAN and contents(der, flag) != b"\x00"
    return False
