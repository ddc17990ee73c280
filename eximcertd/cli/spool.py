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
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

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
    found = {}
    try:
        for directory, name in _entries(spool):
            if time.monotonic() >= deadline:
                break
            fingerprint = _fingerprint(_head(directory, name)) if name.endswith("-H") else ""
            if fingerprint in fingerprints:
                found[name.removesuffix("-H")] = fingerprint
        else:
            return found
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(spool / (error.filename or ""))) from None
    raise OSError(errno.ETIMEDOUT, f"not all of it was read within {limit:g} s", str(spool))


def _entries(spool: Path) -> Iterator[tuple[int, str]]:
    """Yield the entries of the queue and of named queues: the descriptor of the directory, and the name.

    Other entries are yielded without a name, so that the caller can stop in a directory of any size.
    """
    with _opened(spool) as top:
        yield from _queue(top)
        for entry in _listed(top):
            yield top, ""
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError), _opened(entry.name, top) as queue:
                    yield from _queue(queue)


def _queue(queue: int) -> Iterator[tuple[int, str]]:
    """Yield the entries of one queue, in subdirectories (split_spool_directory) or not."""
    with suppress(FileNotFoundError), _opened("input", queue) as directory:  # Exim makes it for the first message
        for entry in _listed(directory):
            yield directory, entry.name
            if entry.is_dir(follow_symlinks=False):
                with suppress(OSError), _opened(entry.name, directory) as below:
                    for one in _listed(below):
                        yield below, one.name


@contextmanager
def _opened(name: Path | str, parent: int | None = None) -> Iterator[int]:
    """Open a directory. One in another directory must be no link. Raises OSError that names it."""
    follow = os.O_NOFOLLOW if parent is not None else 0
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _listed(directory: int) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        yield from entries


def _head(directory: int, name: str) -> bytes:
    """Return the beginning of a regular file, nothing of another or of one that is gone."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
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
