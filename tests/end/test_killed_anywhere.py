"""eximcertd killed at every system call of a publication: one of two lists at any time, then the ledger's.

The calls are enumerated from a trace. The ledger, the publication, the publisher and Exim are real.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import pytest
from lab.daemon import Eximcertd
from lab.records import Records
from lab.smtp import ask as rcpt
from lab.strace import Call, run_traced

from eximcertd.allowlist.directory import AllowedDirectory
from eximcertd.config import load
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.decisions import Decision
from eximcertd.publication import Publication
from eximcertd.publish import client
from eximcertd.standing import Verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.certificates import Identity
    from lab.exim import EximServer

    from eximcertd.publish.request import Answer, Request

HAND = Fingerprint("AB" * 32)


class Machine:
    """A state directory and a macro file beside a real Exim, and what eximcertd does with them, in this process."""

    def __init__(self, exim: EximServer) -> None:
        self.exim = exim
        self.daemon = Eximcertd(exim)  # for its configuration file; never started
        self.config = load(self.daemon.config)
        (self.daemon.state / "ledger").mkdir()
        self.directory = AllowedDirectory(self.daemon.state / "allowed")
        self.directory.prepare()

    def run(self, *decisions: tuple[Verb, Fingerprint], edit: Callable[[], None] | None = None) -> bool:
        """Start, decide, publish, stop; tell whether all of it is live. edit: a hand in it, before publishing."""
        ledger = Ledger(self.daemon.state / "ledger")

        async def ask(request: Request) -> Answer:
            return client.ask(self.config.publish.via, self.config.file, request, 60)

        async def work() -> bool:
            publication = Publication(ledger, self.directory, ask, allowlist=self.config.allowlist, recorder=Records())
            if not decisions:
                await publication.start()
                await publication.reconcile()
            else:
                await publication.verify()
                ledger.decisions.decide([Decision(one, verb, "alice", 1) for verb, one in decisions])
                if edit is not None:
                    edit()
            await publication.settle()
            live = publication.live
            await publication.stop()
            return live

        try:
            return asyncio.run(work())
        finally:
            ledger.close()

    def wanted(self) -> set[str]:
        ledger = Ledger(self.daemon.state / "ledger")
        try:
            return set(ledger.publications.wanted())
        finally:
            ledger.close()

    def add_by_hand(self) -> None:
        text = self.exim.macro_file.read_text()
        with self.exim.macro_file.open("w") as stream:
            stream.write(text.replace("RELAY_FROM_CERTS =", f"RELAY_FROM_CERTS = {HAND} :", 1))


@pytest.fixture
def machine(exim: EximServer) -> Iterator[Machine]:
    return Machine(exim)


def points(calls: list[Call]) -> list[Call]:
    """Return the calls to be killed at: every one that changes something.

    Of the pages that SQLite appends to its log within one transaction only the first and the last are taken: until
    the last, which carries the commit, all of them are void (sqlite.org/walformat.html, "Reader Algorithm").
    EVERYWHERE=1 takes them all.
    """
    changing = [call for call in calls if call.changes()]
    if os.environ.get("EVERYWHERE"):
        return changing
    inner = {
        call
        for before, call, after in zip(changing, changing[1:], changing[2:], strict=False)
        if before.name == call.name == after.name == "pwrite64"
    }
    return [call for call in changing if call not in inner]


@pytest.mark.parametrize("hand", [False, True], ids=["alone", "with a hand edit"])
@pytest.mark.timeout(900)
def test_killed_at_any_system_call_exim_honours_one_of_two_lists_and_then_the_ledgers(
    machine: Machine, alice: Identity, mallory: Identity, *, hand: bool
) -> None:
    target, other = Fingerprint(alice.fingerprint), Fingerprint(mallory.fingerprint)
    port, edit = machine.exim.port, machine.add_by_hand if hand else None
    assert machine.run((Verb.APPROVE, other))
    assert machine.run()

    def work(verb: Verb) -> None:
        machine.run((verb, target), edit=edit)

    def settled(verb: Verb) -> None:
        """Bring the target where the verb brings it, and take the hand's fingerprint out."""
        wanted = machine.wanted()
        if (target in wanted) != (verb is Verb.APPROVE) or HAND in wanted:
            assert machine.run((verb, target), *([(Verb.REVOKE, HAND)] if HAND in wanted else []))

    calls = {}
    for verb in (Verb.APPROVE, Verb.REVOKE):
        trace, status = run_traced(partial(work, verb))
        assert os.waitstatus_to_exitcode(status) == 0
        assert (target in machine.wanted()) == (verb is Verb.APPROVE)
        settled(verb)
        calls[verb] = points(trace)
        assert len(calls[verb]) > 15

    killed = 0
    for approve, revoke in zip_longest(calls[Verb.APPROVE], calls[Verb.REVOKE]):
        for verb, call in ((Verb.APPROVE, approve), (Verb.REVOKE, revoke)):
            if call is None:
                continue
            _, status = run_traced(partial(work, verb), kill_at=call)
            killed += os.waitstatus_to_exitcode(status) < 0
            assert machine.exim.alive(), call
            # one of two lists: who is in both is honoured all the while, and nobody gets an error
            assert rcpt(port, mallory).accepted, call
            assert rcpt(port, alice).code in {250, 550}, call
            assert machine.run(), call
            wanted = machine.wanted()
            assert rcpt(port, alice).accepted == (target in wanted), call
            assert machine.directory.contents().fingerprints == wanted, call
            settled(verb)
    assert killed > 0.8 * sum(map(len, calls.values()))
