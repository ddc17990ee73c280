r"""The log line that brings a client's certificate with its attempt.

    2026-11-22 17:03:03 [22426] Certificate of the attempt: 58CD...8AC6 0A1B...77FF MIIBhTCC...

The ACL writes it directly before the line of the attempt: SHA-256 of the certificate, SHA-256 of the issuer's name as
Exim prints it (``${certextract{issuer}{$tls_in_peercert}}``), and the certificate in base64, or ``-`` if it is too long
for a line. The digest of the certificate ties it to the attempt, so that no process id is needed: only the certificate
itself has it. The issuer's digest is a hint, as every text of a log is.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple

from eximcertd.certificates import der as walk
from eximcertd.certificates.names import rfc4514
from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.log.line import LONGEST_ENTRY, MESSAGE_ID, TIME
from eximcertd.log.sighting import ShownCertificate

LITERAL: Final = b"Certificate of the attempt: "
LARGEST: Final = 6 * 1024
"""Maximum number of bytes of the DER form; Exim's line holds 5,700 at most."""
_DIGEST: Final = re.compile(r"[0-9A-F]{64}")

_LINE = re.compile(TIME + MESSAGE_ID + re.escape(LITERAL) + rb"(?P<fingerprint>[0-9A-F]{64}) (?P<issuer>[0-9A-F]{64}) ")


class CertificateLine(NamedTuple):
    """What such a line says; ``decoded`` tells whether it is true. text: the certificate in base64, or "-"."""

    fingerprint: Fingerprint
    issuer_hash: str
    text: bytes

    def decoded(self) -> ShownCertificate | None:
        """Return the certificate, if the line has it and the fingerprint is its own."""
        return shown_certificate(self.fingerprint, self.text, self.issuer_hash)


def beginning(fingerprint: Fingerprint) -> bytes:
    """Return what the line of this certificate contains."""
    return LITERAL + fingerprint.encode() + b" "


def match_certificate(line: bytes) -> CertificateLine | None:
    """Return what a whole line, without its newline, says about a certificate; None for every other line."""
    found = _LINE.match(line) if len(line) <= LONGEST_ENTRY else None
    if found is None:
        return None
    return CertificateLine(Fingerprint(found["fingerprint"].decode()), found["issuer"].decode(), line[found.end() :])


def shown_certificate(fingerprint: Fingerprint, text: bytes | str, issuer_hash: str) -> ShownCertificate | None:
    """Return the certificate that a base64 text is; None if it is none, too long, or not that of the fingerprint.

    issuer_hash: 64 upper-case hex digits, else None is returned.
    """
    try:
        der = binascii.a2b_base64(text, strict_mode=True)
        if len(der) > LARGEST or of_der(der) != fingerprint or not _DIGEST.fullmatch(issuer_hash):
            return None
        where = walk.subject(der)
    except ValueError:  # binascii.Error, DerError, and text that is not ASCII
        return None
    try:
        subject = rfc4514(walk.name(der, where))
    except ValueError:
        subject = ""
    return ShownCertificate(der, issuer_hash, subject)
