"""The rules of a decision: small values that compose. Each returns why it refuses, and which option overrides it.

    Approving(All((Unless("expired", NotExpired()), Unless("ca", NotAuthority()))))

Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from eximcertd.fingerprint import NEVER
from eximcertd.status import ALLOWS, Refusal, Status, after
from eximcertd.text import clean

if TYPE_CHECKING:
    from datetime import datetime

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.ledger.decisions import Decision

WITHOUT_CERTIFICATE: Final = "without-certificate"
EXPIRED: Final = "expired"
CA: Final = "ca"
OPTIONS: Final = frozenset({WITHOUT_CERTIFICATE, EXPIRED, CA})
"""The rules that a caller can override; eximcertctl has an option of each name."""


@dataclass(frozen=True, slots=True)
class Case:
    """One decision, and the facts about its fingerprint.

    certificate: if it is known, or None. has_issued: it is named as issuer by others of the directory.
    insist: of OPTIONS. now: aware. superseded: a later decision on this fingerprint is part of the same request.
    """

    decision: Decision
    status: Status
    now: datetime
    certificate: Certificate | None = None
    has_issued: bool = False
    insist: frozenset[str] = frozenset()
    superseded: bool = False


class Rule(Protocol):
    """A rule that a decision must obey."""

    def refusal(self, case: Case) -> Refusal | None:
        """Return why the decision is refused, or None."""


@dataclass(frozen=True, slots=True)
class All:
    """All of these rules; the result is that of the first one that refuses."""

    rules: tuple[Rule, ...]

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        return next((found for rule in self.rules if (found := rule.refusal(case)) is not None), None)


@dataclass(frozen=True, slots=True)
class Allowing:
    """The rule, for decisions after which Exim relays for the fingerprint; rejections and revocations pass."""

    rule: Rule

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        return self.rule.refusal(case) if case.decision.verb in ALLOWS else None


@dataclass(frozen=True, slots=True)
class NewlyApproved:
    """The rule, if the decision is the last one of its request and approves a fingerprint that is not approved yet."""

    rule: Rule

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        new = case.decision.verb in ALLOWS and case.status is not Status.APPROVED and not case.superseded
        return self.rule.refusal(case) if new else None


@dataclass(frozen=True, slots=True)
class Unless:
    """The rule, unless the caller overrides it."""

    option: str
    rule: Rule

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        found = None if self.option in case.insist else self.rule.refusal(case)
        return None if found is None else Refusal(f"{found.sentence}; --{self.option} overrides this", self.option)


@dataclass(frozen=True, slots=True)
class PermittedByStatus:
    """The verb is permitted by the table of status and verb."""

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        cell = after(case.status, case.decision.verb)
        return cell if isinstance(cell, Refusal) else None


@dataclass(frozen=True, slots=True)
class NotNever:
    """The fingerprint is not one of those that belong to no certificate."""

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        why = NEVER.get(case.decision.fingerprint)
        return Refusal(f"can never be approved: {why}") if why is not None else None


@dataclass(frozen=True, slots=True)
class HasCertificate:
    """The certificate is known."""

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        if case.certificate is not None:
            return None
        return Refusal("has no known certificate: no file of the directory holds it, and no attempt has brought it")


@dataclass(frozen=True, slots=True)
class NotExpired:
    """The certificate has not expired."""

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        of = case.certificate
        if of is None or not of.expired(case.now):
            return None
        return Refusal(f"({clean(of.subject)}) expired on {of.not_after:%Y-%m-%d}: it would not be on the list")


@dataclass(frozen=True, slots=True)
class NotAuthority:
    """The certificate is no CA's: it belongs to no public CA and has issued no other one of the directory.

    A self-signed certificate that says CA:TRUE, as `openssl req -x509` makes it, is a client's like any other: the
    list holds its fingerprint, and nothing that its key signs.
    """

    def refusal(self, case: Case) -> Refusal | None:
        """See Rule."""
        of = case.certificate
        if of is None or not (of.public or case.has_issued):
            return None
        what = (
            "belongs to a public CA" if of.public else "is a CA's certificate, which has issued others of the directory"
        )
        return Refusal(f"({clean(of.subject)}) {what}: who holds the CA's key relays with it")


_CERTIFICATE: Final = NewlyApproved(
    All((
        Unless(WITHOUT_CERTIFICATE, HasCertificate()),
        Unless(EXPIRED, NotExpired()),
        Unless(CA, NotAuthority()),
    ))
)  # fmt: skip

FOR_PERSONS: Final[Rule] = All((Allowing(NotNever()), PermittedByStatus(), _CERTIFICATE))
"""The rules for a decision of a person."""

FOR_IMPORTS: Final[Rule] = All((Allowing(All((NotNever(), PermittedByStatus()))), _CERTIFICATE))
"""The rules for an import. A rejection or revocation counts whatever the status is."""

FOR_OFFLINE: Final[Rule] = Allowing(All((NotNever(), PermittedByStatus())))
"""The rules for a decision of root while eximcertd was down."""

FOR_THE_REST: Final[Rule] = All((Allowing(NotNever()), PermittedByStatus()))
"""The rules for revocations of a policy, and for a manual edit of the macro file."""
