"""The requests and answers of eximcertd-publish: see eximcertd-publish(8), "PROTOCOL".

A request consists of ASCII lines, each with its newline:

    eximcertd-publish 2
    ACTION                       read, write list, write directory, or restore
    expected DIGEST              optional: SHA-256 of the macro file, lower-case hex; "-": there is no file
    count N                      0 unless the action is "write list"
    FINGERPRINT                  N lines, ascending, distinct
    end

eximcertd-reload uses the same frame with other actions. The head is read first, then exactly what it announces, so
that a program allocates no more than its limits allow.
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import Final, NamedTuple

from eximcertd.fingerprint import LENGTH, NEVER, Fingerprint

FIRST_LINE: Final = "eximcertd-publish 2"
ACTIONS: Final = "read|write list|write directory|restore"
ABSENT: Final = "-"
"""The digest of a file that does not exist."""

DONE: Final = "done"
CHANGED: Final = "changed"
REFUSED: Final = "refused"
FAILED: Final = "failed"

SLOWEST: Final = 5.0
"""Seconds in which a request has to be complete."""

_HEAD: Final = re.compile(rb"([^\n]*)\n([^\n]*)\n(?:expected (-|[0-9a-f]{64})\n)?count (0|[1-9][0-9]{0,6})\n")
_LINE: Final = LENGTH + 1
_END: Final = b"end\n"


class RequestError(ValueError):
    """The request does not follow the protocol, or exceeds a limit. Nothing is done."""


class NoRequestError(RequestError):
    """The connection was closed before a request."""


class Request(NamedTuple):
    """What is asked. action: one of the program's. expected: the digest that the file must have, None: any."""

    action: str
    expected: str | None = None
    fingerprints: tuple[Fingerprint, ...] = ()


class Found(NamedTuple):
    """The present macro file.

    form: "list", "directory" or "absent" (no file, or no definition in it). fingerprints: of the list form, in the
    file's order. digest: SHA-256 of the file, lower-case hex, or ABSENT. inode, ctime_ns: stat(2)'s, 0 without a file.
    comments: the lines that are kept. corrected: fingerprints whose spelling Exim does not match. dropped: hashes that
    may never be approved; they are not among the fingerprints.
    """

    form: str
    fingerprints: tuple[Fingerprint, ...] = ()
    digest: str = ABSENT
    inode: int = 0
    ctime_ns: int = 0
    comments: tuple[str, ...] = ()
    corrected: tuple[Fingerprint, ...] = ()
    dropped: tuple[Fingerprint, ...] = ()


class Answer(NamedTuple):
    """The result of a request, as JSON on one line.

    outcome: "done"; "changed": the file does not have the expected digest, nothing was done; "refused": a limit, the
    protocol or an unsafe file, nothing was done; "failed": a step failed, see found for the present file.
    step: the step that failed, or "". message: what is wrong, where, and what to do. found: the file as it is now,
    None if it cannot be read. file: its path. changed: whether this request replaced it. retry_after: seconds after
    which the same request is within the limits. timings: seconds per step.
    """

    outcome: str
    step: str = ""
    message: str = ""
    found: Found | None = None
    file: str = ""
    changed: bool = False
    retry_after: float | None = None
    timings: dict[str, float] = {}  # noqa: RUF012 - never changed in place


def receive(descriptor: int, first_line: str, actions: str, most: int) -> Request:
    """Read a request from a descriptor. Raises RequestError and OSError.

    actions: a regular expression of the allowed ones. most: fingerprints that are allowed.
    """
    deadline = time.monotonic() + SLOWEST
    raw, head, action, count = bytearray(), None, "", 0
    size = 256  # the head is shorter than this
    while len(raw) < size:
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise RequestError(f"it was not complete within {SLOWEST:g} s")
        portion = os.read(descriptor, min(size - len(raw), 1 << 20))
        if not portion:
            break
        raw += portion
        if head is None and (head := _HEAD.match(bytes(raw))) is not None:
            action, count = _announced(head, first_line, actions, most)
            size = head.end() + count * _LINE + len(_END)
    if head is None:
        error = RequestError if raw else NoRequestError
        raise error(f"the request does not begin with {first_line!r}, an action and a count")
    if len(raw) != size or not raw.endswith(_END):
        raise RequestError(f"{count} fingerprints of {LENGTH} upper-case hex digits and 'end' do not follow the count")
    fingerprints = _fingerprints(bytes(raw[head.end() : -len(_END)]))
    return Request(action, head[3].decode() if head[3] else None, fingerprints)


def _announced(head: re.Match[bytes], first_line: str, actions: str, most: int) -> tuple[str, int]:
    """Return the action and the number of fingerprints that a head announces. Raises RequestError."""
    action, count = head[2].decode("ascii", "replace"), int(head[4])
    if head[1] != first_line.encode():
        raise RequestError(f"the request does not begin with {first_line!r}, an action and a count")
    if not re.fullmatch(actions, action) or (count and not action.endswith(" list")):
        raise RequestError("line 2 is no action that this program knows, or the count does not fit it")
    if count > most:
        raise RequestError(f"{count} fingerprints are more than [publish] max_fingerprints = {most} allows")
    return action, count


def _fingerprints(raw: bytes) -> tuple[Fingerprint, ...]:
    if re.fullmatch(rb"(?:[0-9A-F]{%d}\n)*" % LENGTH, raw) is None:
        raise RequestError(f"not every line after the count is a fingerprint of {LENGTH} upper-case hex digits")
    listed = raw.decode().split("\n")[:-1]
    if listed != sorted(set(listed)):
        raise RequestError("the fingerprints are not ascending and distinct")
    for never, why in NEVER.items():
        if never in listed:
            raise RequestError(f"{never} can never be approved: {why}")
    return tuple(map(Fingerprint, listed))
