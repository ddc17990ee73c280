"""The loop of eximcertd-fleet, between a relay and a fleet that are both in memory."""

from __future__ import annotations

import itertools
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from lab.fleet import Fleet, TwinRelaySide, next_act
from lab.syncing import OFTEN, Relay, Syncing, fleet_to, reported
from lab.wait import until

from eximcertd.config import FleetSettings
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import OwnDecision, Sighted

if TYPE_CHECKING:
    from collections.abc import Callable

    from eximcertd.acts.act import Head


A = Fingerprint("A" * 64)


def test_a_relay_takes_what_is_decided_and_reports_it(fleet: Fleet, start: Callable[..., Syncing]) -> None:
    relay = Relay()
    start(relay, fleet_to(fleet))
    until(lambda: relay.acts == fleet.acts, "the relay has all acts")
    fleet.act("revoke", A)
    until(lambda: "mx1" in fleet.reports and reported(fleet).live == 4, "the fourth is reported as live")
    assert reported(fleet).received == 4
    assert relay.states[-1] == ("in-step", "")
    assert relay.backs == []


def test_what_exim_does_not_honour_yet_is_not_reported_as_live(fleet: Fleet, start: Callable[..., Syncing]) -> None:
    relay = Relay()
    relay.live = 2
    start(relay, fleet_to(fleet))
    until(lambda: "mx1" in fleet.reports and reported(fleet).received == 3, "three acts are reported")
    assert reported(fleet).live == 2
    relay.live = 3
    until(lambda: reported(fleet).live == 3, "it is live")


def test_what_is_decided_and_seen_on_the_relay_is_told_and_a_certificate_once(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    relay = Relay()
    own = OwnDecision("mx1", str(uuid.uuid4()), A, "revoke", "carol", 5, "", 2)
    relay.own = [own]
    relay.sighted = [Sighted("mx1", Fingerprint(f"{number:064X}"), 1, 1, 2) for number in range(1200)]
    start(relay, fleet_to(fleet))
    until(lambda: fleet.own.get("mx1") == [own] and len(fleet.sighted) == 1200, "all of it is told")
    relay.sighted.append(first := Sighted("mx1", A, 1, 1, 1, "[192.0.2.1]", "h", "a@x", "b@y", b"der"))
    until(lambda: fleet.sighted.get(("mx1", A)) == first, "the certificate is told")
    relay.sighted.append(Sighted("mx1", A, 2, 1, 7, der=b"der"))
    until(lambda: fleet.sighted["mx1", A].attempts == 2, "the next attempt is told")
    assert fleet.sighted["mx1", A].der is None
    relay.own = []
    until(lambda: fleet.own["mx1"] == [], "it is told that it is settled")


def test_many_acts_are_handed_over_in_portions_of_ten_thousand_fingerprints(start: Callable[..., Syncing]) -> None:
    fleet, relay = Fleet(), Relay()
    for size in (1, 4000, 6000, 10_000, 9_999, 1, 1):
        fleet.act("approve", *(f"{len(fleet.acts):04X}{number:060X}" for number in range(size)))
    start(relay, fleet_to(fleet))
    until(lambda: relay.acts == fleet.acts, "the relay has all acts")
    assert relay.portions == [2, 1, 1, 2, 1]


def test_a_relay_that_lacks_thousands_of_acts_takes_them_without_waiting_for_the_next_poll(
    start: Callable[..., Syncing],
) -> None:
    fleet, relay = Fleet(), Relay()
    for number in range(6000):
        fleet.acts.append(next_act(fleet.head(), "approve", f"{number:064X}"))
    relay.acts = fleet.acts[:10]
    start(relay, fleet_to(fleet), FleetSettings("mx1", service="x", poll=timedelta(hours=1), report=OFTEN))
    until(lambda: relay.acts == fleet.acts, "the relay has all acts", limit=60)
    until(lambda: "mx1" in fleet.reports and reported(fleet).live == 6000, "they are reported")


def test_however_often_a_fleet_notifies_it_is_looked_at_once_a_second_at_most(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    looks: list[float] = []

    class Loud(TwinRelaySide):
        def head(self) -> Head:
            looks.append(time.monotonic())
            return super().head()

        def wait(self, _: float) -> bool:
            return True

    hour = timedelta(hours=1)
    start(Relay(), lambda: Loud(fleet, "mx1"), FleetSettings("mx1", service="x", poll=hour, report=hour))
    until(lambda: len(looks) > 3, "it has looked four times", limit=30)
    assert min(later - earlier for earlier, later in itertools.pairwise(looks)) >= 1
