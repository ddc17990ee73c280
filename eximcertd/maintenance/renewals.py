"""Renewals: which certificate renews which, and the revocation of the one that was replaced."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from eximcertd.certificates.renewal import Approvals, Approved
from eximcertd.decisions.sources import by_policy
from eximcertd.errors import UsageError
from eximcertd.status import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.decisions.decide import Decider
    from eximcertd.fingerprint import Fingerprint
    from eximcertd.ledger import Ledger


class Renewals:
    """Finds the certificates that others renew."""

    def __init__(self, ledger: Ledger, decider: Decider) -> None:
        self._ledger = ledger
        self._decider = decider

    def approvals(self, certificates: Iterable[Certificate]) -> Approvals:
        """Return the approved certificates that any of these may renew."""
        certificates = tuple(certificates)
        like = self._ledger.identities.approved(
            {one.spki for one in certificates if one.spki}, {one.subject for one in certificates if one.subject}
        )
        return Approvals(
            Approved(
                one.fingerprint, one.spki, one.subject, one.issuer, one.by, datetime.fromtimestamp(one.at / 1000, UTC)
            )
            for one in like
        )

    def replaced_by(
        self, fingerprints: Sequence[Fingerprint], certificates: Mapping[Fingerprint, Certificate]
    ) -> dict[Fingerprint, int | None]:
        """Return the approved certificates that these renew, each with its end (ms since the epoch).

        Raises UsageError where one of them renews nothing.
        """
        approvals = self.approvals(certificates.values())
        ends: dict[Fingerprint, int | None] = {}
        for fingerprint in fingerprints:
            certificate = certificates.get(fingerprint)
            renewal = approvals.followed_by(certificate) if certificate else None
            if renewal is None:
                raise UsageError(f"{fingerprint} renews no approved certificate: leave --replace out")
            old = renewal.of.fingerprint
            ends[old] = self._ledger.identities.among([old])[old].not_after
        return ends

    def schedule(self, ends: Mapping[Fingerprint, int | None], at: datetime | None) -> None:
        """Have these approved certificates revoked at a time, or each at its end (ms since the epoch)."""
        times = {old: end if at is None else int(at.timestamp() * 1000) for old, end in ends.items()}
        self._ledger.lapses.schedule([(old, when) for old, when in times.items() if when is not None])

    def revoke_due(self, now: float) -> list[Fingerprint]:
        """Make the scheduled revocations that are due at ``now`` (seconds), and return them. Raises LedgerError."""
        due = self._ledger.lapses.due(int(now * 1000))
        if due:
            self._decider.decide(by_policy(Verb.REVOKE, due, "replaced by its successor", int(now * 1000)))
        return due
