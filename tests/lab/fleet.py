"""A fleet in memory, with the two sides that a transport has, and acts for tests.

    fleet = Fleet()
    fleet.act("approve", A)                         # decided at a desk
    relay, desk = fleet.relay("mx1"), fleet.desk("alice")

``fleet.away`` is the reason why it cannot be reached, or ""; ``fleet.lose(7)`` takes it back to generation 7.
"""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Final

from eximcertd.acts.act import Act, Head, checked
from eximcertd.fleet.remote import (
    ActRefusedError,
    MovedError,
    OwnDecision,
    RelayState,
    RemoteError,
    Report,
    Sighted,
)
from eximcertd.fleet.rules import queue, refusal
from eximcertd.status import OF_AUTHORITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from eximcertd.fingerprint import Fingerprint


def now() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


def next_act(
    head: Head,
    verb: str,
    *fingerprints: str,
    by: str = "alice",
    note: str = "",
    settles: Collection[str] = (),
    detail: str = "",
) -> Act:
    """Return the act that follows a head."""
    names: tuple[Fingerprint, ...] = tuple(sorted(set(fingerprints)))  # type: ignore[arg-type]
    settled = tuple(sorted(settles))
    request = str(uuid.uuid4())
    return checked(Act(head.generation + 1, head.hash, verb, by, now(), request, names, note, settled, detail))


class Fleet:
    """What the relays and the desks share. acts: in order. own, reports: by relay. away: why it does not answer."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.own: dict[str, list[OwnDecision]] = {}
        self.sighted: dict[tuple[str, Fingerprint], Sighted] = {}
        self.reports: dict[str, tuple[Report, int]] = {}
        self.away = ""
        self.changed: Final = threading.Condition()

    def relay(self, name: str) -> TwinRelaySide:
        """Return the relay's side."""
        return TwinRelaySide(self, name)

    def desk(self, who: str = "alice") -> TwinDesk:
        """Return the desk of a person."""
        return TwinDesk(self, who)

    def act(
        self, verb: str, *fingerprints: str, by: str = "alice", note: str = "", settles: Collection[str] = ()
    ) -> Act:
        """Decide, as a person at a desk, and return the act."""
        desk = self.desk(by)
        act = next_act(desk.head(), verb, *fingerprints, by=by, note=note, settles=settles)
        desk.decide(act)
        return act

    def lose(self, generation: int) -> None:
        """Lose every act after a generation, as a restored backup does."""
        with self.changed:
            del self.acts[generation:]

    def reached(self) -> None:
        """Raise RemoteError if it cannot be reached."""
        if self.away:
            raise RemoteError(f"the fleet does not answer: {self.away}")

    def head(self) -> Head:
        """Return where the chain ends."""
        return Head(self.acts[-1].generation, self.acts[-1].hash()) if self.acts else Head()

    def open(self) -> list[OwnDecision]:
        """Return the open own decisions of all relays."""
        settled = {(one, name) for act in self.acts for one in act.settles for name in act.fingerprints}
        return [one for ones in self.own.values() for one in ones if (one.id, one.fingerprint) not in settled]


class TwinRelaySide:
    """A relay's side. See eximcertd.fleet.remote.RelaySide."""

    complete = True

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet = fleet
        self._name = name
        self._looked = 0
        self.closed = False

    def head(self) -> Head:
        self._fleet.reached()
        return self._fleet.head()

    def acts(self, after: int, most: int) -> Sequence[Act]:
        self._fleet.reached()
        with self._fleet.changed:
            self._looked = len(self._fleet.acts)
            return tuple(self._fleet.acts[after : after + most])

    def tell(self, own: Sequence[OwnDecision]) -> None:
        self._fleet.reached()
        assert all(one.relay == self._name for one in own)
        self._fleet.own[self._name] = list(own)

    def sight(self, sighted: Sequence[Sighted]) -> None:
        self._fleet.reached()
        assert len(sighted) <= 500
        assert all(one.relay == self._name for one in sighted)
        self._fleet.sighted |= {(one.relay, one.fingerprint): one for one in sighted}

    def report(self, report: Report) -> None:
        self._fleet.reached()
        self._fleet.reports[self._name] = report, now() // 1000

    def wait(self, seconds: float) -> bool:
        with self._fleet.changed:
            return self._fleet.changed.wait_for(lambda: len(self._fleet.acts) != self._looked, seconds)

    def close(self) -> None:
        self.closed = True


class TwinDesk:
    """A person's desk. See eximcertd.fleet.remote.Desk."""

    def __init__(self, fleet: Fleet, who: str) -> None:
        self._fleet = fleet
        self._who = who
        self.closed = False

    def who(self) -> str:
        return self._who

    def now(self) -> int:
        return now()

    def head(self) -> Head:
        self._fleet.reached()
        return self._fleet.head()

    def acts(self, after: int, most: int) -> Sequence[Act]:
        self._fleet.reached()
        return tuple(self._fleet.acts[after : after + most])

    def newest(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, Act]:
        self._fleet.reached()
        every = {name: act for act in self._fleet.acts if act.verb not in OF_AUTHORITIES for name in act.fingerprints}
        return {name: every[name] for name in fingerprints if name in every}

    def of_request(self, request: str) -> Act | None:
        self._fleet.reached()
        return next((act for act in self._fleet.acts if act.request == request), None)

    def own(self, fingerprints: Collection[Fingerprint] | None = None) -> Sequence[OwnDecision]:
        self._fleet.reached()
        return [one for one in self._fleet.open() if fingerprints is None or one.fingerprint in fingerprints][:10_000]

    def decide(self, act: Act) -> None:
        self._fleet.reached()
        checked(act)
        with self._fleet.changed:
            head = self._fleet.head()
            if (act.generation, act.previous) != (head.generation + 1, head.hash):
                raise MovedError(f"the fleet is at generation {head.generation}")
            if known := self.of_request(act.request):
                raise MovedError(f"this request is act {known.generation} already")
            if wrong := refusal(act, self.newest(act.fingerprints), self._fleet.open()):
                raise ActRefusedError(wrong)
            self._fleet.acts.append(act)
            self._fleet.changed.notify_all()

    def relays(self) -> Sequence[RelayState]:
        self._fleet.reached()
        reports = sorted(self._fleet.reports.items())
        return [RelayState(name, report, at, report.clock - at) for name, (report, at) in reports]

    def pending(self, most: int) -> Sequence[Sighted]:
        self._fleet.reached()
        sighted = self._fleet.sighted.values()
        return queue(sighted, self.newest([one.fingerprint for one in sighted]), most)

    def sighted(self, fingerprints: Collection[Fingerprint]) -> Sequence[Sighted]:
        self._fleet.reached()
        return [one for one in self._fleet.sighted.values() if one.fingerprint in fingerprints]

    def matching(self, prefix: str, most: int = 10) -> Sequence[Fingerprint]:
        self._fleet.reached()
        known = {name for act in self._fleet.acts for name in act.fingerprints}
        known |= {name for _, name in self._fleet.sighted} | {one.fingerprint for one in self._fleet.open()}
        return sorted(name for name in known if name.startswith(prefix))[:most]

    def close(self) -> None:
        self.closed = True
