"""The loop of eximcertd-fleet, between a relay and a fleet that are both in memory."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from lab.fleet import Fleet, TwinRelaySide, next_act
from lab.home import Home
from lab.wait import until

from eximcertd.acts.act import Act, ActError, Head
from eximcertd.config import FleetSettings
from eximcertd.errors import EximcertdError, NoAnswerError, NotPermittedError
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.local import News, Taken
from eximcertd.fleet.remote import ActRefusedError, OwnDecision, RemoteError, Report, Sighted
from eximcertd.fleet.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from eximcertd.fleet.remote import RelaySide

A, B, C = (Fingerprint(digit * 64) for digit in "ABC")

OFTEN = timedelta(seconds=0.05)


class Relay:
    """A relay in memory, as eximcertd-fleet sees it. away: the error of each call. held: the act that it holds."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.backs: list[int] = []
        self.live: int | None = None
        self.own: list[OwnDecision] = []
        self.sighted: list[Sighted] = []
        self.states: list[tuple[str, str]] = []
        self.held: int | None = None
        self.away: EximcertdError | None = None
        self.refused = ""
        self.portions: list[int] = []

    def head(self) -> Head:
        return Head(self.acts[-1].generation, self.acts[-1].hash()) if self.acts else Head()

    def _reached(self) -> None:
        if self.away:
            raise self.away

    def news(self, revision: str | None, cursor: str | None) -> News:
        self._reached()
        now = str(hash(tuple(self.own)))
        after = int(cursor or 0)
        sighted = tuple(self.sighted[after : after + 500])
        own = None if revision == now else tuple(self.own)
        head = self.head()
        live = head.generation if self.live is None else self.live
        return News(head, live, len(self.own), own, now, sighted, str(after + len(sighted)), 0, "")

    def hashes(self, generations: Sequence[int]) -> Sequence[str]:
        self._reached()
        return [self.acts[generation - 1].hash() for generation in generations]

    def take(self, acts: Sequence[Act], back_to: int | None) -> Taken:
        self._reached()
        self.portions.append(len(acts))
        if back_to is not None:
            del self.acts[back_to:]
            self.backs.append(back_to)
        for act in acts:
            if self.refused:
                raise EximcertdError(self.refused)
            if act.generation == self.held:
                return Taken(self.head().generation, self.held)
            try:
                self.head().followed_by(act)
            except ActError as error:
                raise EximcertdError(str(error)) from None
            self.acts.append(act)
        return Taken(self.head().generation, None)

    def state(self, state: str, since: int, problem: str) -> None:
        self._reached()
        assert since > 0
        self.states.append((state, problem))


class StoppedError(BaseException):
    """Ends the loop of a test."""


class Syncing:
    """A Sync in a thread. answers: how often the fleet has answered."""

    def __init__(self, relay: Relay, connect: Callable[[], RelaySide], settings: FleetSettings | None = None) -> None:
        self.relay = relay
        self.answers = 0
        self.said: list[str] = []
        self._stopped = False
        self._connect = connect
        settings = settings or FleetSettings("mx1", service="x", poll=OFTEN, report=OFTEN)
        self._sync = Sync(relay, self._connected, settings, self._answered, self._say)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _connected(self) -> RelaySide:
        self._check()
        return self._connect()

    def _run(self) -> None:
        with suppress(StoppedError):
            self._sync.run()

    def _check(self) -> None:
        if self._stopped:
            raise StoppedError

    def _answered(self) -> None:
        self.answers += 1
        self._check()

    def _say(self, sentence: str) -> None:
        self._check()
        self.said.append(sentence)

    def stop(self) -> None:
        self._stopped = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def fleet() -> Fleet:
    """Make a fleet with three acts."""
    fleet = Fleet()
    for one in (A, B, C):
        fleet.act("approve", one)
    return fleet


@pytest.fixture
def start() -> Iterator[Callable[..., Syncing]]:
    """Start a loop; it ends with the test."""
    every: list[Syncing] = []

    def begin(*arguments: Any) -> Syncing:
        every.append(Syncing(*arguments))
        return every[-1]

    yield begin
    for one in every:
        one.stop()


def fleet_to(fleet: Fleet) -> Callable[[], RelaySide]:
    return lambda: fleet.relay("mx1")


def quick(home: Home) -> FleetSettings:
    return home.settings()._replace(poll=OFTEN, report=OFTEN)


def reported(fleet: Fleet) -> Report:
    return fleet.reports["mx1"][0]


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


def test_a_fleet_that_is_away_is_told_with_its_reason_and_followed_again(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    relay = Relay()
    fleet.away = "no route to host"
    syncing = start(relay, fleet_to(fleet))
    until(lambda: ("away", "the fleet does not answer: no route to host") in relay.states, "it is told")
    fleet.away = ""
    until(lambda: relay.acts == fleet.acts, "the relay has all acts", limit=20)
    until(lambda: relay.states[-1] == ("in-step", ""), "it is in step")
    assert [one for one in syncing.said if one.startswith("away")] == [
        "away from the fleet: the fleet does not answer: no route to host"
    ]


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


def test_an_act_that_the_relay_holds_or_refuses_is_the_problem_that_is_reported(
    fleet: Fleet, start: Callable[..., Syncing]
) -> None:
    relay = Relay()
    relay.held = 3
    start(relay, fleet_to(fleet))
    told = 'act 3 waits for "eximcertctl fleet accept 3" on this relay'
    until(lambda: "mx1" in fleet.reports and reported(fleet).problem == told, "it is reported")
    assert reported(fleet).received == 2
    relay.held, relay.refused = None, "act 3 by mallory is not signed"
    until(lambda: "this relay refuses what follows act 2: act 3 by mallory" in reported(fleet).problem, "so is this")
    assert ("in-step", reported(fleet).problem) in relay.states
    relay.refused = ""
    until(lambda: reported(fleet).received == 3 and not reported(fleet).problem, "it is taken")


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


@pytest.mark.parametrize(
    "error",
    [NoAnswerError("eximcertd does not answer: no process listens there"), NotPermittedError("only eximcertd-fleet")],
)
def test_the_fleet_is_told_that_this_relay_does_not_answer(
    fleet: Fleet, start: Callable[..., Syncing], error: EximcertdError
) -> None:
    relay = Relay()
    syncing = start(relay, fleet_to(fleet))
    until(lambda: "mx1" in fleet.reports and reported(fleet).received == 3, "it is in step")
    relay.away = error
    until(lambda: reported(fleet).problem == str(error), "the fleet is told")
    assert reported(fleet).received == 3
    assert str(error) in syncing.said
    relay.away = None
    fleet.act("revoke", A)
    until(lambda: reported(fleet).received == 4 and not reported(fleet).problem, "it is followed again", limit=20)


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


class Deaf:
    """A fleet that answers nothing. asked: set once it was asked; free: ends the silence."""

    complete = True

    def __init__(self) -> None:
        self.asked, self.free = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*_: object) -> None:
            if name != "close":
                self.asked.set()
                self.free.wait()
                raise RemoteError("at last")

        return call


def test_a_fleet_that_is_deaf_feeds_no_watchdog(start: Callable[..., Syncing]) -> None:
    deaf = Deaf()
    syncing = start(Relay(), lambda: deaf)
    assert deaf.asked.wait(10)
    assert syncing.answers == 0
    deaf.free.set()
    until(lambda: syncing.answers, "the error counts")


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


def test_a_fleet_that_takes_no_report_keeps_no_act_back(tmp_path: Path, start: Callable[..., Syncing]) -> None:
    home, relay = Home(tmp_path), Relay()
    home.act("approve", A)
    (home.directory / "relays/mx1.json").mkdir(parents=True)  # in the place of the file
    start(relay, lambda: home.relay("mx1"), quick(home))
    until(lambda: len(relay.acts) == 1, "the relay has the act")
    until(lambda: relay.states and relay.states[-1][0] == "away", "it is told")
    home.act("revoke", A)
    until(lambda: len(relay.acts) == 2, "the relay has the next act", limit=20)
    assert relay.states[-1][1].endswith("Is a directory")


def test_an_act_that_cannot_be_read_keeps_no_report_back(tmp_path: Path, start: Callable[..., Syncing]) -> None:
    home, relay = Home(tmp_path), Relay()
    home.act("approve", A)
    home.file(1).write_text("torn")
    relay.own = [own := OwnDecision("mx1", str(uuid.uuid4()), A, "revoke", "carol", 5, "", 0)]
    syncing = start(relay, lambda: home.relay("mx1"), quick(home))
    until(lambda: relay.states, "it is told")
    assert relay.states[0][0] == "away"
    desk = home.desk()
    home.file(1).unlink()
    (state,) = desk.relays()
    assert state.report is not None
    assert "00000001.act: an act is malformed" in state.report.problem
    assert list(desk.own()) == [own]
    assert len(syncing.said) == 1


def test_a_role_without_the_right_is_told(fleet: Fleet, start: Callable[..., Syncing]) -> None:
    class Powerless(type(fleet.relay("mx1"))):  # type: ignore[misc]
        def report(self, _: Report) -> None:
            raise ActRefusedError("permission denied for function report")

    relay = Relay()
    start(relay, lambda: Powerless(fleet, "mx1"))
    until(lambda: ("away", "permission denied for function report") in relay.states, "it is told")
    assert relay.acts == fleet.acts
