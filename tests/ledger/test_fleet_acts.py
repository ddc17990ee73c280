"""Acts of a fleet in the ledger count in their order; a decision of the relay holds until an act settles it."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide
from lab.fleet import next_act
from lab.records import Records

from eximcertd.acts.act import Head
from eximcertd.decisions.acts import ActTaker
from eximcertd.decisions.decide import Decider
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import OwnDecision
from eximcertd.ledger import Ledger
from eximcertd.ledger.publications import Confirmed
from eximcertd.log.sighting import Sighting
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from eximcertd.acts.act import Act
    from eximcertd.ledger.fleet import FleetActs

A, B, C, D, E = (Fingerprint(digit * 64) for digit in "12345")
HOUR = 3_600_000
MANY = [Fingerprint(f"{number:064X}") for number in range(1, 2502)]


class Relay:
    """A ledger that takes acts, and the chain that a desk appends to."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.records = Records()
        self.max_shrink = 50
        self.open()

    def open(self) -> None:
        """Open the ledger, as a start of eximcertd does."""
        self.ledger = Ledger(self.directory)
        self.ledger.join_fleet("mx1")
        assert self.ledger.fleet is not None
        self.fleet: FleetActs = self.ledger.fleet
        decider = Decider(self.ledger, self.records)
        self.taker = ActTaker(self.fleet, decider, self.records, self._authority, lambda: self.max_shrink)

    def restart(self) -> None:
        """Close the ledger and open it again."""
        self.ledger.close()
        self.open()

    def take(self, *acts: Act) -> bool:
        """Take acts; return whether one is held."""
        return asyncio.run(self.taker.take(acts))[1]

    def act(self, verb: str, *names: str, settles: tuple[str, ...] = (), at: int | None = None) -> Act:
        """Take one more act, and return it."""
        act = next_act(self.fleet.head(), verb, *names, settles=settles)
        if at is not None:
            act = replace(act, at=at)
        assert not self.take(act)
        return act

    def back_to(self, generation: int) -> None:
        """Learn that the fleet has lost what is after a generation."""
        asyncio.run(self.taker.go_back(generation))

    def status(self, name: Fingerprint) -> Status:
        """Return the status of a fingerprint."""
        return self.ledger.entries.get(name).status

    def own(self, name: Fingerprint) -> str:
        """Return the id of the open decision of this relay on a fingerprint, or ""."""
        rows = self.fleet.news.own_among([name])
        return rows[0].id if rows else ""

    def publish(self) -> None:
        """Publish, as a daemon does."""
        publications = self.ledger.publications
        publications.confirm(publications.begin("list", 1), Confirmed("list", "digest", 1, 1, 1), "live")

    async def _authority(self, _: Act) -> str:
        return ""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(tmp_path / "ledger")
    yield relay
    relay.ledger.close()


def test_an_act_decides_with_its_name_and_number_and_is_no_decision_of_this_relay(relay: Relay) -> None:
    relay.act("approve", A, B)
    entry = relay.ledger.entries.get(A)
    assert entry.decision is not None
    assert (entry.status, entry.decision.by, entry.decision.generation, entry.here) == (
        Status.APPROVED, "alice", 1, False
    )  # fmt: skip
    assert relay.ledger.publications.wanted() == [A, B]
    assert relay.fleet.news.own_count() == 0
    assert relay.records.events() == [Event.APPROVED, Event.APPROVED]


def test_acts_count_in_their_order_and_never_by_a_clock(relay: Relay) -> None:
    ahead = int(time.time() * 1000) + HOUR
    decide(relay.ledger, Verb.APPROVE, A, at=ahead)
    relay.act("revoke", A)
    assert relay.status(A) is Status.REVOKED, "the relay's clock is an hour ahead"
    relay.act("approve", B)
    relay.act("revoke", B, at=1)
    assert relay.status(B) is Status.REVOKED, "and a desk's is years behind"


def test_an_own_revocation_holds_until_an_act_names_it(relay: Relay) -> None:
    relay.act("approve", A)
    decide(relay.ledger, Verb.REVOKE, A)
    own = relay.own(A)
    relay.act("approve", A)
    assert (relay.status(A), relay.own(A)) == (Status.REVOKED, own), "nobody at the desk knew of it"
    history = [decision.generation for _, decision in relay.ledger.decisions.history(A)]
    assert history == [1, None, 2], "what the fleet decided is kept all the same"
    relay.act("approve", A, settles=(own,))
    assert (relay.status(A), relay.own(A)) == (Status.APPROVED, "")


def test_the_id_of_an_own_decision_tells_whether_it_refuses(relay: Relay, tmp_path: Path) -> None:
    decide(relay.ledger, Verb.APPROVE, A)
    decide(relay.ledger, Verb.REJECT, B)
    relay.act("approve", C, D)
    decide(relay.ledger, Verb.REVOKE, C)
    relay.act("revoke", D)
    relay.back_to(1)
    ids = {name: relay.own(name) for name in (A, B, C, D)}
    (tmp_path / "joins").mkdir()
    with closing(Ledger(tmp_path / "joins")) as joins:
        decide(joins, Verb.REJECT, E)
        joins.join_fleet("mx2")
        assert joins.fleet
        ids[E] = joins.fleet.news.own_among([E])[0].id
    told = {name: OwnDecision("mx1", one, name, "approve", "carol", 1, "", 0).refuses for name, one in ids.items()}
    assert told == {A: False, B: True, C: True, D: True, E: True}


def test_an_own_approval_holds_unless_a_newer_act_says_otherwise(relay: Relay) -> None:
    relay.act("reject", A)
    decide(relay.ledger, Verb.APPROVE, A)
    assert relay.status(A) is Status.APPROVED
    own = relay.own(A)
    relay.act("revoke", A)
    assert (relay.status(A), relay.own(A)) == (Status.REVOKED, own), "it stays open until somebody settles it"
    relay.act("approve", A)
    assert relay.status(A) is Status.APPROVED


def test_an_act_settles_what_it_names_on_its_own_fingerprints_only(relay: Relay) -> None:
    decide(relay.ledger, Verb.REJECT, A, B)
    relay.act("approve", B, settles=tuple(sorted((relay.own(A), relay.own(B)))))
    assert (relay.status(A), relay.status(B)) == (Status.REJECTED, Status.APPROVED)
    assert relay.own(A)


def test_the_decisions_before_a_relay_joins_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    alone = Ledger(tmp_path / "ledger")
    alone.sightings.record("file", "1", [Sighting(C, 1, 1000, 1000)], lambda _: True)
    decide(alone, Verb.APPROVE, A)
    decide(alone, Verb.REJECT, B)
    alone.close()
    relay = Relay(tmp_path / "ledger")
    assert [(one.fingerprint, one.verb, one.base) for one in relay.fleet.news.own(10)] == [
        (B, "reject", 0), (A, "approve", 0)
    ]  # fmt: skip
    assert [one.fingerprint for one in relay.fleet.news.sighted(0, 10)] == [C]
    relay.act("approve", B)
    assert relay.status(B) is Status.REJECTED, "a rejection from before is one of this relay"
    ids = relay.own(A), relay.own(B)
    relay.restart()
    assert (relay.own(A), relay.own(B)) == ids, "a restart makes nothing new"
    relay.ledger.close()


def test_a_relay_that_leaves_stores_nothing_and_joins_again_with_what_it_decided(relay: Relay) -> None:
    relay.act("approve", A)
    relay.ledger.close()
    alone = Ledger(relay.directory)
    alone.join_fleet(None)
    decide(alone, Verb.REVOKE, A)
    alone.sightings.record("file", "1", [Sighting(C, 1, 1000, 1000)], lambda _: True)
    alone.close()
    relay.open()
    assert relay.own(A), "the revocation without the fleet holds in it"
    relay.act("approve", A)
    assert relay.status(A) is Status.REVOKED
    assert [one.fingerprint for one in relay.fleet.news.sighted(0, 10)] == [C]


def test_a_large_act_is_finished_after_a_crash_in_its_middle(relay: Relay) -> None:
    act = next_act(Head(), "approve", *MANY)
    relay.fleet.apply([act], lambda *_: False)
    assert 0 < len(relay.ledger.publications.wanted()) < len(MANY)
    assert (relay.fleet.head().generation, relay.fleet.applied()) == (1, 0)
    decide(relay.ledger, Verb.REJECT, MANY[-1])
    decide(relay.ledger, Verb.REVOKE, MANY[0])
    relay.restart()
    asyncio.run(relay.taker.finish())
    assert relay.fleet.applied() == 1
    assert relay.ledger.publications.wanted() == MANY[1:-1]
    bases = {one.fingerprint: one.base for one in relay.fleet.news.own(10)}
    assert bases == {MANY[0]: 1, MANY[-1]: 0}, "each knew the act as far as it was applied to it"
    assert len(relay.ledger.decisions.history(limit=5000)) == len(MANY) + 2, "and nothing is there twice"


def test_lost_acts_become_decisions_of_this_relay_and_change_nobodys_status(relay: Relay) -> None:
    relay.act("approve", A, B, C)
    decide(relay.ledger, Verb.REVOKE, C)
    kept = relay.own(C)
    relay.act("revoke", A)
    relay.act("approve", D)
    relay.act("approve", C)
    before = {name: relay.status(name) for name in (A, B, C, D, E)}
    relay.back_to(1)
    assert {name: relay.status(name) for name in (A, B, C, D, E)} == before
    assert relay.fleet.head().generation == 1
    lost = {one.fingerprint: (one.verb, one.base, one.lost) for one in relay.fleet.news.own(10)}
    assert lost == {A: ("revoke", 1, True), D: ("approve", 1, True), C: ("revoke", 1, False)}
    assert relay.own(C) == kept
    assert Event.FLEET_LOST_ACTS in relay.records.events()
    relay.act("revoke", D)
    relay.act("approve", A)
    assert (relay.status(D), relay.status(A)) == (Status.REVOKED, Status.REVOKED)


def test_a_rebase_is_finished_after_a_crash_in_its_middle(relay: Relay) -> None:
    for name in (A, B, C):
        relay.act("approve", name)
    relay.fleet.go_back(0)
    relay.restart()
    asyncio.run(relay.taker.finish())
    assert relay.fleet.head() == Head()
    assert len(relay.fleet.news.own(10)) == 3
    assert relay.ledger.publications.wanted() == [A, B, C]


def test_an_act_that_takes_too_many_off_the_list_waits_for_a_person(relay: Relay) -> None:
    names = MANY[:20]
    relay.act("approve", *names)
    relay.publish()
    few, many = next_act(relay.fleet.head(), "revoke", *names[:3]), names[3:15]
    relay.max_shrink = 10
    assert not relay.take(few), "three may always go"
    act = next_act(relay.fleet.head(), "revoke", *many)
    assert relay.take(act)
    assert relay.take(act)
    assert (relay.status(many[0]), relay.fleet.head().generation) == (Status.APPROVED, 2)
    assert relay.records.events().count(Event.FLEET_ACT_HELD) == 1, "it is told once"
    relay.fleet.set_fact("accepted", relay.fleet.fact("held"))
    assert not relay.take(act)
    assert (relay.status(many[0]), relay.fleet.fact("held")) == (Status.REVOKED, "")


def test_what_exim_never_honoured_is_not_taken_off_its_list(relay: Relay) -> None:
    relay.act("approve", *MANY[:20])
    assert not relay.take(next_act(relay.fleet.head(), "revoke", *MANY[:20])), "a new relay reads the past"


def test_the_clients_that_wait_are_told_in_the_order_in_which_they_changed(relay: Relay) -> None:
    def see(*names: Fingerprint) -> None:
        relay.ledger.sightings.record("file", "1", [Sighting(one, 1, 1000, 2000) for one in names], lambda _: True)

    see(A, B, C)
    first = relay.fleet.news.sighted(0, 2)
    assert [one.fingerprint for one in first] == [A, B]
    see(A)
    rest = relay.fleet.news.sighted(first[-1].number, 10)
    assert [(one.fingerprint, one.attempts, one.last_seen) for one in rest] == [(C, 1, 2000), (A, 2, 2000)]
    decide(relay.ledger, Verb.APPROVE, C)
    see(C)
    assert not relay.fleet.news.sighted(rest[-1].number, 10), "who is decided does not wait"


def test_the_revision_changes_with_every_change_of_the_open_decisions(relay: Relay) -> None:
    seen = [relay.fleet.news.revision()]
    relay.act("approve", A)
    seen.append(relay.fleet.news.revision())
    decide(relay.ledger, Verb.REVOKE, A)
    seen.append(relay.fleet.news.revision())
    relay.back_to(0)
    seen.append(relay.fleet.news.revision())
    assert len(set(seen)) == len(seen)


def test_an_undo_does_not_concern_what_the_fleet_decided(relay: Relay) -> None:
    decide(relay.ledger, Verb.REJECT, A)
    relay.act("approve", B)
    assert [one.fingerprint for one in relay.ledger.decisions.last_by("alice")] == [A]


def test_a_caller_cannot_pass_a_decision_off_as_one_of_the_fleet(relay: Relay) -> None:
    act = relay.act("approve", A)
    decide(relay.ledger, Verb.REVOKE, A, request=f"fleet {act.hash()[:32]}")
    assert relay.own(A)
