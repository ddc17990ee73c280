"""Arrivals: certificates that appear in the directory or vanish from it, and clients that are new in the queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from eximcertd.events import Event
from eximcertd.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from eximcertd.certificates.issuers import Issuers
    from eximcertd.certificates.lookup import CertificateLookup
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.journal import Recorder
    from eximcertd.ledger import Ledger

_MOST_RECORDED: Final = 100


class Arrivals:
    """Keeps the ledger in step with the directory. watchers: called with the fingerprints that are new in the queue."""

    def __init__(self, ledger: Ledger, certificates: CertificateLookup, issuers: Issuers, recorder: Recorder) -> None:
        self._ledger = ledger
        self._certificates = certificates
        self._issuers = issuers
        self._recorder = recorder
        self.watchers: list[Callable[[Sequence[Fingerprint]], None]] = []

    def pending(self, fresh: Sequence[Fingerprint]) -> None:
        """Record an event for each client that was refused for the first time and has a certificate.

        For more than 100 at once it is one event.
        """
        few = fresh if len(fresh) <= _MOST_RECORDED else ()
        if len(few) < len(fresh):
            what = f"{len(fresh)} clients were refused and wait for a decision"
            self._recorder.record(Event.ATTEMPT_SEEN, what, COUNT=str(len(fresh)))
        details = self._certificates.now(few)
        for fingerprint in few:
            certificate = details.get(fingerprint)
            self._recorder.record(
                Event.ATTEMPT_SEEN,
                f"A client with certificate {fingerprint} was refused and waits for a decision",
                FINGERPRINT=fingerprint,
                SUBJECT=certificate.subject if certificate else "",
            )
        for watcher in self.watchers:
            watcher(fresh)

    def match(self) -> None:
        """Mark the entries whose certificate has appeared. Raises LedgerError."""
        known = self._certificates.index.__contains__
        fresh = self._ledger.sightings.match(self._ledger.sightings.unmatched(known))
        if fresh:
            self.pending(fresh)

    async def gone(self, vanished: Collection[Fingerprint]) -> None:
        """Record an event for each approved certificate that has vanished and that Exim needs to verify a client."""
        for fingerprint in await self.unverified(
            [one for one in vanished if self._ledger.entries.get(one).status is Status.APPROVED]
        ):
            self._recorder.record(
                Event.CERTIFICATE_GONE,
                f"The certificate {fingerprint} is approved and gone from the directory: Exim does not verify it",
                FINGERPRINT=fingerprint,
            )

    async def unverified(self, approved: Sequence[Fingerprint]) -> list[Fingerprint]:
        """Return the approved ones of these that have vanished from the directory, and whose CA is not in it either."""
        absent = [one for one in approved if one not in self._certificates.index]
        shown = self._ledger.shown.only(absent)  # no file had them
        absent = [one for one in absent if one not in shown]
        known = self._ledger.identities.among(absent)
        if any(of.issuer != of.subject for of in known.values()):
            await asyncio.to_thread(self._issuers.refresh)
        return [
            name for name, of in known.items() if of.issuer == of.subject or not self._issuers.has_authority(of.issuer)
        ]
