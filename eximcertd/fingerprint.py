"""SHA-256 fingerprints of certificates: 64 upper-case hex digits, however they were typed.

Exim computes them as ``${sha256:$tls_in_peercert}`` over the certificate's DER form (Exim
specification, chapter "String expansions"), in upper case, and ``inlist`` compares case-sensitively:
a lower-case fingerprint never matches. So there is one spelling in this project.

Standard library only: eximcertd-publish, which runs as root, imports this module.
"""

from __future__ import annotations

import re
from typing import Final, NewType

Fingerprint = NewType("Fingerprint", str)
"""64 upper-case hex digits."""

LENGTH: Final = 64
SHORTEST_PREFIX: Final = 8

NEVER: Final[dict[Fingerprint, str]] = {
    Fingerprint("5AC531111CF1F39655189204360A8A214E0BD1F8F2A7B8A1BB6D29B627CB4E6C"): (
        "it is what Exim computes for a client without any certificate"
    ),
    Fingerprint("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"): (
        "it is the hash of nothing at all"
    ),
}
"""Fingerprints that may never be approved, with the reason as a clause."""

_EXACT = re.compile(r"[0-9A-F]{64}\Z")
_SEPARATORS = str.maketrans("", "", ": \t")


class FingerprintError(ValueError):
    """The text is not a fingerprint or a prefix of one; the message says why, in a sentence."""


def is_exact(text: str) -> bool:
    """Tell whether ``text`` is a fingerprint in the one spelling that Exim matches."""
    return _EXACT.match(text) is not None


def parse_prefix(text: str) -> str:
    """Return the upper-case hex digits of a fingerprint or of a prefix of 8 or more digits.

    Any case, colons and blanks are taken. Raises FingerprintError.
    """
    digits = text.strip().translate(_SEPARATORS).upper()
    if not re.fullmatch(r"[0-9A-F]*", digits):
        raise FingerprintError(f"{text.strip()[:80]!r} is no fingerprint: it holds more than hex digits")
    if not SHORTEST_PREFIX <= len(digits) <= LENGTH:
        what = "too short: give at least 8" if len(digits) < LENGTH else "too long: a fingerprint has 64"
        raise FingerprintError(f"{text.strip()[:80]!r} is {what} hex digits")
    return digits


def parse(text: str) -> Fingerprint:
    """Return the whole fingerprint that ``text`` spells, in any case, with colons or blanks or without.

    Raises FingerprintError.
    """
    digits = parse_prefix(text)
    if len(digits) != LENGTH:
        raise FingerprintError(f"{text.strip()[:80]!r} has {len(digits)} hex digits: a fingerprint has {LENGTH}")
    return Fingerprint(digits)


def of_der(der: bytes) -> Fingerprint:
    """Return the fingerprint of a certificate in DER form, as Exim and ``openssl x509`` compute it."""
    import hashlib  # noqa: PLC0415 - it loads OpenSSL, and most programs make no fingerprint

    return Fingerprint(hashlib.sha256(der).hexdigest().upper())


def grouped(fingerprint: str) -> str:
    """Return the digits in groups of eight, as they are shown; ``parse`` takes this form back."""
    return " ".join(fingerprint[i : i + 8] for i in range(0, len(fingerprint), 8))
