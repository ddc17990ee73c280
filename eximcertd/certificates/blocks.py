"""The certificates in one file: all its PEM blocks (RFC 7468), or one certificate in DER.

A file is read in pieces of a fixed size through one buffer, which is reused and wiped: bundles of any number of
certificates need the same memory, and private keys beside them leave nothing in it.
"""

from __future__ import annotations

import binascii
import os
import re
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.der import declared_length, first_element, is_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_CERTIFICATE: Final = 96 << 10
"""Bytes in DER; a larger one is skipped. TLS libraries refuse far smaller ones in a handshake."""

_LONGEST_BLOCK: Final = 160 << 10
_BUFFER: Final = 256 << 10
_BEGIN: Final = b"-----BEGIN "

# No part matches a dash across blocks, so that the search is linear for any contents.
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----([^-]{1,%d})-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
    % _LONGEST_BLOCK
)


class Blocks:
    """Reads certificates out of files, one file at a time; for one thread."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._zeros = memoryview(bytes(_BUFFER))

    def read(self, fd: int, size: int) -> Iterator[bytes]:
        """Yield the DER form of each certificate in an open regular file of ``size`` bytes. Raises OSError."""
        high = 0
        try:
            fill = self._fill(fd, 0, size)
            high = fill
            length = declared_length(bytes(self._view[:6]))
            if fill and length is not None:
                yield from self._der(min(length, fill), length)
            left = size - fill
            while fill:
                done = 0
                for found in _BLOCK.finditer(self._buffer, 0, fill):
                    done = found.end()
                    der = _decoded(found[1])
                    if der is not None:
                        yield der
                if left <= 0:
                    return
                kept = self._keep(done, fill)
                fill = self._fill(fd, kept, left)
                left -= fill - kept
                high = max(high, fill)
                if fill == kept:
                    return
        finally:
            self._view[:high] = self._zeros[:high]

    def _fill(self, fd: int, start: int, most: int) -> int:
        """Read at most ``most`` bytes into the buffer at ``start``; return the end of what was read."""
        end = min(_BUFFER, start + most)
        while start < end:
            count = os.readv(fd, [self._view[start:end]])
            if not count:
                break
            start += count
        return start

    def _keep(self, done: int, fill: int) -> int:
        """Move what may be the beginning of a block to the front of the buffer; return its length."""
        begin = self._buffer.rfind(_BEGIN, done, fill)
        if begin < 0 or fill - begin > _LONGEST_BLOCK:
            begin = max(done, fill - len(_BEGIN))
        kept = fill - begin
        self._view[:kept] = self._view[begin:fill]
        return kept

    def _der(self, end: int, length: int) -> Iterator[bytes]:
        if end < length or length > LARGEST_CERTIFICATE:
            return
        der = bytes(self._view[:length])
        if is_certificate(der):
            yield der


def _decoded(text: bytes) -> bytes | None:
    try:
        der = first_element(binascii.a2b_base64(text))
    except binascii.Error:
        return None
    return der if der is not None and len(der) <= LARGEST_CERTIFICATE else None
