"""A certificate is on the list from its beginning to its end, and an approval until its scheduled revocation."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide
from lab.rounds import FAST, NEVER, ONE, OURS, TWO, Programs, ScheduledParts, run

from eximcertd.events import Event
from eximcertd.ledger.identities import Identity
from eximcertd.maintenance.scheduler import Timing
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.publish.request import Request
    from eximcertd.reload.request import ReloadAnswer

SLOW = Timing(soon=60, tick=60, verify=NEVER, reconcile=NEVER)


def valid(fingerprint: Fingerprint, begins: float, ends: float) -> Identity:
    """Return what is kept of a certificate with this validity (seconds)."""
    return Identity(fingerprint, fingerprint, fingerprint, fingerprint, int(ends * 1000), int(begins * 1000))


def test_a_certificate_is_on_the_published_list_from_its_beginning_to_its_end(parts: ScheduledParts) -> None:
    now = time.time()
    decide(parts.ledger, Verb.APPROVE, ONE, TWO)
    parts.ledger.identities.keep([valid(ONE, 0, now + 1.5), valid(TWO, now + 1.2, now + 1e6)])
    seen: list[tuple[AbstractSet[str] | None, float]] = []

    def looked() -> bool:
        if not seen or seen[-1][0] != parts.programs.loaded:
            seen.append((parts.programs.loaded, time.time()))
        return [names for names, _ in seen][-3:] == [{ONE}, {ONE, TWO}, {TWO}]

    run(parts, SLOW, looked)
    assert seen[-2][1] >= now + 1.2
    assert seen[-1][1] >= now + 1.5
    assert parts.ledger.entries.get(ONE).status is Status.APPROVED


def test_a_certificate_that_ends_while_the_end_of_another_is_published_is_off_the_list_too(
    parts: ScheduledParts,
) -> None:
    now = time.time()
    decide(parts.ledger, Verb.APPROVE, ONE, TWO, OURS)
    parts.ledger.identities.keep([valid(ONE, 0, now + 1), valid(TWO, 0, now + 1.2)])

    class Slow(Programs):
        async def reload(self, request: Request) -> ReloadAnswer:
            await asyncio.sleep(0.5)
            return await parts.programs.reload(request)

    parts.programs_asked = lambda: Slow(parts.programs)  # type: ignore[method-assign]
    run(parts, SLOW, lambda: parts.programs.loaded == {OURS})


@pytest.mark.parametrize("by", [-1e6, 1e6])
def test_a_clock_that_is_set_changes_the_list_and_puts_it_right_again(parts: ScheduledParts, by: float) -> None:
    now = time.time()
    decide(parts.ledger, Verb.APPROVE, ONE, TWO)
    parts.ledger.identities.keep([valid(ONE, now - 1e5, now + 1e5)])
    off: list[bool] = []

    def begin() -> None:
        parts.wall = lambda: time.time() + by

    def looked() -> bool:
        if parts.programs.loaded == {TWO} and not off:
            off.append(True)
            parts.wall = time.time
        return bool(off) and parts.programs.loaded == {ONE, TWO}

    run(parts, SLOW, looked, begin)


def test_a_scheduled_revocation_is_made_at_its_time(parts: ScheduledParts) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE)
    parts.ledger.lapses.schedule([(ONE, int((time.time() + 1) * 1000))])
    run(parts, SLOW, lambda: parts.ledger.entries.get(ONE).status is Status.REVOKED)
    assert Event.REVOKED in parts.records.events()


@pytest.mark.parametrize("years", [0, 11])
def test_after_a_leap_of_the_clock_no_expiry_is_reported(parts: ScheduledParts, years: int) -> None:
    decide(parts.ledger, Verb.APPROVE, ONE)
    parts.ledger.identities.keep([Identity(ONE, "key", "CN=a", "CN=a", 1)])
    year = 365 * 86_400
    parts.ledger.running_time.advance(0, int((time.time() - years * year) * 1000))
    rounds = 0

    def done() -> bool:
        nonlocal rounds
        rounds += 1
        return Event.CERTIFICATE_EXPIRED in parts.records.events() or rounds > 40

    run(parts, FAST, done)
    assert (Event.CLOCK_CHANGED in parts.records.events()) is bool(years)
    assert (Event.CERTIFICATE_EXPIRED in parts.records.events()) is not bool(years)
