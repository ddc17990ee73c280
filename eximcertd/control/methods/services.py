"""What the methods work with, and what several of them do: find the entry that is meant, and show it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from eximcertd.certificates.renewal import Approvals, Approved
from eximcertd.control.methods import views
from eximcertd.errors import NoSuchFingerprintError, UsageError
from eximcertd.fingerprint import LENGTH, Fingerprint, FingerprintError, parse_prefix
from eximcertd.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.certificates.index import Index
    from eximcertd.decisions.decide import Deciding
    from eximcertd.intake import Intake
    from eximcertd.ledger import Ledger
    from eximcertd.ledger.entries import Entry
    from eximcertd.maintenance.maintenance import Maintenance
    from eximcertd.publication.publication import Publication

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """What the methods work with; all of it belongs to the loop."""

    ledger: Ledger
    index: Index
    intake: Intake
    deciding: Deciding
    publication: Publication
    maintenance: Maintenance

    def resolve(self, texts: Iterable[str]) -> list[Fingerprint]:
        """Return the fingerprints that the texts name. Raises NoSuchFingerprintError and UsageError."""
        found = []
        for text in texts:
            try:
                found.append(self._one(text))
            except FingerprintError as error:
                raise UsageError(str(error)) from error
        return list(dict.fromkeys(found))

    def _one(self, text: str) -> Fingerprint:
        """Return the fingerprint that ``text`` names, in the ledger or else in the certificate directory."""
        try:
            return self.ledger.entries.resolve(text)
        except NoSuchFingerprintError as error:
            if error.candidates:
                raise
            prefix = parse_prefix(text)
            found = [fingerprint for fingerprint in self.index if fingerprint.startswith(prefix)]
            if len(found) == 1:
                return found[0]
            raise

    async def shown(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """Return Entries of the interface, with their certificates."""
        names = [entry.fingerprint for entry in entries]
        details: dict[Fingerprint, Certificate] = await asyncio.to_thread(self.index.details_of, names)
        waiting = [entry.fingerprint for entry in entries if entry.status is not Status.APPROVED]
        approvals = self.approvals(details[one] for one in waiting if one in details)
        now = datetime.now(UTC)
        shown = []
        for entry in entries:
            certificate = details.get(entry.fingerprint)
            renewal = approvals.followed_by(certificate) if certificate else None
            one = views.entry(entry, certificate, now, renewal.as_json() if renewal else None)
            if entry.status is Status.APPROVED and entry.fingerprint not in self.index:
                one["warnings"] = ["certificate gone: Exim does not verify this client any more"]
            if entry.withheld:
                one["warnings"].append("taken out of the macro file by hand: settle it by approve or revoke")
            shown.append(one)
        return shown

    def approvals(self, certificates: Iterable[Certificate]) -> Approvals:
        """Return the approved certificates that any of these may renew."""
        certificates = tuple(certificates)
        like = self.ledger.identities.approved(
            {one.spki for one in certificates if one.spki}, {one.subject for one in certificates if one.subject}
        )
        return Approvals(
            Approved(
                one.fingerprint, one.spki, one.subject, one.issuer, one.by, datetime.fromtimestamp(one.at / 1000, UTC)
            )
            for one in like
        )


def prefix(text: str) -> str:
    """Return the digits that a text spells. Raises UsageError."""
    try:
        return parse_prefix(text)
    except FingerprintError as error:
        raise UsageError(str(error)) from error


def whole(text: str) -> Fingerprint:
    """Return the whole fingerprint that a text spells. Raises UsageError."""
    digits = prefix(text)
    if len(digits) != LENGTH:
        raise UsageError(f"{digits} is no whole fingerprint")
    return Fingerprint(digits)


def time_of(text: str | None) -> datetime | None:
    """Return the aware time that RFC 3339 text tells, not before 1970. Raises UsageError."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text[:60]!r} is no time: expected RFC 3339, such as 2026-11-22T17:03:03Z") from None
    if at < _EARLIEST:
        raise UsageError(f"{text[:60]!r} is before 1970")
    return at


def past_time_of(text: str | None) -> datetime | None:
    """Return the time of something that has happened, by a clock that is a day ahead at most. Raises UsageError."""
    at = time_of(text)
    if at is not None and at > datetime.now(UTC) + timedelta(days=1):
        raise UsageError(f"{str(text)[:60]!r} is in the future")
    return at
