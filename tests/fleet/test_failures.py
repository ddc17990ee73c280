"""What eximcertd-fleet does where the fleet or the relay does not answer, or refuses."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from lab.home import Home
from lab.syncing import Relay, Syncing, fleet_to, quick, reported
from lab.wait import until

from eximcertd.errors import EximcertdError, NoAnswerError, NotPermittedError
from eximcertd.fingerprint import Fingerprint
from eximcertd.fleet.remote import ActRefusedError, OwnDecision, RemoteError, Report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.fleet import Fleet


A = Fingerprint("A" * 64)


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
