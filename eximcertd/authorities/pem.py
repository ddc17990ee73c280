"""The one certificate in a file that somebody gives for an authority: PEM (RFC 7468) or DER. Pure."""

from __future__ import annotations

import binascii
import re
from typing import Final

from eximcertd.certificates.der import first_element, is_certificate
from eximcertd.errors import UsageError

LARGEST_FILE: Final = 64 << 10
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \1-----")
_CERTIFICATE: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})


def one_certificate(data: bytes) -> bytes:
    """Return the DER form of the certificate that ``data`` holds. Raises UsageError: none, or more than one."""
    blocks = _BLOCK.findall(data)
    found = [text for kind, text in blocks if kind in _CERTIFICATE]
    if len(found) > 1:
        raise UsageError(
            f"it holds {len(found)} certificates, and one authority is approved at a time",
            hint="give a file with the certificate alone that signs the clients' certificates directly",
        )
    if not found and blocks:
        raise UsageError(f"it holds no certificate, but a {blocks[0][0].decode().lower()}")
    try:
        der = first_element(binascii.a2b_base64(found[0]) if found else data)
    except binascii.Error:
        der = None
    if der is None or not is_certificate(der):
        raise UsageError("it holds no whole certificate, neither in PEM nor in DER")
    return der
