"""A certificate's bytes -> Certificate.

The fields that every certificate has are read by ``der``, so that they are the same under every version of
``cryptography``: newer ones refuse whole certificates that TLS libraries accept (a serial number of zero or less, an
extension that is broken). ``cryptography`` reads the rest: the key and the alternative names. No certificate makes this
module raise an exception.

``cryptography`` is imported at the first use: it costs 80 ms and 10 MiB, and is needed only to show certificates.
No I/O, no clock.
"""

from __future__ import annotations

import warnings
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from eximcertd.certificates import certificate_warnings
from eximcertd.certificates import der as walk
from eximcertd.certificates.certificate import Certificate
from eximcertd.certificates.names import cut, rfc4514
from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography import x509

T = TypeVar("T")

MOST_NAMES: Final = 100
"""Maximum number of subject alternative names that are kept of one certificate."""

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


class _Library(NamedTuple):
    """The modules of ``cryptography`` that are needed."""

    x509: Any
    serialization: Any
    rsa: Any
    dsa: Any
    ec: Any


@cache
def _library() -> _Library:
    from cryptography import utils, x509  # noqa: PLC0415 - imported by those who need it, see above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa  # noqa: PLC0415

    warnings.filterwarnings("ignore", category=utils.CryptographyDeprecationWarning)
    return _Library(x509, serialization, rsa, dsa, ec)


def _attempt(read: Callable[[], T], otherwise: T) -> T:
    """Return what ``read`` reads, or ``otherwise`` where the bytes cannot be read so."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - bytes from outside make parsers raise anything; the fallback is the answer
        return otherwise
    except BaseException as panic:  # a panic of cryptography's Rust part is no Exception
        if type(panic).__name__ != "PanicException":
            raise
        return otherwise


def subject(der: bytes) -> str:
    """Return the subject alone, "" if it cannot be read."""
    return _attempt(lambda: rfc4514(walk.name(der, walk.fields(der).subject)), "")


def parse(der: bytes) -> Certificate:
    """Return the certificate whose DER form this is, without files, with the warnings about its contents."""
    refusal: list[str] = []
    full = _attempt(lambda: _load(der, refusal), None)
    names = _attempt(lambda: _names(full), None) if full is not None else None
    signature_hash = _attempt(lambda: str(full.signature_hash_algorithm.name), "")  # type: ignore[union-attr] # Ed25519 has none
    where = _attempt(lambda: walk.fields(der), None)
    subject = issuer = serial = key = spki = algorithm = ""
    begins = ends = None
    ca = False
    if where is not None:
        serial = f"{int.from_bytes(walk.contents(der, where.serial)[:64], 'big', signed=True):X}"
        issuer = _attempt(lambda: rfc4514(walk.name(der, where.issuer)), "")
        subject = _attempt(lambda: rfc4514(walk.name(der, where.subject)), "")
        no_times: tuple[datetime | None, datetime | None] = (None, None)
        begins, ends = _attempt(lambda: walk.validity(der, where.validity), no_times)
        ca = _attempt(lambda: walk.is_ca(der, where.rest), otherwise=False)
        algorithm = _attempt(lambda: walk.algorithm(der, where.algorithm), "")
        spki = sha256(walk.raw(der, where.key)).hexdigest()
        key = _attempt(lambda: _key(walk.raw(der, where.key)), "")
    problem = _problem(refusal, full=full, key=key, names=names)
    if where is not None and not key:
        key = _attempt(lambda: walk.algorithm(der, next(walk.elements(der, where.key))), "")
    return Certificate(
        fingerprint=of_der(der),
        subject=subject,
        issuer=issuer,
        serial=serial,
        not_before=begins,
        not_after=ends,
        names=names or (),
        key=key,
        ca=ca,
        files=(),
        spki=spki,
        static_warnings=tuple(
            certificate_warnings.of_contents(
                ca=ca and subject != issuer,  # self-signed, as openssl req -x509 makes it, it has issued nothing else
                key=key,
                signature=algorithm,
                hash_name=signature_hash,
                named=bool(subject or names),
                lacks=_attempt(lambda: _lacks(full), ()) if full is not None else (),
                problem=problem,
            )
        ),
        problem=problem,
    )


def _load(der: bytes, refusal: list[str]) -> x509.Certificate | None:
    try:
        loaded: x509.Certificate = _library().x509.load_der_x509_certificate(der)
    except ValueError as error:
        refusal.append(cut(str(error)).splitlines()[0][:200] if str(error) else "it is malformed")
        return None
    return loaded


def _problem(refusal: list[str], *, full: object, key: str, names: object) -> str:
    if full is None:
        return refusal[0] if refusal else "it is malformed"
    if names is None:
        return "its extensions are malformed"
    return "" if key else "its key is of an unknown kind"


def _key(spki: bytes) -> str:
    library = _library()
    key: Any = library.serialization.load_der_public_key(spki)
    if isinstance(key, library.rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, library.ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, library.dsa.DSAPublicKey):
        return f"DSA {key.key_size}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


def _lacks(full: x509.Certificate) -> tuple[str, ...]:
    """Return the key usages that a TLS client needs and its extensions leave out (RFC 5280, 4.2.1.3 and 4.2.1.12)."""
    x509 = _library().x509
    found = []
    for value in (extension.value for extension in full.extensions):
        if isinstance(value, x509.ExtendedKeyUsage) and x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH not in value:
            found.append("clientAuth")
        if isinstance(value, x509.KeyUsage) and not value.digital_signature:
            found.append("digitalSignature")
    return tuple(found)


def _names(full: x509.Certificate) -> tuple[str, ...]:
    x509 = _library().x509
    try:
        found = full.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    shown = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
    texts = []
    for general in found:
        if isinstance(general, shown):
            texts.append(cut(str(general.value)))
        elif isinstance(general, x509.DirectoryName):
            texts.append(_directory_name(general.value))
        if len(texts) == MOST_NAMES:
            break
    return tuple(texts)


def _directory_name(name: x509.Name) -> str:
    return rfc4514(
        tuple(tuple((part.oid.dotted_string, _text(part.value)) for part in relative) for relative in name.rdns)
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
