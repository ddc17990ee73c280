"""The loop of eximcertd-fleet in a thread, beside a relay in memory.

syncing = Syncing(relay := Relay(), lambda: fleet.relay("mx1"))
until(lambda: relay.acts == fleet.acts, "the relay has all acts")
syncing.stop()
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import Act, ActError, Head
from eximcertd.config import FleetSettings
from eximcertd.errors import EximcertdError
from eximcertd.fleet.local import News, Taken
from eximcertd.fleet.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.fleet.remote import OwnDecision, RelaySide, Report, Sighted
    from lab.fleet import Fleet
    from lab.home import Home

OFTEN: Final = timedelta(seconds=0.05)


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


def fleet_to(fleet: Fleet) -> Callable[[], RelaySide]:
    return lambda: fleet.relay("mx1")


def quick(home: Home) -> FleetSettings:
    return home.settings()._replace(poll=OFTEN, report=OFTEN)


def reported(fleet: Fleet) -> Report:
    return fleet.reports["mx1"][0]
