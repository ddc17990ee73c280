"""The methods for the fleet: eximcertd-fleet hands over acts, and asks for what the fleet has to know.

The machine's own rules hold whatever the act: its chain, a fingerprint that is never approved, a signature where
[fleet] signers is set, a public CA, and the limit on what one act takes off the list.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Any, Final

from eximcertd.acts.act import MOST_FINGERPRINTS, of_json
from eximcertd.acts.signature import verify
from eximcertd.certificates.parsing import subject
from eximcertd.control.methods.authorities import patterns_of
from eximcertd.control.methods.fleet_reports import FleetReports
from eximcertd.decisions.acts import ActTaker
from eximcertd.decisions.rules import CA
from eximcertd.errors import EximcertdError, RefusedError, UsageError
from eximcertd.events import Event
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.fleet_apply import request_of
from eximcertd.status import Verb
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eximcertd.acts.act import Act
    from eximcertd.control.caller import Caller
    from eximcertd.control.methods.authorities import AuthorityMethods
    from eximcertd.control.methods.changes import Changes
    from eximcertd.control.methods.services import Services
    from eximcertd.control.server import Handler
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger.denials import Denial
    from eximcertd.ledger.fleet import FleetActs

_MOST_ACTS: Final = 1000
_PATIENCE: Final = 20.0  # seconds
_FEW: Final = 500  # fingerprints whose files are put right even if nothing of theirs is due
_LOOK: Final = 5.0  # seconds between two looks whether the list is live
_DENYING: Final = frozenset({Verb.REJECT, Verb.REVOKE})


class FleetMethods:
    """Takes acts and publishes. fleet: of the ledger."""

    def __init__(
        self,
        fleet: FleetActs,
        services: Services,
        changes: Changes,
        authorities: AuthorityMethods,
        recorder: Recorder,
    ) -> None:
        self._fleet = fleet
        self._services = services
        self._changes = changes
        self._authorities = authorities
        self._recorder = recorder
        self._taker = ActTaker(
            fleet, services.decider, recorder, self._authority, lambda: services.config().publish.max_shrink
        )
        self._lock = asyncio.Lock()
        self._publishing: set[asyncio.Task[None]] = set()
        self.reports: Final = FleetReports(fleet, services)

    def handlers(self) -> dict[str, Handler]:
        """Return the methods, by name."""
        return {
            "FleetStatus": self.reports.status,
            "FleetNews": self.reports.news,
            "FleetHashes": self.reports.hashes,
            "FleetTake": self.take,
            "FleetState": self.reports.state,
            "FleetAccept": self.accept,
        }

    async def run(self) -> None:
        """Finish what a crash has interrupted; then keep which act is live, until cancelled."""
        while True:
            with contextlib.suppress(EximcertdError):  # a full disk: the scheduler's rounds report it
                async with self._lock:
                    changed = await self._taker.finish()
                if changed:
                    await self._publish(changed)
                self.reports.live()
            await asyncio.sleep(_LOOK)

    # Taking acts

    async def take(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Take acts; they are published soon."""
        acts = given["acts"]
        if len(acts) > _MOST_ACTS or sum(len(one["fingerprints"]) for one in acts) > MOST_FINGERPRINTS:
            raise UsageError(f"more than {_MOST_ACTS} acts or {MOST_FINGERPRINTS} fingerprints at once")
        async with self._lock:
            if self._publishing:  # so that a publication has not too much to do at once
                await asyncio.wait(self._publishing, timeout=_PATIENCE)
            changed = await self._taker.finish()
            if given.get("back_to") is not None:
                await self._back_to(given["back_to"])
            try:
                valid, refused = await self._valid(acts)
                denials = await self._denials(valid)
                more, held = await self._taker.take(valid)
                changed += more
                changed += await self._services.maintenance.enrolling.revoke_others(denials)
            finally:  # a decision is published, whatever else fails
                self._publishing.add(task := asyncio.create_task(self._publish(changed)))
                task.add_done_callback(self._publishing.discard)
            self._refuse(refused)
        head = self._fleet.head()
        return {"generation": head.generation, "hash": head.hash, "held": head.generation + 1 if held else None}

    async def _publish(self, changed: Sequence[Fingerprint]) -> None:
        await self._services.publication.settle(changed if len(changed) <= _FEW else ())
        self.reports.live()

    async def _valid(self, given: Sequence[dict[str, Any]]) -> tuple[list[Act], EximcertdError | None]:
        """Return the acts before the first one that is malformed, does not follow or is not signed, and why it is."""
        signers = self._services.config().fleet.signers
        head = self._fleet.head()
        acts: list[Act] = []
        for one in given:
            try:
                act = of_json(one)
                head = head.followed_by(act)
                if signers:
                    await asyncio.to_thread(verify, act, signers)
            except EximcertdError as error:
                return acts, error
            acts.append(act)
            await asyncio.sleep(0)
        return acts, None

    def _refuse(self, refused: EximcertdError | None) -> None:
        """Report why an act is refused: as an event, once, and to the caller."""
        before, self.reports.refused = self.reports.refused, refused.line() if refused else ""
        if refused is None:
            return
        if self.reports.refused != before:
            self._recorder.record(Event.FLEET_ACT_REFUSED, f"An act of the fleet is not taken: {self.reports.refused}")
        raise refused

    async def _back_to(self, last: int) -> None:
        head = self._fleet.head()
        if not 0 <= last <= head.generation:
            raise UsageError(f"this relay has the acts up to {head.generation}: it cannot go back to {last}")
        await self._taker.go_back(last)

    async def _denials(self, acts: Sequence[Act]) -> list[Denial]:
        """Keep name and key refused of what an authority vouches for, as a decision here does."""
        if not self._services.maintenance.enrolling.approved:
            return []
        names = [name for act in acts if act.verb in _DENYING for name in act.fingerprints]
        return await self._changes.bind(names, await self._services.known(names), None) if names else []

    async def _authority(self, act: Act) -> str:
        """Apply an act on an authority; return why this relay refuses it, or ""."""
        name = act.fingerprints[0]
        decision = Decision(name, Verb(act.verb), act.by, act.at // 1000, act.note, request_of(act), act.generation)
        rows = [row for row in self._services.ledger.authorities.all() if row.fingerprint == name]
        try:
            if act.verb == Verb.WITHDRAW:
                await self._authorities.end(decision, subject(rows[0].der) if rows else "")
                return ""
            if rows and not rows[0].approved and rows[0].generation is None:
                raise RefusedError(f"it was withdrawn on this relay by {clean(rows[0].by)}")  # noqa: TRY301 - see below
            from eximcertd.authorities.authority import Authority  # noqa: PLC0415 - its libraries cost 10 MiB

            der, *patterns = act.detail.split(" ")
            crl = rows[0].crl if rows else ""
            authority = Authority.of(base64.b64decode(der), patterns_of(patterns), crl)
            await self._authorities.check(authority, frozenset({CA}))
            await self._authorities.approve(authority, decision)
        except (RefusedError, UsageError) as error:
            self._recorder.record(
                Event.FLEET_ACT_REFUSED,
                f"The fleet approves the authority {name}, and this relay does not: {error.line()}",
                AUTHORITY=name,
                GENERATION=str(act.generation),
            )
            return error.line()
        return ""

    async def accept(self, caller: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Let this relay take the act that it holds."""
        waits = self._fleet.fact("held")
        if not waits or waits.split()[0] != str(given["generation"]):
            held = f"it holds act {waits.split()[0]}" if waits else "it holds none"
            raise UsageError(f"this relay does not hold act {given['generation']}: {held}")
        self._fleet.set_fact("accepted", waits)
        self._recorder.record(
            Event.FLEET_ACT_HELD,
            f"Act {given['generation']} of the fleet was accepted by {caller.name}",
            BY=caller.name,
        )
        return {}
