"""The parts of the daemon that the methods use, and the functions that several methods share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from eximcertd.control.methods import views
from eximcertd.decisions.resolve import whole
from eximcertd.decisions.sources import KnownCertificates
from eximcertd.errors import UsageError
from eximcertd.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eximcertd.certificates.issuers import Issuers
    from eximcertd.certificates.lookup import CertificateLookup
    from eximcertd.config import DaemonConfig
    from eximcertd.decisions.decide import Decider
    from eximcertd.decisions.resolve import Resolver
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.intake import Intake
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.entries import Entry
    from eximcertd.maintenance.scheduler import Maintenance
    from eximcertd.publication.publisher import Publisher

__all__ = ["Services", "time_of", "whole"]

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PORTION: Final = 500
_MOST_SAME: Final = 10


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the methods use, in the loop only. config: returns the running configuration."""

    ledger: Ledger
    certificates: CertificateLookup
    issuers: Issuers
    intake: Intake
    decider: Decider
    resolver: Resolver
    publication: Publisher
    maintenance: Maintenance
    config: Callable[[], DaemonConfig]

    async def known(self, fingerprints: Sequence[Fingerprint]) -> KnownCertificates:
        """Return the facts about the certificates of these fingerprints that the rules need."""
        certificates = await self.certificates.of(fingerprints)
        authorities = [one for one in certificates.values() if one.ca]
        if authorities:
            await asyncio.to_thread(self.issuers.refresh)
        return KnownCertificates(
            certificates, frozenset(one.fingerprint for one in authorities if self.issuers.has_issued(one))
        )

    async def entries_of(self, fingerprints: Sequence[Fingerprint]) -> list[dict[str, Any]]:
        """Return the Entries of the interface of these fingerprints, in their order."""
        return await self.shown(self.ledger.entries.among(fingerprints))

    async def shown(self, entries: Sequence[Entry], *, certificates: bool = True) -> list[dict[str, Any]]:
        """Return Entries of the interface, with their certificates unless these are too many for a reply."""
        shown: list[dict[str, Any]] = []
        for start in range(0, len(entries), _PORTION):
            shown += await self._shown(entries[start : start + _PORTION], certificates=certificates)
        return shown

    async def _shown(self, entries: Sequence[Entry], *, certificates: bool) -> list[dict[str, Any]]:
        names = [entry.fingerprint for entry in entries] if certificates else []
        details = await self.certificates.of(names)
        approved = [one.fingerprint for one in entries if one.status is Status.APPROVED and one.authority is None]
        unverified = set(await self.maintenance.arrivals.unverified(approved))
        waiting = [entry.fingerprint for entry in entries if entry.status is not Status.APPROVED]
        renewing = {*waiting, *(entry.fingerprint for entry in entries if entry.authority)}
        approvals = self.maintenance.renewals.approvals(details[one] for one in renewing if one in details)
        subjects = {details[one].subject for one in waiting if one in details} - {""}
        same_name = self.ledger.shown.same_name(subjects, _MOST_SAME + 1)
        now = datetime.now(UTC)
        shown = []
        for entry in entries:
            certificate = details.get(entry.fingerprint)
            renewal = approvals.followed_by(certificate, _enrolled_at(entry)) if certificate else None
            one = views.entry(entry, certificate, now, renewal.as_json() if renewal else None)
            if certificate is not None and entry.status is not Status.APPROVED:
                others = same_name.get(certificate.subject, ())
                one["same_name"] = [other for other in others if other != entry.fingerprint][:_MOST_SAME]
            if entry.fingerprint in unverified:
                one["warnings"].append("certificate gone: Exim does not verify this client any more")
            shown.append(one)
        return shown


def _enrolled_at(entry: Entry) -> datetime | None:
    """Return when an authority approved it: what it renews was approved before. None if none has."""
    if entry.authority is None or entry.decision is None:
        return None
    return datetime.fromtimestamp(entry.decision.at / 1000, UTC)


def time_of(text: str | None) -> datetime | None:
    """Return the aware time of an RFC 3339 text, not before 1970. Raises UsageError."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text[:60]!r} is not a time: expected RFC 3339, such as 2026-11-22T17:03:03Z") from None
    if at < _EARLIEST:
        raise UsageError(f"{text[:60]!r} is before 1970")
    return at
