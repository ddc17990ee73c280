"""The status of a fingerprint, and the one table: status and verb to the new status, or why not.

Pure. Rules that need more than the status (a certificate, a time) are in decisions/rules.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """The status of a fingerprint (JSON key "standing"). UNSEEN: the ledger has no entry for it."""

    UNSEEN = "unseen"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"


class Verb(StrEnum):
    """What changes a status. SEE: an attempt in the log. ADOPT: found in the macro file, after a manual edit.

    AUTHORIZE, WITHDRAW: of an authority, which has no status in the table.
    """

    SEE = "see"
    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    ADOPT = "adopt"
    AUTHORIZE = "authorize"
    WITHDRAW = "withdraw"


ALLOWS: Final = frozenset({Verb.APPROVE, Verb.ADOPT})
"""The verbs after which Exim relays for the fingerprint."""

OF_AUTHORITIES: Final = frozenset({Verb.AUTHORIZE, Verb.WITHDRAW})
"""The verbs of decisions on authorities."""


@dataclass(frozen=True, slots=True)
class Becomes:
    """The verb is allowed, and this is the status after it (the same one where nothing changes)."""

    status: Status


@dataclass(frozen=True, slots=True)
class Refusal:
    """The verb is refused. sentence: why and what to do, to be read after "FINGERPRINT ...".

    option: the option of eximcertctl that insists, without its dashes, or "" where nothing does.
    """

    sentence: str
    option: str = ""


_COLUMNS: Final = (Verb.SEE, Verb.APPROVE, Verb.REJECT, Verb.REVOKE, Verb.ADOPT)
_NOT_ADOPTED = "was {} and has not been approved since: an entry in the macro file does not readmit it"
_ROWS: Final[dict[Status, tuple[Status | str, ...]]] = {
    Status.UNSEEN: (
        Status.PENDING,
        Status.APPROVED,
        Status.REJECTED,
        "was never approved: there is nothing to revoke; use reject to keep it out",
        Status.APPROVED,
    ),
    Status.PENDING: (
        Status.PENDING,
        Status.APPROVED,
        Status.REJECTED,
        "is pending, not approved: there is nothing to revoke; use reject instead",
        Status.APPROVED,
    ),
    Status.APPROVED: (
        Status.APPROVED,
        Status.APPROVED,
        "is approved: use revoke instead",
        Status.REVOKED,
        Status.APPROVED,
    ),
    Status.REJECTED: (
        Status.REJECTED,
        Status.APPROVED,
        Status.REJECTED,
        "is rejected, not approved: there is nothing to revoke",
        _NOT_ADOPTED.format("rejected"),
    ),
    Status.REVOKED: (
        Status.REVOKED,
        Status.APPROVED,
        Status.REJECTED,
        Status.REVOKED,
        _NOT_ADOPTED.format("revoked"),
    ),
}

TABLE: Final[dict[tuple[Status, Verb], Becomes | Refusal]] = {
    (status, verb): Becomes(cell) if isinstance(cell, Status) else Refusal(cell)
    for status, row in _ROWS.items()
    for verb, cell in zip(_COLUMNS, row, strict=True)
}


def after(status: Status, verb: Verb) -> Becomes | Refusal:
    """Return what ``verb`` makes of ``status``, or the refusal."""
    return TABLE[status, verb]


def by_phrase(by: str) -> str:
    """Return "by alice", "by hand", "by policy" for a decision's ``by``."""
    return by if by.startswith("by ") else f"by {by}"
