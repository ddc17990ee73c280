"""The one family of errors that people see, each with the exit status it ends a program with."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Exit(IntEnum):
    """Exit statuses of eximcertctl; the daemon uses the first three and 78 (EX_CONFIG)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_SUCH_FINGERPRINT = 3
    NO_ANSWER = 4
    NOT_PERMITTED = 5
    NOT_YET_LIVE = 6
    REFUSED = 7
    CONFIGURATION = 78


class EximcertdError(Exception):
    """An error for a person: what is wrong and where, and what to do.

    message: what is wrong, one or more sentences that name the file, key or program.
    hint: what to do, or "".
    """

    exit_status = Exit.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def line(self) -> str:
        """Return message and hint in one line, for the journal and the unit's status."""
        return " ".join(line.strip() for line in str(self).splitlines())


class UsageError(EximcertdError):
    """A program was called with wrong arguments."""

    exit_status = Exit.USAGE


class ConfigurationError(EximcertdError):
    """The configuration file cannot be used; the message lists every mistake in it."""

    exit_status = Exit.CONFIGURATION


class NoSuchFingerprintError(EximcertdError):
    """No entry, or more than one, has the given fingerprint; the message lists candidates."""

    exit_status = Exit.NO_SUCH_FINGERPRINT

    def __init__(self, message: str, *, hint: str = "", candidates: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.candidates = tuple(candidates)


class NoAnswerError(EximcertdError):
    """The other program does not answer."""

    exit_status = Exit.NO_ANSWER


class NotPermittedError(EximcertdError):
    """The caller may not do this."""

    exit_status = Exit.NOT_PERMITTED


class RefusedError(EximcertdError):
    """A rule forbids it: no certificate, expired, a CA, a never-approvable hash, a status that does not allow it."""

    exit_status = Exit.REFUSED


class LedgerError(EximcertdError):
    """The ledger cannot be read or written: newer than this program, damaged, locked, or its disk is full."""
