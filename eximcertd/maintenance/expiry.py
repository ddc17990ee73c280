"""Expiry: which approved certificates have expired or soon will, and which are therefore off the list.

All of it follows from the clock at the time of asking, and from what the ledger keeps of approved certificates.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from eximcertd.events import Event
from eximcertd.ledger.identities import Identity
from eximcertd.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from eximcertd.certificates.lookup import CertificateLookup
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger

_PORTION: Final = 500


class Expiry:
    """Derives from the clock what is off the list by its dates. within: the key expires_within."""

    def __init__(self, ledger: Ledger, certificates: CertificateLookup, recorder: Recorder) -> None:
        self._ledger = ledger
        self._certificates = certificates
        self._recorder = recorder
        self.unfinished = False

    async def learn(self, fingerprints: Iterable[Fingerprint] | None = None) -> None:
        """Keep validity and names of approved certificates that are known: of these, or of all (None)."""
        if fingerprints is None:
            fingerprints = chain(self._certificates.index, self._ledger.shown.approved())
        names = iter(fingerprints)
        while portion := list(islice(names, _PORTION)):
            unknown = self._ledger.identities.unknown_among(portion)
            found = await self._certificates.of(unknown) if unknown else {}
            self._ledger.identities.keep([Identity.of(certificate) for certificate in found.values()])
            await asyncio.sleep(0)

    def derive(self, now: float, max_shrink: int | None = None) -> list[Fingerprint]:
        """Update which entries are off the list at ``now`` (seconds); return those that changed.

        max_shrink: see Lapses.derive; ``unfinished`` tells whether there are more.
        """
        gone, back, self.unfinished = self._ledger.lapses.derive(_milliseconds(now), max_shrink)
        for entry in self._ledger.entries.among([*gone[:_PORTION], *back[:_PORTION]]):
            if entry.authority is None:
                lapse = entry.lapse(_milliseconds(now))
                what = f"off the list: {lapse}" if entry.lapsed else "on the list: by the clock it is valid now"
                text = f"The approved certificate {entry.fingerprint} is {what}"
                self._recorder.record(Event.CERTIFICATE_LAPSED, text, FINGERPRINT=entry.fingerprint)
        return [*gone, *back]

    def next_change(self, after: float) -> float | None:
        """Return the next time (seconds since the epoch) later than ``after`` at which that changes, or None."""
        due = self._ledger.lapses.next_change(_milliseconds(after))
        return None if due is None else due / 1000

    def expired(self, now: float | None = None) -> list[Fingerprint]:
        """Return the approved fingerprints whose certificates have ended."""
        return self._ledger.lapses.ended(None, _milliseconds(time.time() if now is None else now))

    def not_yet_valid(self) -> int:
        """Return how many approved certificates are not valid yet."""
        return self._ledger.lapses.not_yet_valid(_milliseconds(time.time()))

    def expiring(self, within: timedelta, now: float | None = None) -> list[Fingerprint]:
        """Return the approved fingerprints whose certificates end within this time."""
        at = _milliseconds(time.time() if now is None else now)
        return self._ledger.lapses.ended(at, at + _milliseconds(within.total_seconds()))

    def tell(self, now: float, within: timedelta) -> None:
        """Record an event, once, for each approved certificate that has expired, and for each that soon will."""
        self._tell(Event.CERTIFICATE_EXPIRED, "expired on", self.expired(now))
        self._tell(Event.CERTIFICATE_EXPIRES_SOON, "expires on", self.expiring(within, now))

    def _tell(self, event: Event, what: str, fingerprints: Sequence[Fingerprint]) -> None:
        fresh = self._ledger.lapses.first_time(event.name, fingerprints)
        known = self._ledger.identities.among(fresh)
        for fingerprint in fresh:
            of = known[fingerprint]
            ends = datetime.fromtimestamp((of.not_after or 0) / 1000, UTC)
            self._recorder.record(
                event,
                f"The approved certificate {fingerprint} ({clean(of.subject)}) {what} {ends:%Y-%m-%d}",
                FINGERPRINT=fingerprint,
                SUBJECT=of.subject,
                NOT_AFTER=f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
