r"""Messages in Exim's queue that came from a client with a certain certificate.

Exim keeps the client's certificate in each message's -H file, as ``-tls_peercert`` with its newlines
written ``\n`` (Exim specification, chapter "Format of spool files"). What was accepted before a
revocation is delivered after it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import of_der

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

MOST: Final = 100_000
"""Messages that are looked at."""

_HEAD: Final = 1 << 16
_CERTIFICATE = re.compile(
    rb"^--?tls_peercert (?:\(\d+\))?-----BEGIN CERTIFICATE-----([\w+/=\\]+?)-----END", re.MULTILINE
)


def messages(spool: Path, fingerprints: Collection[str]) -> dict[str, str]:
    """Return message id -> fingerprint for the queued messages of these clients.

    Raises PermissionError if this user may not look into the spool.
    """
    found = {}
    for path in islice(_headers(spool), MOST):
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD)
        except FileNotFoundError:
            continue  # delivered by now
        fingerprint = _fingerprint(head)
        if fingerprint in fingerprints:
            found[path.name.removesuffix("-H")] = fingerprint
    return found


def _headers(spool: Path) -> Iterator[Path]:
    """Yield the -H files of the queue and of named queues, split into subdirectories or not."""
    os.listdir(spool / "input")  # noqa: PTH208 - for its PermissionError: glob would find nothing, without a word
    for pattern in ("input/*-H", "input/?/*-H", "*/input/*-H", "*/input/?/*-H"):
        yield from spool.glob(pattern)


def _fingerprint(head: bytes) -> str:
    found = _CERTIFICATE.search(head)
    if found is None:
        return ""
    try:
        return of_der(base64.b64decode(found[1].replace(b"\\n", b""), validate=True))
    except binascii.Error:
        return ""
