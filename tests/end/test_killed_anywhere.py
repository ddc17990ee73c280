"""eximcertd killed at every system call of a publication: one of two lists at any time, then the ledger's.

The calls are enumerated from a trace. The ledger, the publication, the publisher and Exim are real.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest
from lab.relay import HAND, Relay
from lab.smtp import ask as rcpt
from lab.strace import kill_points, run_traced

from eximcertd.fingerprint import Fingerprint
from eximcertd.status import Verb

if TYPE_CHECKING:
    from lab.certificates import Identity
    from lab.exim import EximServer


@pytest.fixture
def relay(exim: EximServer) -> Relay:
    return Relay(exim)


@pytest.mark.parametrize("hand", [False, True], ids=["alone", "with a hand edit"])
@pytest.mark.timeout(900)
def test_killed_at_any_system_call_exim_honours_one_of_two_lists_and_then_the_ledgers(
    relay: Relay, alice: Identity, mallory: Identity, *, hand: bool
) -> None:
    target, other = Fingerprint(alice.fingerprint), Fingerprint(mallory.fingerprint)
    port, edit = relay.exim.port, relay.add_by_hand if hand else None
    assert relay.run((Verb.APPROVE, other))
    assert relay.run()

    def work(verb: Verb) -> None:
        relay.run((verb, target), edit=edit)

    def settled(verb: Verb) -> None:
        """Bring the target where the verb brings it, and take the hand's fingerprint out."""
        wanted = relay.wanted()
        if (target in wanted) != (verb is Verb.APPROVE) or HAND in wanted:
            assert relay.run((verb, target), *([(Verb.REVOKE, HAND)] if HAND in wanted else []))

    calls = {}
    for verb in (Verb.APPROVE, Verb.REVOKE):
        trace, status = run_traced(partial(work, verb))
        assert os.waitstatus_to_exitcode(status) == 0
        assert (target in relay.wanted()) == (verb is Verb.APPROVE)
        settled(verb)
        calls[verb] = kill_points(trace)
        assert len(calls[verb]) > 15

    killed = 0
    for approve, revoke in zip_longest(calls[Verb.APPROVE], calls[Verb.REVOKE]):
        for verb, call in ((Verb.APPROVE, approve), (Verb.REVOKE, revoke)):
            if call is None:
                continue
            _, status = run_traced(partial(work, verb), kill_at=call)
            killed += os.waitstatus_to_exitcode(status) < 0
            assert relay.exim.alive(), f"{call}: {relay.exim.words()}{relay.exim.lines()[-20:]}"
            # one of two lists: who is in both is honoured all the while, and nobody gets an error
            assert rcpt(port, mallory).accepted, call
            assert rcpt(port, alice).code in {250, 550}, call
            assert relay.run(), call
            wanted = relay.wanted()
            assert rcpt(port, alice).accepted == (target in wanted), call
            assert relay.directory.contents().fingerprints == wanted, call
            settled(verb)
    assert killed > 0.8 * sum(map(len, calls.values()))
