"""Deciding: what a person asked for, against the rules, into the ledger.

Standings have their table (standing.py); here are the rules that need the certificate: an approval wants
one, and neither an expired one nor a CA's, unless the person insists.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.errors import RefusedError, UsageError
from eximcertd.events import Event
from eximcertd.fingerprint import NEVER, Fingerprint, grouped
from eximcertd.ledger.decisions import Decided, Decision
from eximcertd.status import Status, Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger

WITHOUT_CERTIFICATE: Final = "without-certificate"
EXPIRED: Final = "expired"
CA: Final = "ca"
RULES: Final = frozenset({WITHOUT_CERTIFICATE, EXPIRED, CA})

LONGEST_NOTE: Final = 1000
_PERSONS: Final = frozenset({Verb.APPROVE, Verb.REJECT, Verb.REVOKE})
_EVENTS: Final = {
    Verb.APPROVE: Event.APPROVED,
    Verb.REJECT: Event.REJECTED,
    Verb.REVOKE: Event.REVOKED,
}
_MOST_RECORDED: Final = 1000  # single records of one decision; a larger one is told in a line


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision that a person asks for. insist: of RULES. request: the caller's id for it."""

    verb: Verb
    fingerprints: tuple[Fingerprint, ...]
    by: str
    note: str
    insist: frozenset[str]
    request: str

    def pairs(self) -> frozenset[tuple[Verb, Fingerprint]]:
        """Return what is asked for whom."""
        return frozenset((self.verb, fingerprint) for fingerprint in self.fingerprints)


class Deciding:
    """The room in which decisions are made; lives in the loop's thread. known: told of what was decided."""

    def __init__(self, ledger: Ledger, index: Index, recorder: Recorder) -> None:
        self._ledger = ledger
        self._index = index
        self._recorder = recorder
        self.watchers: list[Callable[[Sequence[Fingerprint]], None]] = []

    def decide(self, asked: Asked, details: dict[Fingerprint, Certificate]) -> list[Decided]:
        """Make one decision over all the fingerprints, or none. details: their certificates, as far as there.

        Raises RefusedError with every refusal, UsageError, LedgerError.
        """
        if asked.verb not in _PERSONS:
            raise UsageError(f"{asked.verb} is nothing that a person decides")
        if len(asked.note) > LONGEST_NOTE:
            raise UsageError(f"the note is longer than {LONGEST_NOTE} characters")
        if not asked.request:
            raise UsageError("the request has no id: give it one of its own, so that asking twice is asking once")
        before = self._ledger.decisions.of_request(asked.request)
        if before:
            if any((one.verb, one.fingerprint) not in asked.pairs() for one in before):
                raise UsageError(f"the request id {asked.request[:80]!r} was used for another decision")
            return [self._stands(fingerprint) for fingerprint in dict.fromkeys(asked.fingerprints)]
        if asked.verb is Verb.APPROVE:
            self._check(asked, details)
        decided = self._ledger.decisions.decide(
            [
                Decision(fingerprint, asked.verb, asked.by, _now(), asked.note, asked.request)
                for fingerprint in dict.fromkeys(asked.fingerprints)
            ]
        )
        changed = [one.fingerprint for one in decided if one.changed]
        self._record(asked, changed, details)
        for watcher in self.watchers:
            watcher(changed)
        return decided

    def enter(self, decisions: Sequence[Decision], by: str, request: str) -> int:
        """Add decisions that were made elsewhere or before (an import, by somebody); return how many were new.

        Raises RefusedError for what a standing does not allow, LedgerError.
        """
        added = self._ledger.decisions.enter(decisions, f"imported by {by}: {request}")
        if added:
            self._recorder.record(Event.APPROVED, f"{added} decisions were imported by {by}", BY=by)
        return added

    def _stands(self, fingerprint: Fingerprint) -> Decided:
        return Decided(fingerprint, self._ledger.entries.get(fingerprint).status, changed=False)

    def _check(self, asked: Asked, details: dict[Fingerprint, Certificate]) -> None:
        refusals: list[str] = []
        now = datetime.now(UTC)
        for fingerprint in asked.fingerprints:
            if fingerprint in NEVER:
                refusals.append(f"{grouped(fingerprint)} can never be approved: {NEVER[fingerprint]}")
                continue
            if self._ledger.entries.get(fingerprint).status is Status.APPROVED:
                continue
            why = _refusal(details.get(fingerprint), asked.insist, now)
            if why:
                refusals.append(f"{grouped(fingerprint)} {why}")
        if refusals:
            raise RefusedError("\n".join(refusals))

    def _record(self, asked: Asked, changed: list[Fingerprint], details: dict[Fingerprint, Certificate]) -> None:
        event = _EVENTS[asked.verb]
        if len(changed) > _MOST_RECORDED:
            self._recorder.record(event, f"{len(changed)} fingerprints: {asked.verb} by {asked.by}", BY=asked.by)
            return
        for fingerprint in changed:
            certificate = details.get(fingerprint)
            subject = certificate.subject if certificate else ""
            name = f" ({clean(subject)})" if subject else ""
            self._recorder.record(
                event,
                f"{fingerprint}{name}: {asked.verb} by {asked.by}",
                FINGERPRINT=fingerprint,
                VERB=asked.verb.value,
                BY=asked.by,
                SUBJECT=subject,
                NOTE=asked.note,
            )


def _refusal(certificate: Certificate | None, insist: frozenset[str], now: datetime) -> str:
    if certificate is None:
        if WITHOUT_CERTIFICATE in insist:
            return ""
        return "has no certificate in the directory, so nobody can tell whose it is; --without-certificate insists"
    if certificate.expired(now) and EXPIRED not in insist:
        return (
            f"({clean(certificate.subject)}) expired on {certificate.not_after:%Y-%m-%d}: "
            "Exim does not verify it any more; --expired insists"
        )
    if certificate.ca and CA not in insist:
        return (
            f"({clean(certificate.subject)}) is a CA's certificate: who holds the CA's key relays with it; --ca insists"
        )
    return ""


def _now() -> int:
    return time.time_ns() // 1_000_000
