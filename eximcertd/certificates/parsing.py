"""One certificate's bytes -> what there is to show of it.

``cryptography`` reads it, from version 38.0.4 to the newest, which refuse what older ones took (a serial number
of zero or less, an extension that is broken). What it refuses is read by our own minimal DER walk as far as
that goes. Nothing in a stranger's certificate raises anything here.

``cryptography`` is imported at the first use: it costs 80 ms and 10 MiB, and only those who show
certificates need it. No I/O, no clock.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eximcertd.certificates import certificate_warnings
from eximcertd.certificates import der as walk
from eximcertd.certificates.certificate import Certificate
from eximcertd.certificates.names import cut, rfc4514
from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

T = TypeVar("T")

MOST_NAMES: Final = 100
"""Subject alternative names that are kept of one certificate."""

_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_RAW_KEYS: Final = {
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.10045.2.1": "EC",
    "1.2.840.10040.4.1": "DSA",
}


@cache
def _library() -> Any:
    """Return the modules of ``cryptography`` that are needed, imported."""
    from cryptography import utils, x509  # noqa: PLC0415 - imported by those who need it, see above
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa  # noqa: PLC0415

    class Library:
        pass

    library: Any = Library()
    library.x509, library.utils, library.dsa, library.ec, library.rsa = x509, utils, dsa, ec, rsa
    return library


def _attempt(read: Callable[[], T], otherwise: T) -> T:
    """Return what ``read`` reads, or ``otherwise`` where the bytes cannot be read so."""
    try:
        return read()
    except Exception:  # noqa: BLE001 - strangers' bytes make parsers raise anything; the fallback is the answer
        return otherwise
    except BaseException as panic:  # a panic of cryptography's Rust part is no Exception
        if type(panic).__name__ != "PanicException":
            raise
        return otherwise


def parse(der: bytes) -> Certificate:
    """Return the certificate whose DER form this is, with no files yet and the doubts that its contents raise."""
    library = _library()
    warnings.filterwarnings("ignore", category=library.utils.CryptographyDeprecationWarning)
    refusal: list[str] = []
    full = _attempt(lambda: _load(library, der, refusal), None)
    where = _attempt(lambda: walk.fields(der), None)
    serial, issuer, subject, begins, ends, spki, algorithm = _walked(der, where)
    key = names = None
    ca = where is not None and _attempt(lambda: walk.is_ca(der, where.rest), otherwise=False)
    signature_hash = ""
    if full is not None:
        key = _attempt(lambda: _key(library, full), None)
        names = _attempt(lambda: _names(library, full), None)
        ca = _attempt(lambda: _is_ca(library, full), ca)
        signature_hash = _attempt(lambda: str(full.signature_hash_algorithm.name), "")  # type: ignore[union-attr] # Ed25519 has none
        subject = _attempt(lambda: _name(full.subject), subject)
        issuer = _attempt(lambda: _name(full.issuer), issuer)
        serial = _attempt(lambda: f"{full.serial_number:X}", serial)
        begins = _attempt(lambda: _begins(full), begins)
        ends = _attempt(lambda: _ends(full), ends)
    problem = _problem(refusal, full=full, key=key, names=names)
    if key is None:
        key = _attempt(lambda: _raw_key(der, where), "")
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
        doubts=tuple(
            certificate_warnings.of_contents(
                ca=ca,
                key=key,
                signature=algorithm,
                hash_name=signature_hash,
                named=bool(subject or names),
                problem=problem,
            )
        ),
        problem=problem,
    )


def _load(library: Any, der: bytes, refusal: list[str]) -> x509.Certificate | None:
    try:
        loaded: x509.Certificate = library.x509.load_der_x509_certificate(der)
    except ValueError as error:
        refusal.append(cut(str(error)).splitlines()[0][:200] if str(error) else "it is malformed")
        return None
    return loaded


def _problem(refusal: list[str], *, full: object, key: object, names: object) -> str:
    if full is None:
        return refusal[0] if refusal else "it is malformed"
    if names is None:
        return "its extensions are malformed"
    return "its key is of an unknown kind" if key is None else ""


def _walked(der: bytes, where: walk.Fields | None) -> tuple[str, str, str, datetime | None, datetime | None, str, str]:
    if where is None:
        return "", "", "", None, None, "", ""
    number = int.from_bytes(walk.contents(der, where.serial)[:64], "big", signed=True)
    no_times: tuple[datetime | None, datetime | None] = (None, None)
    begins, ends = _attempt(lambda: walk.validity(der, where.validity), no_times)
    return (
        f"{number:X}",
        _attempt(lambda: rfc4514(walk.name(der, where.issuer)), ""),
        _attempt(lambda: rfc4514(walk.name(der, where.subject)), ""),
        begins,
        ends,
        sha256(walk.raw(der, where.key)).hexdigest(),
        _attempt(lambda: walk.algorithm(der, where.algorithm), ""),
    )


def _name(name: x509.Name) -> str:
    return rfc4514(
        tuple(tuple((part.oid.dotted_string, _text(part.value)) for part in relative) for relative in name.rdns)
    )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _begins(full: x509.Certificate) -> datetime:
    if hasattr(full, "not_valid_before_utc"):  # cryptography 42 and newer
        return full.not_valid_before_utc
    return full.not_valid_before.replace(tzinfo=UTC)


def _ends(full: x509.Certificate) -> datetime:
    if hasattr(full, "not_valid_after_utc"):
        return full.not_valid_after_utc
    return full.not_valid_after.replace(tzinfo=UTC)


def _key(library: Any, full: x509.Certificate) -> str:
    key: Any = full.public_key()
    if isinstance(key, library.rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, library.ec.EllipticCurvePublicKey):
        return f"EC {_CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, library.dsa.DSAPublicKey):
        return f"DSA {key.key_size}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey")


def _raw_key(der: bytes, where: walk.Fields | None) -> str:
    """Return the kind of key that only the walk can tell, and its size for RSA (RFC 8017, appendix A.1.1)."""
    if where is None:
        return ""
    algorithm, bits = walk.elements(der, where.key)
    kind = walk.algorithm(der, algorithm)
    known = _RAW_KEYS.get(kind, kind)
    if known != "RSA":
        return known
    sequence = walk.element(der, bits.contents + 1, bits.end)
    modulus = int.from_bytes(walk.contents(der, walk.element(der, sequence.contents, sequence.end)), "big")
    return f"RSA {modulus.bit_length()}"


def _is_ca(library: Any, full: x509.Certificate) -> bool:
    try:
        return bool(full.extensions.get_extension_for_class(library.x509.BasicConstraints).value.ca)
    except library.x509.ExtensionNotFound:
        return False


def _names(library: Any, full: x509.Certificate) -> tuple[str, ...]:
    try:
        found = full.extensions.get_extension_for_class(library.x509.SubjectAlternativeName).value
    except library.x509.ExtensionNotFound:
        return ()
    x509 = library.x509
    shown = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
    texts = []
    for general in found:
        if isinstance(general, shown):
            texts.append(cut(str(general.value)))
        elif isinstance(general, library.x509.DirectoryName):
            texts.append(_name(general.value))
        if len(texts) == MOST_NAMES:
            break
    return tuple(texts)
