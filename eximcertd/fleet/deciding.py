"""From what a person typed to an act of the fleet.

``drafted`` is pure: the rules, and the act that follows the head. ``decide`` asks a Desk for the facts, has the act
signed and appended, and builds it again if another person was quicker, with the same request id.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.acts.act import MOST_SETTLED, Act, Head, checked
from eximcertd.acts.effective import BECOMES
from eximcertd.decisions.rules import FOR_PERSONS, Case
from eximcertd.errors import EximcertdError, Exit
from eximcertd.fingerprint import grouped
from eximcertd.fleet.remote import ActRefusedError, MovedError, RemoteError
from eximcertd.ledger.decisions import Decision
from eximcertd.status import ALLOWS, OF_AUTHORITIES, Refusal, Status, Verb, by_phrase
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import Desk, OwnDecision

TRIES: Final = 5
"""How often an act is built, at most."""

_MOST_NAMED: Final = 10
_PAST: Final = {"approve": "approved", "adopt": "added", "reject": "rejected", "revoke": "revoked"}


class OutcomeUnknownError(EximcertdError):
    """The act was sent, and whether it is in the chain cannot be learned."""

    exit_status = Exit.NO_ANSWER


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person wants decided. fingerprints: each once. seen: ids of own decisions that the person knows of.

    insist: of rules.OPTIONS. certificates: of the fingerprints, as far as they are known; authorities: those of them
    that are a CA's. here: the open own decisions of this machine's relay, which the fleet may not know yet.
    detail: see Act. request: a UUID, the same for each try.
    """

    verb: Verb
    fingerprints: Collection[Fingerprint]
    note: str = ""
    seen: Collection[str] = ()
    insist: frozenset[str] = frozenset()
    certificates: Mapping[Fingerprint, Certificate] = field(default_factory=dict)
    authorities: Collection[Fingerprint] = ()
    here: Sequence[OwnDecision] = ()
    detail: str = ""
    request: str = field(default_factory=lambda: str(uuid.uuid4()))


class Facts(NamedTuple):
    """What the fleet knows at a head. newest: of approve, reject, revoke. own: what is open. by, at: of the act.

    base: the generation that the person knew.
    """

    head: Head
    newest: Mapping[Fingerprint, Act]
    own: Sequence[OwnDecision]
    by: str
    at: int
    base: int


def status_of(newest: Act | None) -> Status:
    """Return the status that the fleet gives a fingerprint."""
    return BECOMES[Verb(newest.verb)] if newest else Status.UNSEEN


def described(own: OwnDecision) -> str:
    """Return "revoked on mx2 by carol: stolen", escaped."""
    lost = " (the fleet's database has lost the act)" if own.lost else ""
    note = f": {own.note}" if own.note else ""
    what = _PAST.get(own.verb, own.verb)
    if own.refuses and own.verb in ALLOWS:
        what = f"refused (and reported as {what})"
    return clean(f"{what} on {own.relay} {by_phrase(own.by)}{note}") + lost


def drafted(proposal: Proposal, facts: Facts) -> Act | None:
    """Return the act that follows the head, without a signature; None if it would change nothing.

    It is about those fingerprints only whose status changes or that have open own decisions; it settles these.
    Raises ActRefusedError that names each fingerprint that a rule forbids.
    """
    fingerprints, settles = list(proposal.fingerprints), set[str]()
    if proposal.verb not in OF_AUTHORITIES:
        own: dict[Fingerprint, list[OwnDecision]] = {}
        for one in facts.own:
            own.setdefault(one.fingerprint, []).append(one)
        _check(proposal, facts, own)
        becomes = BECOMES[proposal.verb]
        fingerprints = [
            name for name in fingerprints if name in own or status_of(facts.newest.get(name)) is not becomes
        ]
        settles = {one.id for name in fingerprints for one in own.get(name, ())}
    if not fingerprints:
        return None
    return checked(
        Act(
            facts.head.generation + 1,
            facts.head.hash,
            proposal.verb.value,
            facts.by,
            facts.at,
            proposal.request,
            tuple(sorted(fingerprints)),
            proposal.note,
            tuple(sorted(settles)),
            proposal.detail,
        )
    )


def _check(proposal: Proposal, facts: Facts, own: Mapping[Fingerprint, Sequence[OwnDecision]]) -> None:
    now = datetime.fromtimestamp(facts.at / 1_000_000, UTC)
    refused: list[tuple[Fingerprint, Refusal]] = []
    unsettled: list[str] = []
    for name in proposal.fingerprints:
        status = status_of(facts.newest.get(name))
        decision = Decision(name, proposal.verb, facts.by, facts.at // 1000, proposal.note)
        case = Case(
            decision, status, now, proposal.certificates.get(name), name in proposal.authorities, proposal.insist
        )  # fmt: skip
        found = FOR_PERSONS.refusal(case)
        theirs = own.get(name, ())
        approved_there = any(not one.refuses for one in theirs)
        if found and not (proposal.verb is Verb.REVOKE and approved_there):
            refused.append((name, found))
        if proposal.verb is Verb.APPROVE:
            before = facts.newest.get(name)
            if before and before.generation > facts.base and status is not Status.APPROVED:
                unsettled.append(f"{grouped(name)} was {status} {by_phrase(clean(before.by))} meanwhile")
            kept_out = (one for one in theirs if one.refuses and one.id not in proposal.seen)
            unsettled += [f"{grouped(name)} is {described(one)}" for one in kept_out]
    if refused:
        lines = [f"{grouped(name)} {one.sentence}" for name, one in refused]
        options = sorted({f"--{one.option}" for _, one in refused if one.option})
        raise ActRefusedError(_listed(lines), hint=f"to insist: {' '.join(options)}" if options else "")
    if unsettled:
        raise ActRefusedError(_listed(unsettled), hint="see eximcertctl fleet settle, or decide again")


def _listed(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _MOST_NAMED:,} more"] if len(lines) > _MOST_NAMED else []
    return "\n".join([*lines[:_MOST_NAMED], *more])


def keeping_out(
    desk: Desk, fingerprints: Iterable[Fingerprint], here: Sequence[OwnDecision] = ()
) -> dict[Verb, list[Fingerprint]]:
    """Return the verb that keeps each fingerprint refused: revoke what is approved, on a relay too, reject the rest."""
    names = sorted(set(fingerprints))
    newest = desk.newest(names)
    approved = {one.fingerprint for one in (*desk.own(names), *here) if not one.refuses}
    verbs: dict[Verb, list[Fingerprint]] = {}
    for name in names:
        approvable = status_of(newest.get(name)) in {Status.APPROVED, Status.REVOKED} or name in approved
        verbs.setdefault(Verb.REVOKE if approvable else Verb.REJECT, []).append(name)
    return verbs


def portions(own: Mapping[Fingerprint, Sequence[OwnDecision]]) -> list[list[Fingerprint]]:
    """Return the fingerprints in as many portions as acts are needed: one settles at most MOST_SETTLED decisions."""
    found: list[list[Fingerprint]] = [[]]
    settled = 0
    for name, ones in own.items():
        if found[-1] and settled + len(ones) > MOST_SETTLED:
            found.append([])
            settled = 0
        found[-1].append(name)
        settled += len(ones)
    return found


def decide(
    desk: Desk,
    proposal: Proposal,
    signed: Callable[[Act], Act],
    again: Callable[[], Desk],
    check: Callable[[Head], None] = lambda _: None,
    *,
    pause: float = 1.0,
) -> Act | None:
    """Have an act decided and return it; None if nothing would change.

    signed: returns the act with a signature, or as it is. again: gives a new connection after one broke. check: raises
    an error for a newest act that relays do not take. pause: seconds before the fleet is asked again after a lost
    answer. Raises ActRefusedError, MovedError after TRIES acts of others, RemoteError if nothing was sent,
    OutcomeUnknownError.
    """
    base: int | None = None
    lost: RemoteError | None = None
    sent = False
    for _ in range(TRIES):
        try:
            if lost:
                time.sleep(pause)
                desk = again()
                if there := desk.of_request(proposal.request):
                    return there
                lost = None
            head = desk.head()  # before the rest: what is decided later moves the head, and the act is refused
            check(head)
            base = head.generation if base is None else base
            act = drafted(proposal, _facts(desk, proposal, head, base))
            if act is None:
                return None
            act = signed(act)
            sent = True
            desk.decide(act)
        except MovedError:
            continue
        except RemoteError as error:
            if not sent:
                raise
            lost = error
            continue
        return act
    if lost:
        raise OutcomeUnknownError(
            f"outcome unknown: {lost.message}",
            hint="when the fleet answers again, repeat the command: what is decided is not decided twice",
        )
    raise MovedError(f"nothing is decided: others have decided {TRIES} times meanwhile", hint="repeat the command")


def _facts(desk: Desk, proposal: Proposal, head: Head, base: int) -> Facts:
    if proposal.verb in OF_AUTHORITIES:
        return Facts(head, {}, (), desk.who(), desk.now(), base)
    names = set(proposal.fingerprints)
    newest = desk.newest(names)
    # What the newest act settles is not open, though this relay may not have taken that act yet.
    settled = {(one, name) for name, act in newest.items() for one in act.settles}
    here = (one for one in proposal.here if one.fingerprint in names and (one.id, one.fingerprint) not in settled)
    # A relay chooses the ids that it tells: a decision that has another one's id does not hide the other one.
    own = {(one.relay, one.id, one.verb): one for one in (*here, *desk.own(names))}
    return Facts(head, newest, list(own.values()), desk.who(), desk.now(), base)
