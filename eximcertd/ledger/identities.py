"""Identities: key, names and end of approved certificates, kept though their files go: so a renewal is known as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from eximcertd.ledger.store import Store


@dataclass(frozen=True, slots=True)
class Identity:
    """Of one approved certificate. spki, subject, issuer: as in Certificate. not_after: ms since the epoch, or None.

    by, at: who approved it, and when (ms since the epoch); not needed to keep one.
    """

    fingerprint: Fingerprint
    spki: str
    subject: str
    issuer: str
    not_after: int | None
    by: str = ""
    at: int = 0


class Identities:
    """The part of the ledger that knows approved certificates again."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, identities: Iterable[Identity]) -> None:
        """Remember these."""
        with self._store.transaction() as db:
            db.executemany(
                "INSERT INTO identity VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                ((one.fingerprint, one.spki, one.subject, one.issuer, one.not_after) for one in identities),
            )

    def approved(self, spkis: Collection[str], subjects: Collection[str]) -> list[Identity]:
        """Return approved certificates that have one of these keys or subjects; at most 500 of each are asked for."""
        if not spkis and not subjects:
            return []
        keys, names = ",".join("?" * len(spkis)), ",".join("?" * len(subjects))
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT i.fingerprint, i.spki, i.subject, i.issuer, i.not_after, d.by, d.at FROM identity i"  # noqa: S608 - marks only
                # CROSS JOIN: from these few outwards, never through all that are approved
                " CROSS JOIN entry e USING (fingerprint) CROSS JOIN decision d ON d.id = e.decision"
                f" WHERE e.standing = 'approved' AND (i.spki IN ({keys}) OR i.subject IN ({names})) LIMIT 10000",
                (*spkis, *subjects),
            ).fetchall()
        return [Identity(Fingerprint(row[0]), *row[1:]) for row in rows]
