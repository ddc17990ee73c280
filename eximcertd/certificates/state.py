"""The state of one name in the directory, packed into one bytes object.

    device, inode, mtime, ctime, size    40 bytes, of the file that the name leads to
    finding                              1 byte: a Finding, and AGAIN where the next whole look reads it again
    digests                              32 bytes for each distinct certificate in it

100,000 of these are 11 MB; as objects with fields they would be five times as large. The cache keeps the same bytes.
ctime is included because no program can set it: a file that was replaced within one tick of the clock, with the same
size and mtime, has another one.

Pure.
"""

from __future__ import annotations

import stat
import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os

_IDENTITY: Final = struct.Struct("<QQqqq")
FILE: Final = 16
"""Bytes of device and inode: the file, in any version."""
IDENTITY: Final = _IDENTITY.size
HEAD: Final = IDENTITY + 1
DIGEST: Final = 32
AGAIN: Final = 0x80

NOWHERE: Final = bytes(IDENTITY)
"""The identity of a name that leads to no file."""


class Finding(IntEnum):
    """What a name leads to. CUT: a file with more certificates than are read."""

    HOLDS = 0
    CUT = 1
    NONE = 2
    EMPTY = 3
    DIRECTORY = 4
    FIFO = 5
    SOCKET = 6
    DEVICE = 7
    DANGLING = 8
    LOOP = 9
    FORBIDDEN = 10
    HUGE = 11
    FAILED = 12


REASONS: Final[dict[Finding, str]] = {
    Finding.CUT: "holds more certificates than are read from one file; the rest is skipped",
    Finding.NONE: "holds no certificate",
    Finding.EMPTY: "is empty",
    Finding.DIRECTORY: "is a directory",
    Finding.FIFO: "is a FIFO",
    Finding.SOCKET: "is a socket",
    Finding.DEVICE: "is a device",
    Finding.DANGLING: "is a link to a file that does not exist",
    Finding.LOOP: "is a link to itself",
    Finding.FORBIDDEN: "cannot be read by eximcertd's user",
    Finding.HUGE: "is too large to be a file of certificates",
    Finding.FAILED: "could not be read",
}
"""Why a name is skipped, as a clause that follows the name of the file."""

_SPECIAL: Final = {
    stat.S_IFDIR: Finding.DIRECTORY,
    stat.S_IFIFO: Finding.FIFO,
    stat.S_IFSOCK: Finding.SOCKET,
    stat.S_IFCHR: Finding.DEVICE,
    stat.S_IFBLK: Finding.DEVICE,
}


def identity(status: os.stat_result) -> bytes:
    """Return the first part of a state: the file and its version."""
    return _IDENTITY.pack(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def special(mode: int) -> Finding:
    """Return the finding for a file that is not a regular one."""
    return _SPECIAL.get(stat.S_IFMT(mode), Finding.FAILED)


def finding(state: bytes) -> Finding:
    """Return the finding of a state."""
    return Finding(state[IDENTITY] & ~AGAIN)


def digests(state: bytes) -> list[bytes]:
    """Return the digests of the certificates in it, each once."""
    return [state[at : at + DIGEST] for at in range(HEAD, len(state), DIGEST)]


def holds(state: bytes) -> bool:
    """Tell whether it holds a certificate."""
    return len(state) > HEAD
