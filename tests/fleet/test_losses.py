"""What eximcertd-fleet does where the fleet lacks acts that the relay has, or has other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lab.fleet import Fleet, TwinRelaySide, next_act
from lab.home import Home
from lab.syncing import Relay, Syncing, fleet_to, quick, reported
from lab.wait import until

from eximcertd.acts.act import Act, ActError, Head
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import Sighted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


A, B, C = (Fingerprint(digit * 64) for digit in "ABC")


@pytest.mark.parametrize("lost_to", [0, 1, 2, 3, 4])
def test_a_database_that_has_lost_acts_is_followed_from_the_last_that_both_have(
    lost_to: int, start: Callable[..., Syncing]
) -> None:
    fleet, relay = Fleet(), Relay()
    relay.acts = [fleet.act("approve", f"{number:064X}") for number in range(5)]
    fleet.lose(lost_to)
    start(relay, fleet_to(fleet))
    until(lambda: relay.acts == fleet.acts, "the relay has what the fleet has")
    assert relay.backs == [lost_to]


@pytest.mark.parametrize(("lost_to", "then"), [(0, 3), (2, 3), (4, 1), (4, 9), (1, 60)])
def test_a_database_that_has_other_acts_since_is_followed_from_the_last_that_both_have(
    lost_to: int, then: int, start: Callable[..., Syncing]
) -> None:
    fleet, relay = Fleet(), Relay()
    relay.acts = [fleet.act("approve", f"{number:064X}") for number in range(5)]
    fleet.lose(lost_to)
    for number in range(then):
        fleet.act("reject", f"{number + 100:064X}")
    start(relay, fleet_to(fleet))
    until(lambda: relay.acts == fleet.acts, "the relay has what the fleet has")
    assert relay.backs == [lost_to]
    until(lambda: "mx1" in fleet.reports and reported(fleet).received == lost_to + then, "it is reported")


class Overwritten(TwinRelaySide):
    """Somebody has written over its second act in the database."""

    def acts(self, after: int, most: int) -> Sequence[Act]:
        if after == 1:
            raise ActError("an act is malformed: its text is not the canonical one")
        return super().acts(after, most)


def test_an_act_that_is_overwritten_is_no_loss_and_the_relay_is_told_that_it_is_away(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    relay = Relay()
    relay.acts = fleet.acts[:2]
    start(relay, lambda: Overwritten(fleet, "mx1"))
    told = "act 2 is not the one that this relay has: an act is malformed: its text is not the canonical one"
    until(lambda: ("away", told) in relay.states, "it is told")
    assert reported(fleet).problem == told
    assert (relay.acts, relay.backs) == (fleet.acts[:2], [])


def test_after_a_loss_the_fleet_is_told_again_what_the_relay_has_seen(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    relay = Relay()
    relay.sighted = [seen := Sighted("mx1", A, 1, 1, 1, der=b"der")]
    start(relay, fleet_to(fleet))
    until(lambda: relay.acts == fleet.acts and fleet.sighted, "all is told")
    with fleet.changed:
        fleet.lose(2)
        fleet.sighted.clear()
    until(lambda: fleet.sighted == {("mx1", A): seen}, "it is told again, with the certificate")


def test_a_directory_that_is_not_up_to_date_is_no_loss(tmp_path: Path, start: Callable[..., Syncing]) -> None:
    home, relay = Home(tmp_path), Relay()
    relay.acts = [home.act("approve", A), home.act("approve", B)]
    aside = tmp_path / "aside"
    acts = home.directory / "acts"
    start(relay, lambda: home.relay("mx1"), quick(home))
    until(lambda: relay.states and relay.states[-1] == ("in-step", ""), "it is in step")
    home.file(2).rename(aside)
    told = "the directory is not up to date: it ends with act 1, and this relay has act 2"
    until(lambda: relay.states[-1] == ("in-step", told), "it is told")
    aside.rename(home.file(2))
    until(lambda: relay.states[-1] == ("in-step", ""), "it is in step again")
    acts.rename(aside)
    told = "the directory is not up to date: it ends with act 0, and this relay has act 2"
    until(lambda: relay.states[-1] == ("in-step", told), "it is told")
    home.act("reject", C)  # somebody decides on an empty disk that was not mounted
    told = "the directory has other acts from the first one on: it ends with act 1, and this relay has act 2"
    until(lambda: relay.states[-1] == ("in-step", told), "it is told")
    assert relay.backs == []
    assert len(relay.acts) == 2


def test_other_acts_in_a_restored_directory_are_followed(tmp_path: Path, start: Callable[..., Syncing]) -> None:
    home, relay = Home(tmp_path), Relay()
    relay.acts = [home.act("approve", A), home.act("approve", B)]
    home.file(2).unlink()
    other = home.act("reject", B)
    start(relay, lambda: home.relay("mx1"), quick(home))
    until(lambda: relay.acts[1:] == [other], "the relay has the other act")
    assert relay.backs == [1]


def test_a_fleet_that_does_not_give_what_it_says_it_has_is_not_believed(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    class Liar(type(fleet.relay("mx1"))):  # type: ignore[misc]
        def acts(self, after: int, most: int) -> Sequence[Act]:
            return [] if most == 1 else super().acts(after, most)

    relay = Relay()
    relay.acts = [next_act(Head(), "approve", B)]
    start(relay, lambda: Liar(fleet, "mx1"))
    until(lambda: ("away", "the fleet has acts up to 3, but does not return act 1") in relay.states, "it is told")
    assert relay.backs == []
