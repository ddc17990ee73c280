"""Identities: key, names and validity of approved certificates, kept after their files are removed.

They show which certificate a new one renews, and when a certificate expires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.store import in_portions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from eximcertd.certificates.certificate import Certificate
    from eximcertd.ledger.store import Store

KEEP: Final = (
    "INSERT INTO identity (fingerprint, spki, subject, issuer, not_after, not_before) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET not_before = excluded.not_before"
)
_COLUMNS: Final = "fingerprint, spki, subject, issuer, not_after, not_before"


@dataclass(frozen=True, slots=True)
class Identity:
    """Of one approved certificate. spki, subject, issuer: as in Certificate. Times: ms since the epoch, or None.

    by, at: who approved it, and when (ms since the epoch); not needed to keep one.
    """

    fingerprint: Fingerprint
    spki: str
    subject: str
    issuer: str
    not_after: int | None
    not_before: int | None = None
    by: str = ""
    at: int = 0

    @classmethod
    def of(cls, certificate: Certificate) -> Identity:
        """Return what is kept of a certificate."""
        return cls(
            certificate.fingerprint,
            certificate.spki,
            certificate.subject,
            certificate.issuer,
            _milliseconds(certificate.not_after),
            _milliseconds(certificate.not_before),
        )

    def valid_at(self, at: int) -> bool:
        """Tell whether its time has begun and not ended at a time (ms since the epoch), as far as that is known."""
        return (self.not_before is None or self.not_before <= at) and (self.not_after is None or at <= self.not_after)

    def row(self) -> tuple[object, ...]:
        """Return the values for KEEP."""
        return (self.fingerprint, self.spki, self.subject, self.issuer, self.not_after, self.not_before)


class Identities:
    """The part of the ledger that recognises approved certificates."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, identities: Iterable[Identity]) -> None:
        """Remember these."""
        rows = [one.row() for one in identities]
        if rows:
            with self._store.transaction() as db:
                db.executemany(KEEP, rows)

    def among(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, Identity]:
        """Return what is kept of these certificates."""
        with self._store.reading() as db:
            rows = list(
                in_portions(db, f"SELECT {_COLUMNS} FROM identity WHERE fingerprint IN (%s)", list(fingerprints))  # noqa: S608 - a constant
            )
        return {Fingerprint(row[0]): Identity(Fingerprint(row[0]), *row[1:]) for row in rows}

    def unknown_among(self, fingerprints: Collection[Fingerprint]) -> list[Fingerprint]:
        """Return the approved ones of these fingerprints of which nothing is kept."""
        statement = (
            "SELECT e.fingerprint FROM entry e LEFT JOIN identity i ON i.fingerprint = e.fingerprint"
            # +: from these few outwards, never through all that are approved
            " WHERE +e.standing = 'approved' AND i.not_before IS NULL AND e.fingerprint IN (%s)"
        )
        with self._store.reading() as db:
            return [Fingerprint(row[0]) for row in in_portions(db, statement, list(fingerprints))]

    def approved(self, spkis: Collection[str], subjects: Collection[str]) -> list[Identity]:
        """Return approved certificates that have one of these keys or subjects; at most 500 of each are asked for."""
        if not spkis and not subjects:
            return []
        keys, names = ",".join("?" * len(spkis)), ",".join("?" * len(subjects))
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT i.fingerprint, i.spki, i.subject, i.issuer, i.not_after, i.not_before,"  # noqa: S608 - marks only
                " coalesce(d.by, 'authority ' || substr(n.authority, 1, 16)), coalesce(d.at, n.at)"
                # CROSS JOIN: from these few outwards, never through all that are approved
                " FROM identity i CROSS JOIN entry e USING (fingerprint) LEFT JOIN decision d ON d.id = e.decision"
                " LEFT JOIN enrolment n ON n.fingerprint = e.fingerprint"
                " WHERE e.standing = 'approved' AND coalesce(d.at, n.at) IS NOT NULL"
                f" AND (i.spki IN ({keys}) OR i.subject IN ({names})) LIMIT 10000",
                (*spkis, *subjects),
            ).fetchall()
        return [Identity(Fingerprint(row[0]), *row[1:]) for row in rows]


def bound(subject: str, names: Iterable[str], key: str) -> list[tuple[str, str]]:
    """Return what a denial of a certificate binds, and what a new one must not have: (kind, value)."""
    values = [("subject", subject.lower()), *(("name", name.lower()) for name in names), ("key", key)]
    return [(kind, value) for kind, value in values if value]


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
