"""The one entry point for decisions: rules, ledger, event, watchers, in this order and always all four.

Persons, imports, policies, manual edits and offline decisions come as a DecisionRequest (decisions/sources.py).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.decisions.rules import FOR_THE_REST, Case
from eximcertd.decisions.sources import DecisionRequest, Order, decided_by
from eximcertd.errors import RefusedError, UsageError
from eximcertd.events import Event
from eximcertd.fingerprint import grouped
from eximcertd.ledger.identities import Identity
from eximcertd.status import ALLOWS, Becomes, Status, Verb, after, by_phrase
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.decisions import Decision
    from eximcertd.status import Refusal

_EVENTS: Final = {
    Verb.APPROVE: (Event.APPROVED, "approved"),
    Verb.REJECT: (Event.REJECTED, "rejected"),
    Verb.REVOKE: (Event.REVOKED, "revoked"),
    Verb.ADOPT: (Event.ADOPTED_BY_HAND, "adopted"),
}
_DENIED: Final = {Verb.REJECT: Status.REJECTED, Verb.REVOKE: Status.REVOKED}
_MOST_REFUSALS: Final = 100  # fingerprints that one message names
_MOST_RECORDED: Final = 100  # events of one request; for more there is one event for each verb


@dataclass(frozen=True, slots=True)
class Decided:
    """The result for one fingerprint. changed: False if it had this status already."""

    fingerprint: Fingerprint
    status: Status
    changed: bool


@dataclass(slots=True)
class Outcome:
    """The result of a request. decided: in the request's order. refused: unless the request is all or none.

    added: number of new decisions. known: number that the ledger had already. older: number left out, being older than
    the ledger's own.
    """

    decided: list[Decided] = field(default_factory=list)
    refused: list[tuple[Fingerprint, Refusal]] = field(default_factory=list)
    added: int = 0
    known: int = 0
    older: int = 0

    @property
    def changed(self) -> list[Fingerprint]:
        """The fingerprints whose status changed, each once."""
        return list(dict.fromkeys(one.fingerprint for one in self.decided if one.changed))


class Decider:
    """Makes decisions; lives in the loop's thread. watchers: called with the fingerprints that a decision changed."""

    def __init__(self, ledger: Ledger, recorder: Recorder) -> None:
        self._ledger = ledger
        self._recorder = recorder
        self.watchers: list[Callable[[Sequence[Fingerprint]], None]] = []

    def decide(self, request: DecisionRequest) -> Outcome:
        """Make the decisions of a request.

        Raises RefusedError with every refusal (nothing is decided then), UsageError, LedgerError.
        """
        if request.id and (repeated := self._repeated(request)) is not None:
            return repeated
        outcome, accepted = self._validated(request)
        outcome.added = len(accepted)
        if accepted:
            approved = {one.fingerprint for one, _ in accepted if one.verb in ALLOWS}
            identities = [Identity.of(of) for name, of in request.certificates.items() if name in approved]
            self._ledger.decisions.append(accepted, identities)
            self._record(request, [decision for decision, _ in accepted])
            self._tell(outcome.changed)
        return outcome

    def taken(self, decisions: Sequence[Decision], changed: Sequence[Fingerprint]) -> None:
        """Tell of decisions of the fleet that are in the ledger. changed: the fingerprints whose status changed."""
        self._record(DecisionRequest(tuple(decisions), FOR_THE_REST), decisions)
        self._tell(changed)

    def check(self, request: DecisionRequest) -> None:
        """Check a request against the rules and decide nothing. Raises as ``decide`` does."""
        self._validated(request)

    def _tell(self, changed: Sequence[Fingerprint]) -> None:
        for watcher in self.watchers:
            watcher(changed)

    def _repeated(self, request: DecisionRequest) -> Outcome | None:
        """Return the present result if this request was made before; it decides nothing again."""
        before = self._ledger.decisions.of_request(request.id)
        if not before:
            return None
        asked = {(one.verb, one.fingerprint) for one in request.decisions}
        if any((one.verb, one.fingerprint) not in asked for one in before):
            raise UsageError(f"the request id {request.id[:80]!r} was used for another decision")
        entries = self._ledger.entries.among([one.fingerprint for one in request.decisions])
        return Outcome([Decided(entry.fingerprint, entry.status, changed=False) for entry in entries])

    def _validated(self, request: DecisionRequest) -> tuple[Outcome, list[tuple[Decision, Status]]]:
        """Check every decision of the request against the rules; return those to append, with the new status.

        Raises RefusedError.
        """
        names = list(dict.fromkeys(one.fingerprint for one in request.decisions))
        statuses = self._ledger.entries.statuses(names)
        before = {} if request.order is Order.NOW else self._ledger.decisions.of_fingerprints(names)
        known = {_identity(one) for decisions in before.values() for one in decisions}
        # an adoption of a manual edit does not count as a newer decision
        newest = {
            name: max((one.at for one in decisions if one.verb is not Verb.ADOPT), default=0)
            for name, decisions in before.items()
        }
        now = datetime.now(UTC)
        outcome = Outcome()
        accepted: list[tuple[Decision, Status]] = []
        for decision in request.decisions:
            name = decision.fingerprint
            if request.order is not Order.NOW and _identity(decision) in known:
                outcome.known += 1
                continue
            if request.order is Order.BY_TIME and decision.at < newest.get(name, 0):
                outcome.older += 1
                continue
            status, removed, added = statuses.get(name, (Status.UNSEEN, False, False))
            case = Case(
                decision,
                status,
                now,
                certificate=request.certificates.get(name),
                has_issued=name in request.issuers,
                insist=request.insist,
                superseded=request.last.get(name, decision) is not decision,
            )
            refusal = request.rule.refusal(case)
            if refusal is not None:
                outcome.refused.append((name, refusal))
                continue
            cell = after(status, decision.verb)
            new = cell.status if isinstance(cell, Becomes) else _DENIED[decision.verb]
            confirmed = added and decision.verb is not Verb.ADOPT  # by a person, after a manual edit
            changed = new is not status or removed or confirmed
            outcome.decided.append(Decided(name, new, changed))
            if changed or decision.at < request.history_before:
                accepted.append((decision, new))
                known.add(_identity(decision))
                statuses[name] = (new, False, decision.verb is Verb.ADOPT)
        if outcome.refused and request.all_or_none:
            sentences = [f"{grouped(name)} {refusal.sentence}" for name, refusal in outcome.refused[:_MOST_REFUSALS]]
            more = len(outcome.refused) - len(sentences)
            raise RefusedError("\n".join([*sentences, f"and {more} more"] if more else sentences))
        return outcome, accepted

    def _record(self, request: DecisionRequest, decisions: Sequence[Decision]) -> None:
        if request.imported_by:
            verbs = Counter(_EVENTS[one.verb][1] for one in decisions)
            what = ", ".join(f"{count} {verb}" for verb, count in verbs.items())
            self._recorder.record(
                Event.IMPORTED,
                f"{len(decisions)} decisions were imported by {request.imported_by}: {what}",
                BY=request.imported_by,
                COUNT=str(len(decisions)),
            )
        if len(decisions) > _MOST_RECORDED:
            many = Counter((one.verb, one.by, _act(one)) for one in decisions)
            for (verb, by, act), count in many.most_common(_MOST_RECORDED):
                event, past = _EVENTS[verb]
                text = f"{count} fingerprints {past} {by_phrase(by)}{act}"
                self._recorder.record(event, text, BY=by, COUNT=str(count))
            return
        for one in decisions:
            event, past = _EVENTS[one.verb]
            certificate = request.certificates.get(one.fingerprint)
            subject = certificate.subject if certificate else ""
            self._recorder.record(
                event,
                f"{one.fingerprint}{f' ({clean(subject)})' if subject else ''} {past} {by_phrase(one.by)}{_act(one)}",
                FINGERPRINT=one.fingerprint,
                VERB=one.verb.value,
                BY=one.by,
                SUBJECT=subject,
                NOTE=one.note,
            )


def _act(decision: Decision) -> str:
    return "" if decision.generation is None else f", act {decision.generation} of the fleet"


def _identity(decision: Decision) -> tuple[object, ...]:
    """Return what identifies a decision, without the name of the user who imported it."""
    return decision.fingerprint, decision.verb, decided_by(decision), decision.at, decision.note
