"""The scheduler of the periodic work. Runs in the loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.publication.form import LIST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.maintenance.arrivals import Arrivals
    from eximcertd.maintenance.clock import Clock
    from eximcertd.maintenance.enrolling import Enrolling
    from eximcertd.maintenance.expiry import Expiry
    from eximcertd.maintenance.forgetting import Forgetting
    from eximcertd.maintenance.health import Health
    from eximcertd.maintenance.renewals import Renewals
    from eximcertd.publication.publisher import Publisher
    from eximcertd.settings import Config

_LOOK: Final = 3.0  # seconds between two looks at the wall clock, which may be set while the scheduler waits
_SET: Final = 1.0  # seconds by which a clock that is set differs at least


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. soon: from the first round to the second, when all parts run. tick: between two rounds.

    verify: between two looks at the macro file. reconcile: between two looks at the directory.
    """

    soon: float = 3.0
    tick: float = 60.0
    verify: float = 3600.0
    reconcile: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The parts of the maintenance."""

    clock: Clock
    arrivals: Arrivals
    expiry: Expiry
    renewals: Renewals
    forgetting: Forgetting
    health: Health
    enrolling: Enrolling


class Scheduler:
    """Runs the rounds. config: the running configuration, replaced at a reload."""

    def __init__(
        self,
        config: Config,
        parts: Maintenance,
        publication: Publisher,
        recorder: Recorder,
        timing: Timing | None = None,
    ) -> None:
        self._config = config
        self._parts = parts
        self._publication = publication
        self._recorder = recorder
        self._timing = timing or Timing()
        self._woken = asyncio.Event()
        self._approved: set[Fingerprint] | None = None  # those whose validity is not known yet; None: all
        self._vanished: set[Fingerprint] = set()
        self._verified = self._reconciled = self._settled = (
            asyncio.get_running_loop().time()
        )  # the start has just verified it
        self._derived = parts.clock.now()
        self._problem = ""

    def configure(self, config: Config) -> None:
        """Go on with another configuration, at once."""
        self._config = config
        self._woken.set()

    def certificates_changed(self, appeared: AbstractSet[Fingerprint], vanished: AbstractSet[Fingerprint]) -> None:
        """Handle certificates that have appeared in the directory or vanished from it."""
        with contextlib.suppress(EximcertdError):  # a full disk: the next round does it, and records an event
            self._parts.arrivals.match()
        self._vanished.update(vanished)
        if self._approved is not None:
            self._approved.update(appeared)
        self._woken.set()

    def decided(self, changed: Sequence[Fingerprint]) -> None:
        """Handle decisions, before they are published."""
        if self._approved is not None:
            self._approved.update(changed)
        with contextlib.suppress(EximcertdError):  # the same
            self._derive()
        self._woken.set()

    async def run(self) -> None:
        """Run rounds until cancelled."""
        usual = self._timing.soon
        while True:
            self._woken.clear()
            pause, usual, due = usual, self._timing.tick, None
            offset = self._parts.clock.offset()
            try:
                await self.tick()
                due = self._parts.expiry.next_change(self._derived)
                if self._parts.expiry.unfinished and self._publication.live:
                    due = self._derived
                self._tell("")
            except EximcertdError as error:
                self._tell(f"maintenance is postponed: {error.message}")
            await self._rest(pause, due, offset)

    async def _rest(self, pause: float, due: float | None, offset: float) -> None:
        """Wait ``pause`` seconds, or less: until woken, until the wall clock reads ``due``, or until it is set."""
        clock, end = self._parts.clock, asyncio.get_running_loop().time() + pause
        while abs(clock.offset() - offset) < _SET:
            left = min(end - asyncio.get_running_loop().time(), _LOOK, math.inf if due is None else due - clock.now())
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                # wait_for of Python 3.11 loses a cancellation that comes at the same time as the event.
                async with asyncio.timeout(left):
                    await self._woken.wait()
                return

    async def tick(self) -> None:
        """Do what is due. Raises LedgerError."""
        parts, now = self._parts, self._parts.clock.now()
        leap = parts.clock.look()
        if leap:
            self._recorder.record(Event.CLOCK_CHANGED, leap)
        parts.arrivals.match()
        vanished, self._vanished = self._vanished, set()
        await parts.arrivals.gone(vanished)
        unknown, self._approved = self._approved, set()
        await parts.expiry.learn(unknown)
        changed = self._derive()
        if parts.clock.trusted:  # a wrong clock leads to no decision, and to no report that is given only once
            parts.expiry.tell(now, self._config.certificates.expires_within)
            changed += parts.renewals.revoke_due(now)
            changed += await parts.enrolling.round(
                datetime.fromtimestamp(now, UTC), self._config.queue.forget_pending_after
            )
        parts.forgetting.forget(self._config.queue.forget_pending_after)
        parts.forgetting.tell_dropped(self._config.queue.unmatched_limit)
        parts.health.tell_log()
        await self._publish(changed)

    async def _publish(self, changed: Iterable[Fingerprint]) -> None:
        at = asyncio.get_running_loop().time()
        if at - self._verified >= self._timing.verify:
            self._verified = at
            await self._publication.verify()
        if at - self._reconciled >= self._timing.reconcile:
            self._reconciled = at
            await self._publication.reconcile()
        names = list(changed)
        left = at - self._settled >= self._timing.tick and not (self._publication.live or self._publication.retrying)
        if names or left:
            self._settled = at
            await self._publication.settle(names)

    def _derive(self) -> list[Fingerprint]:
        now = self._parts.clock.now()
        listed = self._publication.state.form == LIST
        changed = self._parts.expiry.derive(now, self._config.publish.max_shrink if listed else None)
        self._derived = now
        return changed

    def _tell(self, problem: str) -> None:
        """Record an event, once, when the ledger cannot be written, and once when it can be written again."""
        if problem and problem != self._problem:
            self._recorder.record(Event.LEDGER_PROBLEM, problem)
        elif self._problem and not problem:
            self._recorder.record(Event.LEDGER_BACK, "The ledger is written again")
        self._problem = problem
