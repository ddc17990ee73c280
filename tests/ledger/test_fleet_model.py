"""The model of the fleet (lab/merging.py), with relays that are real ledgers."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from lab.deciding import decide
from lab.merging import NAMES, STEPS, Step, drawn, play
from lab.records import Records

from eximcertd.acts.act import Head
from eximcertd.acts.effective import Own
from eximcertd.decisions.acts import ActTaker
from eximcertd.decisions.decide import Decider
from eximcertd.decisions.sources import manual_edit
from eximcertd.ledger import Ledger
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.fingerprint import Fingerprint


class LedgerRelay:
    """A relay of the model with a real ledger. It is killed while it goes back, and then starts again."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.acts: list[Act] = []
        self._directory = directory
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger(self._directory)
        self.ledger.join_fleet("mx1")
        assert self.ledger.fleet is not None
        self.fleet = self.ledger.fleet
        self.decider = Decider(self.ledger, Records())
        self.taker = ActTaker(self.fleet, self.decider, Records(), self._authority, lambda: 100)

    def status(self, name: Fingerprint) -> Status | None:
        status = self.ledger.entries.get(name).status
        return None if status is Status.UNSEEN else status

    def decide(self, name: Fingerprint, verb: Verb) -> None:
        if verb is Verb.ADOPT:
            self.decider.decide(manual_edit([name], "", time.time_ns() // 1_000_000))
        else:
            decide(self.ledger, verb, name)

    def own(self) -> Mapping[Fingerprint, Own]:
        rows = self.fleet.news.own_among(NAMES)
        return {row.fingerprint: Own(Verb(row.verb), row.base, row.id, row.lost) for row in rows}

    def take(self, acts: Sequence[Act], back_to: int) -> None:
        if back_to < len(self.acts):
            self.fleet.go_back(back_to)
            self.close()
            self._open()
            asyncio.run(self.taker.finish())
            del self.acts[back_to:]
        head = self.fleet.head()
        assert head == (Head(self.acts[-1].generation, self.acts[-1].hash()) if self.acts else Head())
        for act in acts:
            head = head.followed_by(act)
        assert not asyncio.run(self.taker.take(acts))[1]
        self.acts += acts
        assert self.fleet.head() == head

    async def _authority(self, act: Act) -> str:
        raise NotImplementedError

    def close(self) -> None:
        self.ledger.close()


def played(steps: Sequence[Step]) -> int:
    """Play a history on three ledgers."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, ExitStack() as stack:
        numbers = itertools.count()

        def relay() -> LedgerRelay:
            made = LedgerRelay(Path(directory) / str(next(numbers)))
            stack.callback(made.close)
            return made

        return play(steps, kind=relay)


@given(STEPS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_every_promise_holds_on_real_ledgers(steps: list[Step]) -> None:
    played(steps)


def test_every_promise_holds_on_real_ledgers_that_lose_acts() -> None:
    assert sum(played(drawn(seed)) for seed in range(25)) > 5
