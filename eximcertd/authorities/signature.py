"""Whether a key has signed a certificate or a CRL (RFC 5280, sections 4.1.1 and 5.1.1), by the bytes that were signed.

cryptography 38, Debian 12's, has no ``verify_directly_issued_by``, so the key verifies the bytes here. The algorithms
are those of RFC 4055, 5758 and 8410 with SHA-256 or better; every other one is refused by its object identifier. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from eximcertd.certificates import der as walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.certificates.der import Element

T = TypeVar("T")

SHORTEST_RSA: Final = 2048
SHORTEST_EC: Final = 256
LONGEST_RSA: Final = 16384

_PKCS1: Final = {
    "1.2.840.113549.1.1.11": hashes.SHA256(),
    "1.2.840.113549.1.1.12": hashes.SHA384(),
    "1.2.840.113549.1.1.13": hashes.SHA512(),
}
_ECDSA: Final = {
    "1.2.840.10045.4.3.2": hashes.SHA256(),
    "1.2.840.10045.4.3.3": hashes.SHA384(),
    "1.2.840.10045.4.3.4": hashes.SHA512(),
}
_DIGESTS: Final = {
    "2.16.840.1.101.3.4.2.1": hashes.SHA256(),
    "2.16.840.1.101.3.4.2.2": hashes.SHA384(),
    "2.16.840.1.101.3.4.2.3": hashes.SHA512(),
}
_PSS: Final = "1.2.840.113549.1.1.10"
_ED25519: Final = "1.3.101.112"
_ED448: Final = "1.3.101.113"
_WEAK: Final = {
    "1.2.840.113549.1.1.2": "MD2",
    "1.2.840.113549.1.1.4": "MD5",
    "1.2.840.113549.1.1.5": "SHA-1",
    "1.2.840.113549.1.1.14": "SHA-224",
    "1.2.840.10045.4.1": "SHA-1",
    "1.2.840.10045.4.3.1": "SHA-224",
    "1.2.840.10040.4.3": "SHA-1",
}


class SignatureError(ValueError):
    """The signature does not hold, or is not accepted. The message is a clause about the certificate or CRL."""


def parsed(read: Callable[[], T], what: str = "it") -> T:
    """Return what cryptography reads from bytes of others. Raises InvalidSignature; SignatureError for all else."""
    try:
        return read()
    except (SignatureError, InvalidSignature):
        raise
    except Exception as error:
        raise SignatureError(f"{what} is malformed: {str(error)[:100]}") from error
    except BaseException as panic:  # a panic of cryptography's Rust part is no Exception
        if type(panic).__name__ != "PanicException":
            raise
        raise SignatureError(f"{what} is malformed") from None


def load_key(spki: bytes) -> Any:
    """Return the public key of a SubjectPublicKeyInfo. Raises SignatureError: too short, or of an unknown kind."""
    key = parsed(lambda: serialization.load_der_public_key(spki), "its key")
    if isinstance(key, rsa.RSAPublicKey):
        if not SHORTEST_RSA <= key.key_size <= LONGEST_RSA:
            raise SignatureError(f"its key is RSA {key.key_size}: {SHORTEST_RSA} to {LONGEST_RSA} bits are accepted")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.key_size < SHORTEST_EC:
            raise SignatureError(f"its key is EC with {key.key_size} bits: at least {SHORTEST_EC} are accepted")
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise SignatureError("its key is neither RSA nor EC nor Ed25519 nor Ed448")
    return key


def verify_signature(der: bytes, key: Any) -> None:
    """Verify that ``key`` (of load_key) has signed a certificate or CRL. Raises SignatureError, DerError."""
    whole = walk.element(der)
    parts = list(walk.elements(der, whole))
    if whole.end != len(der) or [part.tag for part in parts] != [walk.SEQUENCE, walk.SEQUENCE, walk.BIT_STRING]:
        raise SignatureError("it is not of three parts")
    to_be_signed, algorithm, bits = parts
    inner = [part for part in walk.elements(der, to_be_signed) if part.tag == walk.SEQUENCE][:1]
    if not inner or walk.raw(der, inner[0]) != walk.raw(der, algorithm):
        raise SignatureError("it names two different signature algorithms")
    signature = walk.contents(der, bits)
    if signature[:1] != b"\0":
        raise SignatureError("its signature is not a whole number of bytes")
    try:
        # a salt of 4 GiB is an OverflowError of cryptography 38
        parsed(lambda: _verify(key, signature[1:], walk.raw(der, to_be_signed), der, algorithm), "its signature")
    except InvalidSignature:
        raise SignatureError("the authority's key has not signed it") from None


def _verify(key: Any, signature: bytes, signed: bytes, der: bytes, algorithm: Element) -> None:
    oid = walk.algorithm(der, algorithm)
    if oid in _PKCS1 and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), _PKCS1[oid])
    elif oid == _PSS and isinstance(key, rsa.RSAPublicKey):
        digest, mask, salt = _pss(der, algorithm)
        key.verify(signature, signed, padding.PSS(padding.MGF1(mask), salt), digest)
    elif oid in _ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(_ECDSA[oid]))
    elif (oid == _ED25519 and isinstance(key, ed25519.Ed25519PublicKey)) or (
        oid == _ED448 and isinstance(key, ed448.Ed448PublicKey)
    ):
        key.verify(signature, signed)
    elif oid in {*_PKCS1, *_ECDSA, _PSS, _ED25519, _ED448}:
        raise InvalidSignature  # of a key of another kind
    else:
        what = f"{_WEAK[oid]} can be forged" if oid in _WEAK else f"the algorithm {oid} is unknown"
        raise SignatureError(f"its signature is not accepted: {what}")


def _pss(der: bytes, algorithm: Element) -> tuple[hashes.HashAlgorithm, hashes.HashAlgorithm, int]:
    """Return digest, digest of the mask, and length of the salt (RFC 4055, section 3.1)."""
    parameters = list(walk.elements(der, algorithm))[1:]
    fields = {part.tag: part for part in walk.elements(der, parameters[0])} if parameters else {}
    try:
        digest = walk.algorithm(der, walk.element(der, fields[0xA0].contents))
        mask = walk.element(der, fields[0xA1].contents)
        mask_digest = walk.algorithm(der, list(walk.elements(der, mask))[1])
        salt = walk.contents(der, walk.element(der, fields[0xA2].contents))
        return _DIGESTS[digest], _DIGESTS[mask_digest], int.from_bytes(salt[:4], "big")
    except (KeyError, IndexError):
        raise SignatureError("its signature is not accepted: RSA-PSS with less than SHA-256") from None
