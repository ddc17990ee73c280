"""The rules for an act, where no database holds them: the desk of the files' transport asks. Pure.

The functions of the database have the same rules (fleet/functions.sql).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.acts.effective import BECOMES
from eximcertd.fingerprint import NEVER
from eximcertd.status import OF_AUTHORITIES, Refusal, Status, Verb, after, by_phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.fleet.remote import OwnDecision, Sighted

_MOST_NAMED: Final = 5
"""Refused fingerprints that a message names."""


def refusal(act: Act, newest: Mapping[Fingerprint, Act], own: Iterable[OwnDecision]) -> str:
    """Return why the fleet refuses an act that follows the head, or "" if it does not.

    newest: the newest act on each of its fingerprints, acts on authorities left out. own: the open own decisions that
    the relays have told. A revocation that settles another one is taken too: it may not have been told yet.
    """
    verb = Verb(act.verb)
    if verb in OF_AUTHORITIES:
        return ""
    wanted = set(act.fingerprints)
    concerned = [one for one in own if one.fingerprint in wanted]
    revocable = {one.fingerprint for one in concerned if one.verb != Verb.REJECT}
    refused = []
    for name in act.fingerprints:
        before = newest.get(name)
        status = BECOMES[Verb(before.verb)] if before else Status.UNSEEN
        outcome = after(status, verb)
        if verb is Verb.APPROVE and name in NEVER:
            refused.append(f"{name} can never be approved: {NEVER[name]}")
        elif isinstance(outcome, Refusal) and not (verb is Verb.REVOKE and (act.settles or name in revocable)):
            refused.append(f"{name} {outcome.sentence}")
    if verb is Verb.APPROVE:
        refused += [
            f"{one.fingerprint}: {one.verb} on {one.relay} {by_phrase(one.by)} is open; settle it by its id {one.id}"
            for one in concerned
            if one.refuses and one.id not in act.settles
        ]
    more = len(refused) - _MOST_NAMED
    return "\n".join(refused[:_MOST_NAMED] + ([f"and {more} more"] if more > 0 else []))


def queue(sighted: Iterable[Sighted], decided: Mapping[Fingerprint, Act], most: int) -> Sequence[Sighted]:
    """Return what waits: those with a certificate first, then the newest, of at most ``most`` fingerprints.

    decided: the newest act on each fingerprint that has one; what the fleet has decided does not wait.
    """
    of: dict[Fingerprint, list[Sighted]] = {}
    for one in sighted:
        if one.fingerprint not in decided:
            of.setdefault(one.fingerprint, []).append(one)
    ordered = sorted(
        of.values(), key=lambda ones: (all(one.der is None for one in ones), -max(one.last_seen for one in ones))
    )
    return [one for ones in ordered[:most] for one in ones]
