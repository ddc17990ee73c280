"""The one table: standing x verb -> new standing, or why not.

Pure. What else may forbid an approval (no certificate, expired, a CA) is no matter of standing and is
decided where the certificate is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """How a fingerprint stands. UNSEEN: the ledger knows nothing of it."""

    UNSEEN = "unseen"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"


class Verb(StrEnum):
    """What can be decided or happen. SEE: a sighting in the log. ADOPT: found in the macro file, by hand."""

    SEE = "see"
    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Becomes:
    """The verb is allowed, and this is the standing after it (the same one where nothing changes)."""

    status: Status


@dataclass(frozen=True, slots=True)
class Refusal:
    """The verb is refused; the sentence says why and what to do, and reads after "FINGERPRINT ..."."""

    sentence: str


_S = Status
_UNDONE = "was {} by a person and nobody has approved it since: it is not let in by an entry in a file"

TABLE: Final[dict[tuple[Status, Verb], Becomes | Refusal]] = {
    (_S.UNSEEN, Verb.SEE): Becomes(_S.PENDING),
    (_S.PENDING, Verb.SEE): Becomes(_S.PENDING),
    (_S.APPROVED, Verb.SEE): Becomes(_S.APPROVED),
    (_S.REJECTED, Verb.SEE): Becomes(_S.REJECTED),
    (_S.REVOKED, Verb.SEE): Becomes(_S.REVOKED),
    (_S.UNSEEN, Verb.APPROVE): Becomes(_S.APPROVED),
    (_S.PENDING, Verb.APPROVE): Becomes(_S.APPROVED),
    (_S.APPROVED, Verb.APPROVE): Becomes(_S.APPROVED),
    (_S.REJECTED, Verb.APPROVE): Becomes(_S.APPROVED),
    (_S.REVOKED, Verb.APPROVE): Becomes(_S.APPROVED),
    (_S.UNSEEN, Verb.REJECT): Becomes(_S.REJECTED),
    (_S.PENDING, Verb.REJECT): Becomes(_S.REJECTED),
    (_S.APPROVED, Verb.REJECT): Refusal("is approved: use revoke to throw it out"),
    (_S.REJECTED, Verb.REJECT): Becomes(_S.REJECTED),
    (_S.REVOKED, Verb.REJECT): Becomes(_S.REJECTED),
    (_S.UNSEEN, Verb.REVOKE): Refusal("was never approved: there is nothing to revoke; use reject to keep it out"),
    (_S.PENDING, Verb.REVOKE): Refusal("is pending, not approved: there is nothing to revoke; use reject instead"),
    (_S.APPROVED, Verb.REVOKE): Becomes(_S.REVOKED),
    (_S.REJECTED, Verb.REVOKE): Refusal("is rejected, not approved: there is nothing to revoke"),
    (_S.REVOKED, Verb.REVOKE): Becomes(_S.REVOKED),
    (_S.UNSEEN, Verb.ADOPT): Becomes(_S.APPROVED),
    (_S.PENDING, Verb.ADOPT): Becomes(_S.APPROVED),
    (_S.APPROVED, Verb.ADOPT): Becomes(_S.APPROVED),
    (_S.REJECTED, Verb.ADOPT): Refusal(_UNDONE.format("rejected")),
    (_S.REVOKED, Verb.ADOPT): Refusal(_UNDONE.format("revoked")),
}


def after(standing: Status, verb: Verb) -> Becomes | Refusal:
    """Return what ``verb`` makes of ``standing``, or the refusal."""
    return TABLE[standing, verb]
