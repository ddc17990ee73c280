"""A model of a fleet: relays that decide alone, a database that goes back, people who saw an older state, no clocks.

``play(steps)`` plays a history and raises AssertionError at the first promise that does not hold. The relays are those
of ``Code``: the real functions, of which a test replaces one by a mistake. Another kind of relay may be given.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from hypothesis import strategies as st

from eximcertd.acts import effective as real
from eximcertd.acts.act import Act, ActError, Head, checked
from eximcertd.acts.effective import BECOMES, Lost, Newest, Own
from eximcertd.fleet.remote import OwnDecision
from eximcertd.fleet.rules import refusal
from eximcertd.status import ALLOWS, Becomes, Status, Verb, after
from lab.acts import X, Y

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from eximcertd.fingerprint import Fingerprint

NAMES: Final = (X, Y)
OUT: Final = frozenset({Status.REJECTED, Status.REVOKED})
VERBS: Final = (Verb.APPROVE, Verb.ADOPT, Verb.REJECT, Verb.REVOKE)
RELAYS: Final = ("mx1", "mx2", "mx3")
SLOTS: Final = 1000
"""Numbers that a step draws from."""


class Step(NamedTuple):
    """One event. what: see World.step. The rest: numbers below SLOTS, of which the event takes what it needs."""

    what: str
    relay: int
    name: int
    verb: int
    number: int
    other: int


WEIGHTS: Final = {"here": 30, "fleet": 25, "back": 6, "line": 10, "sync": 29}


_NUMBER: Final = st.integers(0, SLOTS - 1)
STEPS: Final = st.lists(st.builds(Step, st.sampled_from(list(WEIGHTS)), *[_NUMBER] * 5), max_size=40)
"""Histories for Hypothesis."""


def drawn(seed: int) -> list[Step]:
    """Return a random history."""
    random = Random(seed)  # noqa: S311 - the same history for the same seed
    whats = random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=random.randrange(4, 40))
    return [Step(what, *(random.randrange(SLOTS) for _ in range(5))) for what in whats]


def newest_of(acts: Sequence[Act]) -> dict[Fingerprint, Newest]:
    """Return the newest act on each fingerprint, by generation."""
    return {name: Newest(act.generation, BECOMES[Verb(act.verb)]) for act in acts for name in act.fingerprints}


def common_to(mine: Sequence[Act], theirs: Sequence[Act]) -> int:
    """Return the last generation at which two chains have the same hash."""
    same = itertools.takewhile(lambda pair: pair[0].hash() == pair[1].hash(), zip(mine, theirs, strict=False))
    return sum(1 for _ in same)


def settled_by(act: Act, own: Mapping[Fingerprint, Own]) -> set[Fingerprint]:
    """Return the fingerprints whose own decision an act settles: rule 4."""
    return {name for name in act.fingerprints if name in own and own[name].id in act.settles}


@dataclass(frozen=True)
class Code:
    """The code that decides; a test puts a mistake in the place of one function."""

    effective: Callable[[Newest | None, Own | None], Status | None] = real.effective
    rebased: Callable[[Mapping[Fingerprint, Own], Iterable[Lost], int], dict[Fingerprint, Own]] = real.rebased
    settled_by: Callable[[Act, Mapping[Fingerprint, Own]], set[Fingerprint]] = settled_by
    newest_of: Callable[[Sequence[Act]], dict[Fingerprint, Newest]] = newest_of
    common_to: Callable[[Sequence[Act], Sequence[Act]], int] = common_to


class Relay(Protocol):
    """A relay: what it has, what is decided on it, and what it takes from the fleet. acts: those that it has."""

    acts: list[Act]

    def status(self, name: Fingerprint) -> Status | None:
        """Return the status on this relay; None: nothing was decided."""

    def decide(self, name: Fingerprint, verb: Verb) -> None:
        """Decide here."""

    def own(self) -> Mapping[Fingerprint, Own]:
        """Return the own decisions that are open."""

    def take(self, acts: Sequence[Act], back_to: int) -> None:
        """Go back to the act ``back_to`` if there are later ones, then take the acts, which follow it."""


class PureRelay:
    """A relay of the pure functions alone."""

    def __init__(self, code: Code, ids: Iterable[int]) -> None:
        self.acts: list[Act] = []
        self._own: dict[Fingerprint, Own] = {}
        self._code = code
        self._ids = iter(ids)

    def status(self, name: Fingerprint) -> Status | None:
        return self._code.effective(self._code.newest_of(self.acts).get(name), self._own.get(name))

    def decide(self, name: Fingerprint, verb: Verb) -> None:
        self._own[name] = Own(verb, len(self.acts), self._id())

    def own(self) -> Mapping[Fingerprint, Own]:
        return dict(self._own)

    def take(self, acts: Sequence[Act], back_to: int) -> None:
        lost = [
            Lost(act.generation, name, Verb(act.verb), self._id())
            for act in self.acts[back_to:]
            for name in act.fingerprints
        ]
        if lost:
            self._own = self._code.rebased(self._own, lost, back_to)
            del self.acts[back_to:]
        for act in acts:
            self._head().followed_by(act)
            for name in self._code.settled_by(act, self._own):
                del self._own[name]
            self.acts.append(act)

    def _head(self) -> Head:
        return Head(self.acts[-1].generation, self.acts[-1].hash()) if self.acts else Head()

    def _id(self) -> str:
        return f"{next(self._ids):08x}-0000-4000-8000-000000000000"


@dataclass
class Database:
    """Acts, and what the relays have told."""

    acts: list[Act] = field(default_factory=list)
    told: dict[str, list[OwnDecision]] = field(default_factory=dict)
    requests: int = 0

    def tell(self, relay: str, own: list[OwnDecision]) -> None:
        """Replace what is known of a relay's own decisions."""
        self.told[relay] = own

    def back(self, generation: int) -> None:
        """Lose the acts after a generation."""
        del self.acts[generation:]

    def open(self) -> list[OwnDecision]:
        """Return the open own decisions of all relays."""
        settled = {(one, name) for act in self.acts for one in act.settles for name in act.fingerprints}
        return [one for ones in self.told.values() for one in ones if (one.id, one.fingerprint) not in settled]

    def following(self, name: Fingerprint, verb: str, settles: Iterable[str], at: int) -> Act:
        """Return the act that follows the head."""
        head = Head(self.acts[-1].generation, self.acts[-1].hash()) if self.acts else Head()
        self.requests += 1
        request = f"{self.requests:08x}-0000-4000-9000-000000000000"
        named = tuple(sorted(set(settles)))
        return Act(head.generation + 1, head.hash, verb, "alice", at, request, (name,), settles=named)

    def decide(self, name: Fingerprint, verb: str, settles: Iterable[str], at: int) -> str:
        """Append an act on the head, with its time by a clock that may be wrong; return why not, or ""."""
        act = self.following(name, verb, settles, at)
        newest = {one: before for before in self.acts for one in before.fingerprints}
        why = refusal(checked(act), newest, self.open())
        if not why:
            self.acts.append(act)
        return why


@dataclass
class World:
    """Three relays and a database.

    ever: what a person has approved. ids: of own decisions. known: the hashes of the acts that a relay had when an own
    decision was made. kept_out: the id of a rejection made on a relay that nothing has settled since.
    """

    relays: dict[str, Relay]
    code: Code
    database: Database = field(default_factory=Database)
    up: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(RELAYS, True))
    ever: set[Fingerprint] = field(default_factory=set)
    ids: list[str] = field(default_factory=list)
    kept_out: dict[tuple[str, Fingerprint], str] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=dict)
    rebases: int = 0

    def step(self, step: Step) -> None:
        """Play an event, and look at every promise.

        here: a decision on a relay. fleet: one of a person, who may have seen an older state. line: a relay's line
        goes or comes back. sync: a relay and the database talk. back: the database loses its last acts.
        """
        relay, name = RELAYS[step.relay % len(RELAYS)], NAMES[step.name % len(NAMES)]
        match step.what:
            case "here":
                self._here(relay, name, VERBS[step.verb % 4])
            case "fleet":
                verb = ("approve", "reject", "revoke")[step.verb % 3]
                seen = {one.id for one in self.database.open() if one.fingerprint == name} if step.other % 2 else set()
                older = {self.ids[step.other % len(self.ids)]} if self.ids and step.other % 5 == 0 else set()
                if not self.database.decide(name, verb, seen | older, step.number):
                    self.ever |= {name} if verb == "approve" else set()
            case "line":
                self.up[relay] = not self.up[relay]
            case "sync":
                if self.up[relay]:
                    self.sync(relay, 1 if step.number % 4 == 0 else SLOTS, tell_first=step.other % 2 == 0)
            case "back":
                self.database.back(step.number % (len(self.database.acts) + 1))
                if step.other % 2:
                    self.database.tell(relay, [])
        self._look()

    def _here(self, relay: str, name: Fingerprint, verb: Verb) -> None:
        mx = self.relays[relay]
        was, before = mx.status(name), mx.own().get(name)
        becomes = after(was or Status.UNSEEN, verb)
        if not isinstance(becomes, Becomes):
            return
        mx.decide(name, verb)
        assert mx.status(name) is becomes.status, "what a person decides on a relay holds there at once"
        own = mx.own().get(name)
        if own == before:
            assert was is becomes.status, "what changed the status on a relay is open"
            return
        assert own, "what was decided on a relay is open"
        self.ids.append(own.id)
        self.known[own.id] = {act.hash() for act in mx.acts}
        self.kept_out.pop((relay, name), None)
        if verb in ALLOWS:
            self.ever.add(name)
        else:
            self.kept_out[relay, name] = own.id

    def sync(self, relay: str, most: int = SLOTS, *, tell_first: bool = False) -> None:
        """Let a relay and the database talk: what was decided here, and at most so many acts."""
        mx, acts = self.relays[relay], self.database.acts
        before = {name: mx.status(name) for name in NAMES}
        had = {act.hash() for act in mx.acts}
        if tell_first:
            self._tell(relay)
        back_to = self.code.common_to(mx.acts, acts)
        self.rebases += back_to < len(mx.acts)
        try:
            mx.take(acts[back_to : back_to + most], back_to)
        except ActError as error:
            raise AssertionError("a relay can always follow the database") from error
        self.known = {one.id: had for one in mx.own().values()} | self.known
        if not tell_first:
            self._tell(relay)
        has = [act.hash() for act in mx.acts]
        assert has == [act.hash() for act in acts[: back_to + most]], "a relay has the database's acts"
        fresh = [act for act in mx.acts if act.hash() not in had]
        for act in fresh:
            for name in act.fingerprints:
                if self.kept_out.get((relay, name), "") in act.settles:
                    del self.kept_out[relay, name]
        for name, was in before.items():
            verbs = {act.verb for act in fresh if name in act.fingerprints}
            now = mx.status(name)
            if was in OUT and now is Status.APPROVED:
                assert "approve" in verbs, "nothing but an approval readmits what was rejected"
            if was is Status.APPROVED and now is not Status.APPROVED:
                assert verbs & {"reject", "revoke"}, "nothing but a rejection or a revocation shuts out the approved"

    def _tell(self, relay: str) -> None:
        own = self.relays[relay].own().items()
        told = [OwnDecision(relay, one.id, name, one.verb, "carol", 0, "", one.base) for name, one in own]
        self.database.tell(relay, told)
        self.ids += [one.id for one in told]

    def _look(self) -> None:
        for relay, mx in self.relays.items():
            newest, own = newest_of(mx.acts), mx.own()
            for name in NAMES:
                if mx.status(name) is not Status.APPROVED:
                    continue
                assert name in self.ever, "what is approved was approved by a person"
                assert (relay, name) not in self.kept_out, "a rejection made here holds until it is settled by name"
                act, mine = newest.get(name), own.get(name)
                if act and act.status in OUT:
                    knew = mine and mx.acts[act.generation - 1].hash() in self.known[mine.id]
                    assert knew, "the fleet's rejection holds where it was not known"

    def end(self) -> None:
        """Everything is back, and a person settles what is open: all relays are then alike."""
        for relay in RELAYS:
            self.sync(relay)
        for number, name in enumerate(NAMES):
            open_ones = [one for one in self.database.open() if one.fingerprint == name]
            if open_ones:
                newest = newest_of(self.database.acts).get(name)
                approved = newest and newest.status in {Status.APPROVED, Status.REVOKED}
                out = "revoke" if approved or any(one.verb in ALLOWS for one in open_ones) else "reject"
                verb = ("approve", out)[(number + len(open_ones)) % 2]
                assert not self.database.decide(name, verb, [one.id for one in open_ones], 0), "all can be settled"
                self.ever |= {name} if verb == "approve" else set()
        for relay in RELAYS:
            self.sync(relay)
            self._look()
        for name in NAMES:
            newest = newest_of(self.database.acts).get(name)
            for mx in self.relays.values():
                assert not mx.own(), "nothing is open after all was settled"
                assert mx.status(name) == (newest.status if newest else None), "all relays do what the fleet decided"


def play(
    steps: Iterable[Step],
    code: Code | None = None,
    kind: Callable[[], Relay] | None = None,
    database: Database | None = None,
) -> int:
    """Play a history to its end; return how often a relay went back with the database."""
    code, ids = code or Code(), itertools.count(1)
    relays = {name: kind() if kind else PureRelay(code, ids) for name in RELAYS}
    world = World(relays, code, database or Database())
    for step in steps:
        world.step(step)
    world.end()
    return world.rebases
