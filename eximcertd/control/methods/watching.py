"""The method Watch: events, as they happen."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods import views

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eximcertd.control.caller import Caller
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger

_MOST_EVENTS: Final = 1000
_MOST_TOLD: Final = 500


class Watching:
    """Sends events to the watchers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watching: set[asyncio.Queue[dict[str, Any]]] = set()

    async def watch(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield events; a watcher that reads too slowly is disconnected."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_EVENTS)
        self._watching.add(queue)
        try:
            while not queue.full():
                yield {"events": [await queue.get()]}
        finally:
            self._watching.discard(queue)

    def seen(self, fingerprints: Sequence[Fingerprint]) -> None:
        """Send, later, an event for each new pending entry."""
        self._later("seen", fingerprints)

    def decided(self, fingerprints: Sequence[Fingerprint]) -> None:
        """Send, later, an event for each decision: a watcher must not delay the publication."""
        self._later("decided", fingerprints)

    def _later(self, kind: str, fingerprints: Sequence[Fingerprint]) -> None:
        if self._watching:
            asyncio.get_running_loop().call_soon(self._tell, kind, fingerprints)

    def _tell(self, kind: str, fingerprints: Sequence[Fingerprint]) -> None:
        at = views.rfc3339(time.time() * 1000)
        now = datetime.now(UTC)
        for entry in self._ledger.entries.among(fingerprints[:_MOST_TOLD]):
            event = {
                "kind": kind,
                "at": at,
                "sentence": f"{entry.fingerprint} is {entry.status}",
                "entry": views.entry(entry, None, now),
            }
            for queue in self._watching:
                if not queue.full():
                    queue.put_nowait(event)
