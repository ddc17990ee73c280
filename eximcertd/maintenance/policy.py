"""Policies that a person wrote: a program that answers for each new client, and renewals with the same key.

A client waits for a person unless a policy answers clearly: a program that fails, hangs or cannot be started decides
nothing. The rules of ``approve`` apply to policies too, and no option insists against them.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Final

from eximcertd.decisions.sources import by_policy
from eximcertd.errors import EximcertdError
from eximcertd.events import Event
from eximcertd.maintenance.commands import run
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from eximcertd.config import PolicySettings
    from eximcertd.decisions.decide import Decider
    from eximcertd.decisions.sources import KnownCertificates
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.publication.publisher import Publisher

LIMIT: Final = 10.0
"""Seconds that the program of a policy may run for one client."""

APPROVE, LEAVE, REJECT = 0, 1, 2
"""Exit statuses of the program; every other one leaves the client to a person."""

_MOST_WAITING: Final = 1000


class Policy:
    """Asks the policies about clients that are new. settings: of the running configuration.

    shown: the entries of fingerprints, as the control socket shows them. known: the certificates that the rules need.
    """

    def __init__(
        self,
        settings: Callable[[], PolicySettings],
        shown: Callable[[Sequence[Fingerprint]], Awaitable[list[dict[str, Any]]]],
        known: Callable[[Sequence[Fingerprint]], Awaitable[KnownCertificates]],
        *,
        decider: Decider,
        publication: Publisher,
        recorder: Recorder,
    ) -> None:
        self._settings = settings
        self._shown = shown
        self._known = known
        self._decider = decider
        self._publication = publication
        self._recorder = recorder
        self._waiting: asyncio.Queue[Fingerprint] = asyncio.Queue(_MOST_WAITING)

    def seen(self, fresh: Sequence[Fingerprint]) -> None:
        """Ask, soon, about clients that are new in the queue; those that come while 1,000 wait are left to a person."""
        settings = self._settings()
        if settings.command or settings.approve_renewals == "same-key":
            for fingerprint in fresh[: _MOST_WAITING - self._waiting.qsize()]:
                self._waiting.put_nowait(fingerprint)

    async def run(self) -> None:
        """Ask about one client after the other, until cancelled."""
        while True:
            fingerprint = await self._waiting.get()
            try:
                await self._ask(fingerprint)
            except EximcertdError as error:
                self._recorder.record(Event.POLICY_FAILED, str(error), FINGERPRINT=fingerprint)

    async def _ask(self, fingerprint: Fingerprint) -> None:
        [entry] = await self._shown([fingerprint])
        if entry["standing"] != "pending":
            return
        settings, renews = self._settings(), entry["renews"]
        if settings.approve_renewals == "same-key" and renews and renews["same_key"]:
            await self._decide(Verb.APPROVE, fingerprint, f"renews {renews['fingerprint']} with the same key")
        elif settings.command:
            ran = await run(settings.command, json.dumps(entry) + "\n", LIMIT)
            if ran.status in {APPROVE, REJECT}:
                verb = Verb.APPROVE if ran.status == APPROVE else Verb.REJECT
                await self._decide(verb, fingerprint, ran.text)
            elif ran.status != LEAVE:
                why = ran.text or f"exit status {ran.status}"
                self._recorder.record(
                    Event.POLICY_FAILED,
                    f"[policy] command: {why[:200]}; {fingerprint} is left to a person",
                    FINGERPRINT=fingerprint,
                )

    async def _decide(self, verb: Verb, fingerprint: Fingerprint, note: str) -> None:
        known = await self._known([fingerprint])
        outcome = self._decider.decide(by_policy(verb, [fingerprint], note, time.time_ns() // 1_000_000, known))
        for name, refusal in outcome.refused:
            self._recorder.record(
                Event.POLICY_FAILED, f"not approved by policy: {name} {refusal.sentence}", FINGERPRINT=name
            )
        if outcome.changed:
            await self._publication.settle([fingerprint])
