"""The status that a fingerprint has on a relay, from the fleet's acts and the relay's own decisions. Pure.

Four rules, by generation and never by a clock:

1. Without an own decision, the newest act on the fingerprint gives the status.
2. An own rejection or revocation holds on this relay until an act settles it by its id.
3. An own approval or adoption holds on this relay, unless an act newer than its base rejected or revoked the
   fingerprint: the person who approved it here did not know of that act.
4. An act settles the own decisions on its fingerprints whose ids it names, and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.status import ALLOWS, Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eximcertd.fingerprint import Fingerprint

BECOMES: Final = {
    Verb.APPROVE: Status.APPROVED,
    Verb.ADOPT: Status.APPROVED,
    Verb.REJECT: Status.REJECTED,
    Verb.REVOKE: Status.REVOKED,
}
"""The status that a decision gives."""


class Newest(NamedTuple):
    """The newest act on a fingerprint. generation: its number. status: what it gives."""

    generation: int
    status: Status


class Own(NamedTuple):
    """A relay's own decision that no act has settled. base: the generation that the relay had when it was made.

    id: a UUID. lost: it comes from an act that the fleet's database has lost.
    """

    verb: Verb
    base: int
    id: str
    lost: bool = False


def effective(newest: Newest | None, own: Own | None) -> Status | None:
    """Return the status, or None if neither the fleet nor this relay has decided."""
    if own is None:
        return newest.status if newest else None
    if own.verb not in ALLOWS:
        return BECOMES[own.verb]
    if newest and newest.status in {Status.REJECTED, Status.REVOKED} and newest.generation > own.base:
        return newest.status
    return Status.APPROVED


class Lost(NamedTuple):
    """An act on one fingerprint that the database has lost, though this relay has it. id: for the own decision."""

    generation: int
    fingerprint: Fingerprint
    verb: Verb
    id: str


def rebased(own: Mapping[Fingerprint, Own], lost: Iterable[Lost], last: int) -> dict[Fingerprint, Own]:
    """Return the own decisions after the database went back to the generation ``last``, which both have.

    lost: in the order of the acts. Each becomes an own decision, unless an own decision that rejects or revokes stands,
    or one that approves and is not older than the lost act. Bases are lowered to ``last``.
    """
    after = dict(own)
    fresh: set[Fingerprint] = set()
    for one in lost:
        before = after.get(one.fingerprint)
        older = before is not None and before.verb in ALLOWS and before.base < one.generation
        if before is None or one.fingerprint in fresh or older:
            after[one.fingerprint] = Own(one.verb, last, one.id, lost=True)
            fresh.add(one.fingerprint)
    return {name: one._replace(base=min(one.base, last)) for name, one in after.items()}
