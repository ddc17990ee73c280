"""The certificates in one file: all its PEM blocks (RFC 7468), or one certificate in DER.

A file is read into a buffer that is wiped afterwards, so that private keys beside certificates stay nowhere in memory.
"""

from __future__ import annotations

import binascii
import os
import re
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.der import first_element, is_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_CERTIFICATE: Final = 96 << 10
"""Bytes in DER; a larger one is skipped. TLS libraries refuse far smaller ones in a handshake."""

# No part matches a dash across blocks, so that the search is linear for any contents.
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([^-]{1,%d})-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
    % (160 << 10)
)


def certificates_in(fd: int, size: int) -> Iterator[bytes]:
    """Yield the DER form of each certificate in an open regular file of ``size`` bytes. Raises OSError."""
    buffer = bytearray(size)
    end = 0
    with memoryview(buffer) as view:
        try:
            while end < size and (count := os.readv(fd, [view[end:]])):
                end += count
            if buffer[:1] == b"\x30":
                der = first_element(bytes(view[: min(end, LARGEST_CERTIFICATE)]))
                if der is not None and is_certificate(der):
                    yield der
            for found in _BLOCK.finditer(buffer, 0, end):
                decoded = _decoded(found[1])
                if decoded is not None:
                    yield decoded
        finally:
            view[:end] = bytes(end)


def _decoded(text: bytes) -> bytes | None:
    try:
        der = first_element(binascii.a2b_base64(text))
    except binascii.Error:
        return None
    return der if der is not None and len(der) <= LARGEST_CERTIFICATE else None
