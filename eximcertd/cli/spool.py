r"""Messages in Exim's queue that came from a client with a certain certificate.

Exim keeps the client's certificate in each message's -H file, as ``-tls_peercert`` with its newlines
written ``\n`` (Exim specification, chapter "Format of spool files"). What was accepted before a
revocation is delivered after it. The spool is writable by Exim's user: no link is followed and nothing but
a regular file is opened.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

TIME_LIMIT: Final = 10.0
"""Seconds for a look at the whole queue."""

_HEAD: Final = 1 << 16
_CERTIFICATE = re.compile(
    rb"^--?tls_peercert (?:\(\d+\))?-----BEGIN CERTIFICATE-----([\w+/=\\]+?)-----END", re.MULTILINE
)


def messages(spool: Path, fingerprints: Collection[str], limit: float = TIME_LIMIT) -> dict[str, str]:
    """Return message id -> fingerprint for the queued messages of these clients.

    Raises OSError if this user may not look into the spool, or that takes longer than ``limit`` seconds.
    """
    deadline = time.monotonic() + limit
    with os.scandir(spool / "input"):
        pass  # for its error: the entries below may come and go
    found = {}
    for path in _headers(spool):
        if time.monotonic() >= deadline:
            raise OSError(errno.ETIMEDOUT, f"not all of it was read within {limit:g} s", str(spool))
        fingerprint = _fingerprint(_head(path)) if path.name.endswith("-H") else ""
        if fingerprint in fingerprints:
            found[path.name.removesuffix("-H")] = fingerprint
    return found


def _headers(spool: Path) -> Iterator[Path]:
    """Yield the files of the queue and of named queues, in subdirectories (split_spool_directory) or not."""
    for queue in (spool, *_directories(spool)):
        for directory in (queue / "input", *_directories(queue / "input")):
            yield from (Path(entry.path) for entry in _entries(directory))


def _directories(directory: Path) -> Iterator[Path]:
    return (Path(entry.path) for entry in _entries(directory) if entry.is_dir(follow_symlinks=False))


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from entries
    except OSError:
        return  # gone by now, or no directory


def _head(path: Path) -> bytes:
    """Return the beginning of a regular file, nothing of another or of one that is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
            return b""  # delivered by now; a link; a socket
        raise
    try:
        return os.read(descriptor, _HEAD) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _fingerprint(head: bytes) -> str:
    found = _CERTIFICATE.search(head)
    if found is None:
        return ""
    try:
        return of_der(base64.b64decode(found[1].replace(b"\\n", b""), validate=True))
    except binascii.Error:
        return ""
