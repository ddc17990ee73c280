"""One attempt at a publication: validate, write, load; restore the previous file if Exim does not accept the new one.

It keeps no state and makes no decision; it returns the result.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.publish import macrofile
from eximcertd.publish.request import DONE, Answer, Found, Request
from eximcertd.reload.request import (
    DIED,
    INVALID,
    LOADED,
    LONGEST_DEFINITION,
    NOT_RUNNING,
    SKIPPED,
    VALID,
    DaemonState,
    ReloadAnswer,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from eximcertd.fingerprint import Fingerprint

    class Asks(Protocol):
        """The two programs; see ask.Programs."""

        async def publish(self, request: Request) -> Answer:
            """Ask root's part."""

        async def reload(self, request: Request) -> ReloadAnswer:
            """Ask the part that runs as Exim's user."""


LIVE: Final = "live"
"""The outcome of a publication that Exim was seen to honour."""


class Wanted(NamedTuple):
    """The allowlist to publish. fingerprints: ascending, empty in the directory form. allowed: the directory."""

    form: str
    fingerprints: tuple[Fingerprint, ...]
    allowed: Path

    def value(self) -> str:
        """Return the macro's value."""
        listed = self.form == "list"
        return macrofile.list_value(self.fingerprints) if listed else macrofile.lookup_value(self.allowed)

    def value_digest(self) -> str:
        """Return what eximcertd-reload recognises the macro's value by."""
        return value_digest(self.value())

    def file_digest(self, macro: str, comments: tuple[str, ...]) -> str:
        """Return the SHA-256 of the macro file that root's part writes for it, lower-case hex."""
        return hashlib.sha256(macrofile.render(macro, self.value(), comments)).hexdigest()

    def matches(self, found: Found) -> bool:
        """Tell whether the file says this already, in a spelling that Exim matches."""
        exact = not found.corrected and not found.dropped
        return exact and found.form == self.form and tuple(sorted(found.fingerprints)) == self.fingerprints


def value_digest(value: str) -> str:
    """Return the SHA-256, lower-case hex, by which eximcertd-reload recognises a value of the macro."""
    return hashlib.sha256(value.encode()).hexdigest()


class Attempt(NamedTuple):
    """What came of an attempt.

    outcome: "live", "not-running", or as publish.request.Answer and reload.request.ReloadAnswer have it. found: the
    file as it is now, None if that is not known. The rest: as in the two answers.
    """

    outcome: str
    step: str = ""
    message: str = ""
    exim: str = ""
    found: Found | None = None
    file: str = ""
    daemons: tuple[DaemonState, ...] = ()
    rewritten_by: str | None = None
    retry_after: float | None = None

    @property
    def live(self) -> bool:
        """Tell whether Exim honours the list, or will as soon as it starts."""
        return self.outcome in {LIVE, NOT_RUNNING}


async def publish(programs: Asks, wanted: Wanted, found: Found, confirmed: tuple[str, int, int]) -> Attempt:
    """Make Exim honour a list.

    found: the file as it was last seen; if it is another one by now, the outcome is "changed". confirmed: digest,
    inode and change time of the file that Exim was last seen to have loaded: that one is not loaded again.
    A list that is too long for Exim's command line is validated after it is written only.
    """
    if not wanted.matches(found) and len(wanted.value()) <= LONGEST_DEFINITION:
        validated = await programs.reload(Request(f"validate {wanted.form}", None, wanted.fingerprints))
        if validated.outcome not in {VALID, SKIPPED}:
            return of_reload(validated, found)
    written = await programs.publish(Request(f"write {wanted.form}", found.digest, wanted.fingerprints))
    if written.outcome != DONE or written.found is None:
        return of_publish(written)
    verb = "check" if identity(written.found) == confirmed else "load"
    answer = await programs.reload(Request(f"{verb} {wanted.value_digest()}"))
    attempt = of_reload(answer, written.found)._replace(file=written.file)
    if written.changed and answer.outcome in {INVALID, DIED}:
        restored = await programs.publish(Request("restore", written.found.digest))
        what = "The previous list was restored." if restored.outcome == DONE else f"NOT restored: {restored.message}"
        attempt = attempt._replace(found=restored.found, message=f"{attempt.message.rstrip('.')}. {what}")
    return attempt


def identity(found: Found) -> tuple[str, int, int]:
    """Return what tells a file, as renamed into place, from every other: digest, inode, change time in ns."""
    return (found.digest, found.inode, found.ctime_ns)


def replaced(file: Path | None, found: Found | None) -> bool:
    """Tell whether the macro file is another one than was last seen; False where eximcertd may not see it."""
    if file is None or found is None:
        return False
    try:
        status = file.stat()
    except FileNotFoundError:
        return found.inode != 0
    except OSError:
        return False
    return (status.st_ino, status.st_ctime_ns) != (found.inode, found.ctime_ns)


def of_publish(answer: Answer) -> Attempt:
    """Return an answer of root's part as an attempt that ends with it."""
    return Attempt(
        answer.outcome,
        answer.step,
        answer.message,
        found=answer.found,
        file=answer.file,
        retry_after=answer.retry_after,
    )


def of_reload(answer: ReloadAnswer, found: Found | None) -> Attempt:
    """Return an answer of the reload part as an attempt that ends with it."""
    outcome = LIVE if answer.outcome in {LOADED, VALID} else answer.outcome
    return Attempt(
        outcome,
        answer.step,
        answer.message,
        answer.exim,
        found,
        daemons=answer.daemons,
        rewritten_by=answer.rewritten_by,
    )
