"""The sources of decisions, each as a request for ``Decider.decide``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from eximcertd.decisions import rules
from eximcertd.errors import UsageError
from eximcertd.ledger.decisions import IMPORTED, Decision
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.fingerprint import Fingerprint

LONGEST_NOTE: Final = 1000
LONGEST_NAME: Final = 200
CLOCKS_DIFFER: Final = 60_000  # ms that the clocks of two machines may differ
BY_HAND: Final = "by hand"
BY_POLICY: Final = "by policy"
_ALWAYS: Final = 1 << 62
_PERSONS: Final = frozenset({Verb.APPROVE, Verb.REJECT, Verb.REVOKE})


class Order(Enum):
    """Which of two decisions on a fingerprint counts.

    NOW: this one, made now. BY_TIME: the later one; an older one is left out. AS_GIVEN: this one, whatever its time.
    With the last two, a decision that the ledger already has is left out.
    """

    NOW = "now"
    BY_TIME = "by time"
    AS_GIVEN = "as given"


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """Requested decisions, and the rules for them.

    id: of the call, so that a repeated call counts once, or "". certificates: of the fingerprints, as far as they are
    known. issuers: the fingerprints of those that have issued others of the directory. insist: of rules.OPTIONS.
    all_or_none: a refusal refuses all of it. last: the last decision on a fingerprint, where there may be several.
    history_before: decisions older than this (ms since the epoch) are kept
    as history even where they change nothing. imported_by: who imports it, or "".
    """

    decisions: tuple[Decision, ...]
    rule: rules.Rule
    id: str = ""
    certificates: Mapping[Fingerprint, Certificate] = field(default_factory=dict)
    issuers: Collection[Fingerprint] = ()
    insist: frozenset[str] = frozenset()
    order: Order = Order.NOW
    all_or_none: bool = True
    last: Mapping[Fingerprint, Decision] = field(default_factory=dict)
    history_before: int = 0
    imported_by: str = ""

    def portions(self, size: int) -> Iterator[DecisionRequest]:
        """Yield the request in portions of ``size`` decisions."""
        for start in range(0, len(self.decisions), size):
            yield replace(self, decisions=self.decisions[start : start + size])


@dataclass(frozen=True, slots=True)
class KnownCertificates:
    """The known certificates and issuers: as in DecisionRequest."""

    certificates: Mapping[Fingerprint, Certificate] = field(default_factory=dict)
    issuers: Collection[Fingerprint] = ()


def by_person(
    verb: Verb,
    fingerprints: Iterable[Fingerprint],
    by: str,
    now: int,
    *,
    request: str,
    note: str = "",
    insist: frozenset[str] = frozenset(),
    known: KnownCertificates | None = None,
) -> DecisionRequest:
    """Return the request of a person, now (ms since the epoch): all of it or none. Raises UsageError."""
    known = known or KnownCertificates()
    if verb not in _PERSONS:
        raise UsageError(f"{verb} is not a decision that a person makes")
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"the note is longer than {LONGEST_NOTE} characters")
    if not request:
        raise UsageError(
            "the request has no id", hint="Give each request an id of its own: a repeated one counts once."
        )
    _check_options(insist)
    decisions = tuple(Decision(one, verb, by, now, note, request) for one in dict.fromkeys(fingerprints))
    return DecisionRequest(decisions, rules.FOR_PERSONS, request, known.certificates, known.issuers, insist)


def imported(
    decisions: Sequence[Decision],
    by: str,
    now: int,
    *,
    request: str,
    insist: frozenset[str] = frozenset(),
    known: KnownCertificates | None = None,
) -> DecisionRequest:
    """Return decisions that ``by`` imports, now (ms since the epoch): all of them or none. Raises UsageError.

    The name in the record is kept as "X (imported by Y)", so that no user can decide in another user's name.
    """
    known = known or KnownCertificates()
    _check_options(insist)
    for one in decisions:
        if len(one.note) > LONGEST_NOTE or len(one.by) > LONGEST_NAME:
            raise UsageError(f"{one.fingerprint}: a note has at most {LONGEST_NOTE} characters, a name {LONGEST_NAME}")
        if one.at > now + CLOCKS_DIFFER:
            raise UsageError(f"{one.fingerprint}: decided in the future")
    marked = tuple(
        replace(one, by=one.by if one.by == by else f"{decided_by(one)}{IMPORTED}{by})", request=f"import {request}")
        for one in sorted(decisions, key=lambda one: one.at)
    )
    return DecisionRequest(
        marked,
        rules.FOR_IMPORTS,
        certificates=known.certificates,
        issuers=known.issuers,
        insist=insist,
        order=Order.BY_TIME,
        last={one.fingerprint: one for one in marked},
        history_before=now,
        imported_by=by,
    )


def by_policy(
    verb: Verb, fingerprints: Iterable[Fingerprint], note: str, now: int, known: KnownCertificates | None = None
) -> DecisionRequest:
    """Return the decisions of a policy, now (ms since the epoch); those that a rule forbids are left out.

    known: then the rules for persons apply to approvals; without it those of the status alone.
    """
    decisions = tuple(Decision(one, verb, BY_POLICY, now, note[:LONGEST_NOTE]) for one in fingerprints)
    if known is None:
        return DecisionRequest(decisions, rules.FOR_THE_REST, all_or_none=False)
    return DecisionRequest(decisions, rules.FOR_PERSONS, "", known.certificates, known.issuers, all_or_none=False)


def manual_edit(fingerprints: Iterable[Fingerprint], note: str, now: int) -> DecisionRequest:
    """Return the adoption of what was added to the macro file; each rejected or revoked one is refused by itself."""
    decisions = tuple(Decision(one, Verb.ADOPT, BY_HAND, now, note) for one in sorted(fingerprints))
    return DecisionRequest(decisions, rules.FOR_THE_REST, all_or_none=False)


def offline(decisions: Iterable[Decision]) -> DecisionRequest:
    """Return the decisions of root while eximcertd was down, in the order in which they were written."""
    return DecisionRequest(
        tuple(decisions), rules.FOR_OFFLINE, order=Order.AS_GIVEN, all_or_none=False, history_before=_ALWAYS
    )


def decided_by(decision: Decision) -> str:
    """Return the name of the user who decided, without that of the user who imported it."""
    return decision.by.partition(IMPORTED)[0]


def _check_options(insist: frozenset[str]) -> None:
    unknown = insist - rules.OPTIONS
    if unknown:
        raise UsageError(f"no rule to insist against: {', '.join(sorted(unknown))}")
