"""The methods that tell: status, entries, history, and what happens."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd import __version__
from eximcertd.control.methods import views
from eximcertd.control.methods.services import Services, prefix
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.intake import milliseconds
from eximcertd.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eximcertd.control.caller import Caller
    from eximcertd.fingerprint import Fingerprint

_PORTION: Final = 500
_MOST_RECORDS: Final = 10_000
_MOST_EVENTS: Final = 1000
_STANDINGS: Final = ("pending", "unmatched", "approved", "rejected", "revoked")


class Questions:
    """Answers from the ledger; decides nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ledger = services.ledger
        self._watching: set[asyncio.Queue[dict[str, Any]]] = set()

    async def status(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Tell how everything fares."""
        services = self._services
        await services.publication.look()
        progress, counts, certificates = (
            services.intake.progress(),
            self._ledger.entries.counts(),
            services.index.counts(),
        )
        confirmed = self._ledger.publications.last_confirmed()
        state = services.publication.state
        return {
            "status": {
                "version": __version__,
                "pid": os.getpid(),
                "log": {
                    "path": progress.path,
                    "position": progress.position,
                    "behind_bytes": progress.behind_bytes,
                    "last_line_at": views.rfc3339(milliseconds(progress.last_line_at)),
                    "problem": progress.problem,
                    "timezone": services.intake.source.timezone,
                },
                "certificates": {
                    "files": certificates.files,
                    "distinct": certificates.distinct,
                    "expired": len(services.maintenance.expired),
                    "expiring": len(services.maintenance.expiring),
                    "problem": services.index.problem,
                },
                "counts": {
                    "pending": counts.pending,
                    "unmatched": counts.unmatched,
                    "approved": counts.approved,
                    "rejected": counts.rejected,
                    "revoked": counts.revoked,
                    "unmatched_dropped": self._ledger.sightings.dropped(),
                },
                "allowlist": {
                    "form": confirmed.form or state.form,
                    "revision": confirmed.revision,
                    "published_at": views.rfc3339(confirmed.at),
                    "live": services.publication.live,
                    "error": None if state.ok else state.message or state.outcome,
                    "exim_is_down": state.outcome == "died",
                    "retry_at": views.rfc3339(state.retry_at * 1000 if state.retry_at else None),
                    "removed_by_hand": [str(fingerprint) for fingerprint in self._ledger.decisions.withheld()[:100]],
                },
            }
        }

    async def entries(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """List entries, with their certificates, in portions."""
        standings = given["standings"] or _STANDINGS
        unknown = set(standings) - set(_STANDINGS)
        if unknown:
            raise UsageError(f"no such standing: {', '.join(sorted(unknown))}; there are {', '.join(_STANDINGS)}")
        prefixes = [prefix(text) for text in given["prefixes"]] or [""]
        for standing in standings:
            for beginning in prefixes:
                for portion in self._ledger.entries.each(standing, beginning, _PORTION):
                    yield {"entries": await self._services.shown(portion)}

    async def show(self, _: Caller, given: dict[str, Any]) -> dict[str, Any]:
        """Show one entry with its history."""
        fingerprint = self._services.resolve([given["fingerprint"]])[0]
        entry = self._ledger.entries.get(fingerprint)
        if entry.status is Status.UNSEEN and fingerprint not in self._services.index:
            raise NoSuchFingerprintError(f"nothing is known of {fingerprint}")
        [shown] = await self._services.shown([entry])
        rows = self._ledger.decisions.history(fingerprint, limit=_MOST_RECORDS)
        return {"entry": shown, "history": [views.record(row) for row in rows]}

    async def history(self, _: Caller, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell decisions, newest first, in portions."""
        wanted = given.get("fingerprint")
        fingerprint = self._services.resolve([wanted])[0] if wanted else None
        left = min(given.get("limit") or _MOST_RECORDS, 10_000_000)
        before: int | None = None
        while left > 0:
            rows = self._ledger.decisions.newest(fingerprint, before, min(left, _PORTION))
            if not rows:
                return
            yield {"decisions": [views.record(row) for row in rows]}
            before, left = rows[-1][0], left - len(rows)

    async def check(self, _: Caller, __: dict[str, Any]) -> dict[str, Any]:
        """Tell what only eximcertd knows of how it fares."""
        await self._services.publication.look()
        return {"lines": self._services.maintenance.findings()}

    async def watch(self, _: Caller, __: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Tell what happens, as it happens; a watcher that does not keep up is cut off."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_EVENTS)
        self._watching.add(queue)
        try:
            while not queue.full():
                yield {"events": [await queue.get()]}
        finally:
            self._watching.discard(queue)

    def tell(self, kind: str, fingerprints: Sequence[Fingerprint], sentence: str = "") -> None:
        """Tell those who watch that something happened."""
        if not self._watching:
            return
        at = views.rfc3339(time.time() * 1000)
        now = datetime.now(UTC)
        for fingerprint in fingerprints[:_PORTION]:
            entry = self._ledger.entries.get(fingerprint)
            shown = views.entry(entry, None, now)
            event = {
                "kind": kind,
                "at": at,
                "sentence": sentence or f"{fingerprint} is {entry.status}",
                "entry": shown,
            }
            for queue in self._watching:
                if not queue.full():
                    queue.put_nowait(event)
