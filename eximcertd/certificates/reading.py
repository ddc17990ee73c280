"""One name in the directory: whether it is a file to read, and which certificates it holds.

Reading never blocks and changes nothing, whatever a name leads to: only a regular file is opened, without blocking,
and its type is checked again once it is open.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

from eximcertd.certificates.blocks import certificates_in
from eximcertd.certificates.state import AGAIN, NOWHERE, Finding, identity, special

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_FILE: Final = 64 << 20
"""Bytes; a larger file is skipped. Debian's bundle of 140 certificates has 220,000."""

MOST_CERTIFICATES: Final = 1 << 16
"""Maximum number of certificates that are read from one file."""

_UNSETTLED_NS: Final = 100_000_000
"""A file that changed so shortly before it was read may change again without a new time stamp."""

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_ERRORS: Final = {
    errno.ELOOP: Finding.LOOP,
    errno.ENOENT: Finding.DANGLING,
    errno.ENOTDIR: Finding.DANGLING,
    errno.EACCES: Finding.FORBIDDEN,
    errno.EPERM: Finding.FORBIDDEN,
}


def state(path: bytes, status: os.stat_result) -> bytes:
    """Return the state (eximcertd.certificates.state) of a name. status: its stat, links followed."""
    if not stat.S_ISREG(status.st_mode):
        return identity(status) + bytes((special(status.st_mode),))
    if status.st_size > LARGEST_FILE:
        return identity(status) + bytes((Finding.HUGE,))
    try:
        fd = os.open(path, _FLAGS)
    except OSError as error:
        return failed(error, identity(status))
    try:
        return _open_state(fd)
    except OSError as error:
        return failed(error, identity(status))
    finally:
        os.close(fd)


def _open_state(fd: int) -> bytes:
    status = os.fstat(fd)
    head = identity(status)
    if not stat.S_ISREG(status.st_mode):
        return head + bytes((special(status.st_mode) | AGAIN,))
    if not status.st_size:
        return head + bytes((Finding.EMPTY,))
    size = min(status.st_size, LARGEST_FILE)
    found = dict.fromkeys(sha256(der).digest() for der in islice(certificates_in(fd, size), MOST_CERTIFICATES + 1))
    kind = Finding.HOLDS if found else Finding.NONE
    if len(found) > MOST_CERTIFICATES:
        found.popitem()
        kind = Finding.CUT
    unsettled = status.st_ctime_ns > time.time_ns() - _UNSETTLED_NS
    return head + bytes((kind | AGAIN if unsettled else kind,)) + b"".join(found)


def certificates(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield digest and DER form of each certificate in the file at ``path``. Raises OSError."""
    fd = os.open(path, _FLAGS)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_FILE:
            for der in islice(certificates_in(fd, status.st_size), MOST_CERTIFICATES):
                yield sha256(der).digest(), der
    finally:
        os.close(fd)


def failed(error: OSError, head: bytes = NOWHERE) -> bytes:
    """Return the state of a name that could not be read; it is tried again at every whole look."""
    return head + bytes((_ERRORS.get(error.errno or 0, Finding.FAILED) | AGAIN,))
