"""The entry point for decisions of the fleet: acts, in their order, whatever their time.

Their rules were applied where they were decided. Here the chain, the signatures and the fingerprints that are never
approved were checked before (control/methods/fleet.py); an act that takes too many off the list waits for a person.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eximcertd.events import Event
from eximcertd.publish.limits import FEW
from eximcertd.status import OF_AUTHORITIES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger.fleet import FleetActs

_BREATH: Final = 0.005  # seconds between two portions, for the calls of others


class ActTaker:
    """Takes acts; lives in the loop's thread.

    authority: applies an act on an authority, and returns why this relay refuses it, or "". max_shrink: percent.
    """

    def __init__(
        self,
        fleet: FleetActs,
        decider: Decider,
        recorder: Recorder,
        authority: Callable[[Act], Awaitable[str]],
        max_shrink: Callable[[], int],
    ) -> None:
        self._fleet = fleet
        self._decider = decider
        self._recorder = recorder
        self._authority = authority
        self._max_shrink = max_shrink

    async def take(self, acts: Sequence[Act]) -> tuple[list[Fingerprint], bool]:
        """Apply acts that follow the head; return whose status changed, and whether one is held. Raises LedgerError.

        Other work of the loop runs between two portions.
        """
        changed: list[Fingerprint] = []
        held, taken = False, 0
        while taken < len(acts) and not held:
            act = acts[taken]
            if act.verb in OF_AUTHORITIES:
                held = self._fleet.begin(act, self._holds)
                if not held:
                    self._fleet.end(act, await self._authority(act))
                    taken += 1
            else:
                step = self._fleet.apply(acts[taken : taken + 1000], self._holds)
                self._decider.taken(step.decisions, step.changed)
                changed += step.changed
                held, taken = step.held, taken + step.acts
            await asyncio.sleep(_BREATH if taken < len(acts) else 0)
        if held:
            self._hold(acts[taken])
        return changed, held

    async def finish(self) -> list[Fingerprint]:
        """Finish what a crash has interrupted; return whose status changed. Raises LedgerError."""
        changed, _ = await self.take(self._fleet.unapplied())
        last = self._fleet.fact("back_to")
        if last:
            await self.go_back(int(last))
        return changed

    async def go_back(self, last: int) -> None:
        """Make decisions of this relay of the acts after ``last``, which the fleet has lost. Raises LedgerError."""
        before = self._fleet.head().generation
        for _ in range(before - last + 1):
            self._fleet.go_back(last)
            await asyncio.sleep(_BREATH)
        if before > last:
            what = f"the acts {last + 1} to {before}" if before > last + 1 else f"act {before}"
            self._recorder.record(
                Event.FLEET_LOST_ACTS,
                f"The fleet has lost {what}, which this relay has: what was decided there is now this relay's own"
                " decision, until an act settles it",
                GENERATION=str(last),
            )

    def _holds(self, going: int, listed: int) -> bool:
        """Apply the rule of publish/limits.py."""
        return going > FEW and (going >= listed or going * 100 > self._max_shrink() * listed)

    def _hold(self, act: Act) -> None:
        waits = f"{act.generation} {act.hash()}"
        if self._fleet.fact("told") != waits:
            self._fleet.set_fact("told", waits)
            self._recorder.record(
                Event.FLEET_ACT_HELD,
                f"Act {act.generation} of the fleet ({act.verb} by {act.by}) would take more fingerprints off the list"
                f" than [publish] max_shrink allows: it waits for eximcertctl fleet accept {act.generation}",
                GENERATION=str(act.generation),
                BY=act.by,
            )
