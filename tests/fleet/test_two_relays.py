"""Two relays with real Exims, eximcertds and eximcertd-fleets, and one directory of signed acts."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from lab.certificates import make
from lab.daemon import Eximcertd
from lab.exim import EximServer
from lab.fleet import next_act
from lab.fleet_process import FleetProcess, fleet_of
from lab.home import Home
from lab.smtp import ask
from lab.wait import until

from eximcertd.errors import Exit
from eximcertd.fingerprint import of_der
from eximcertd.fleet import files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from lab.certificates import Identity

    from eximcertd.acts.act import Act
    from eximcertd.fleet.remote import Report, Sighted


USER = "daemon"
"""Who eximcertd-fleet runs as: a user with no right but that one."""


class Pair:
    """Relays mx1, which does not report who its clients are, and mx2."""

    def __init__(self, stack: ExitStack, *clients: Identity) -> None:
        self.exims = {name: stack.enter_context(EximServer(trusted=clients)) for name in ("mx1", "mx2")}
        base = self.exims["mx1"].directory / "home"  # where other users can look
        base.mkdir(mode=0o755)
        self.home = Home(base)
        (relays := self.home.directory / "relays").mkdir()
        shutil.chown(relays, USER)
        self.daemons = {
            name: stack.enter_context(Eximcertd(exim, fleet_of(self.home, name, peers=name == "mx2", user=USER)))
            for name, exim in self.exims.items()
        }
        for daemon in self.daemons.values():
            stack.enter_context(FleetProcess(daemon, USER))

    def reports(self) -> dict[str, Report]:
        return {state.name: state.report for state in self.home.desk().relays() if state.report}

    def live(self, generation: int) -> bool:
        return {report.live for report in self.reports().values()} == {generation}

    def decide(self, verb: str, client: Identity, by: str = "alice", settles: Collection[str] = ()) -> Act:
        """Decide at the desk, and wait until both Exims honour it."""
        act = self.home.act(verb, client.fingerprint, by=by, settles=settles)
        until(lambda: self.live(act.generation), f"act {act.generation} is live on both relays", limit=60)
        return act

    def pending(self) -> list[Sighted]:
        return list(self.home.desk().pending(10))


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Make the certificate of a third client."""
    return make(tmp_path_factory.mktemp("bob"), "laptop.bob.example")


@pytest.fixture(scope="module")
def pair(alice: Identity, bob: Identity, mallory: Identity) -> Iterator[Pair]:
    """Run two relays that know the certificates of three clients."""
    with ExitStack() as stack:
        yield Pair(stack, alice, bob, mallory)


def test_what_the_desk_decides_holds_on_both_relays(pair: Pair, alice: Identity) -> None:
    one, two = pair.exims.values()
    assert ask(one.port, alice).refused
    seen = until(pair.pending, "it waits in the fleet's queue", limit=30)
    assert [(entry.relay, entry.fingerprint, entry.attempts) for entry in seen] == [("mx1", alice.fingerprint, 1)]
    assert seen[0].der is not None
    assert of_der(seen[0].der) == alice.fingerprint
    assert seen[0].host is seen[0].helo is seen[0].sender is seen[0].recipient is None  # peers = false
    assert ask(two.port, alice).refused
    until(lambda: len(pair.pending()) == 2, "mx2 has seen it too", limit=30)
    assert {entry.helo for entry in pair.pending()} == {None, "client.lab.example"}
    pair.decide("approve", alice)
    assert ask(one.port, alice).accepted
    assert ask(two.port, alice).accepted
    assert not pair.pending()
    act = pair.decide("revoke", alice, by="bob")
    assert ask(one.port, alice).refused
    assert ask(two.port, alice).refused
    history = pair.daemons["mx2"].json("history", alice.fingerprint)
    assert [(entry["verb"], entry["by"], entry["generation"]) for entry in history] == [
        ("revoke", "bob", act.generation),
        ("approve", "alice", act.generation - 1),
    ]
    assert pair.daemons["mx1"].status()["fleet"]["link"]["state"] == "in-step"


def test_a_forged_act_is_taken_by_no_relay_and_told(pair: Pair, mallory: Identity) -> None:
    home = pair.home
    head = home.desk().head()
    forged = next_act(head, "approve", mallory.fingerprint)
    number = forged.generation
    for text, signed in ((forged, home.signed(forged, "bob")), (forged, home.signed(replace(forged, note="x")))):
        with files.opened(home.directory / "acts") as acts:
            files.write(acts, home.file(number, ".sig").name, home.armor(signed))
            files.write(acts, home.file(number).name, text.text())
        until(lambda: all(f"act {number}" in one.problem for one in pair.reports().values()), "both tell it", limit=30)
        assert ask(pair.exims["mx1"].port, mallory).refused
        assert pair.live(head.generation)
    home.file(number).unlink()
    pair.decide("reject", mallory)
    until(lambda: not any(one.problem for one in pair.reports().values()), "both go on", limit=60)


def test_a_relay_that_was_away_follows_and_what_was_decided_there_is_settled_by_name(pair: Pair, bob: Identity) -> None:
    two = pair.daemons["mx2"]
    act = pair.decide("approve", bob)
    gone = pair.home.base / "gone"
    pair.home.directory.rename(gone)
    try:
        until(lambda: two.status()["fleet"]["link"]["state"] == "away", "mx2 tells that it is away", limit=30)
        done = two.ctl("revoke", bob.fingerprint)  # here at once, and open, since the fleet does not answer
        assert done.returncode == Exit.NOT_YET_LIVE, done.stderr
        assert ask(pair.exims["mx2"].port, bob).refused
        assert ask(pair.exims["mx1"].port, bob).accepted
    finally:
        gone.rename(pair.home.directory)
    (own,) = until(lambda: pair.home.desk().own(), "the decision is told", limit=60)
    assert (own.relay, own.verb, own.fingerprint, own.base) == ("mx2", "revoke", bob.fingerprint, act.generation)
    pair.decide("revoke", bob, settles=[own.id])
    until(lambda: {one.own for one in pair.reports().values()} == {0}, "it is settled", limit=60)
    assert ask(pair.exims["mx1"].port, bob).refused


def test_what_a_restored_directory_has_lost_stays_on_the_relays_until_it_is_settled(pair: Pair, bob: Identity) -> None:
    lost = pair.decide("approve", bob)
    for end in ("", ".sig"):
        pair.home.file(lost.generation, end).unlink()
    other = pair.decide("reject", make(pair.home.base / "other", "other.example"))
    assert other.generation == lost.generation
    until(lambda: len(pair.home.desk().own()) == 2, "both relays tell what was lost", limit=60)
    own = pair.home.desk().own()
    assert {(one.relay, one.verb, one.fingerprint, one.lost) for one in own} == {
        (name, "approve", bob.fingerprint, True) for name in ("mx1", "mx2")
    }
    assert ask(pair.exims["mx2"].port, bob).accepted
    pair.decide("approve", bob, settles=[one.id for one in own])
    until(lambda: {one.own for one in pair.reports().values()} == {0}, "it is settled", limit=60)
    assert ask(pair.exims["mx2"].port, bob).accepted
