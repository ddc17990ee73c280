"""Certificates that clients showed in refused attempts: kept as long as their entries, within a bound."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.store import in_portions

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from eximcertd.ledger.store import Store
    from eximcertd.log.sighting import ShownCertificate

MOST_BYTES: Final = 10 << 20
"""Maximum number of bytes of certificates, in DER form, of entries without a decision."""
MOST_ENROLLED: Final = 10_000
"""Maximum number of certificates of entries that an authority has approved, but for those that came last."""
_KEPT: Final = MOST_BYTES // 16 * 15
"""So many are kept where there are more, so that not every sighting removes one."""

_INSERT: Final = (
    "INSERT INTO shown (fingerprint, der, issuer_hash, name)"
    " SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM entry WHERE fingerprint = ?1)"
)


class ShownCertificates:
    """The part of the ledger that holds these certificates."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bytes = MOST_BYTES + 1  # of undecided entries, at most: counted when that is too many

    def of(self, fingerprints: Collection[Fingerprint]) -> dict[Fingerprint, tuple[bytes, str]]:
        """Return DER form and issuer_hash (see ShownCertificate) of those that are kept."""
        statement = "SELECT fingerprint, der, issuer_hash FROM shown WHERE fingerprint IN (%s)"
        with self._store.reading() as db:
            return {Fingerprint(row[0]): (row[1], row[2]) for row in in_portions(db, statement, list(fingerprints))}

    def waiting(self) -> list[tuple[Fingerprint, bytes, str]]:
        """Return fingerprint, DER form and issuer_hash of the pending ones; MOST_BYTES of them at most."""
        statement = (
            "SELECT s.fingerprint, s.der, s.issuer_hash FROM shown s JOIN entry e USING (fingerprint)"
            " WHERE e.standing = 'pending'"
        )
        with self._store.reading() as db:
            return [(Fingerprint(row[0]), row[1], row[2]) for row in db.execute(statement)]

    def issuers(self, most: int) -> list[tuple[str, int, Fingerprint]]:
        """Return issuer_hash, number and one example of the pending ones that only clients have shown, by issuer.

        Those of which there are two or more, the largest number first.
        """
        statement = (
            "SELECT s.issuer_hash, count(*), min(s.fingerprint) FROM shown s JOIN entry e USING (fingerprint)"
            " WHERE e.standing = 'pending' AND e.matched = 2 GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC LIMIT ?"
        )
        with self._store.reading() as db:
            return [(row[0], row[1], Fingerprint(row[2])) for row in db.execute(statement, (most,))]

    def approved(self) -> list[Fingerprint]:
        """Return the approved fingerprints whose certificates are kept."""
        statement = (  # CROSS: from the few that are kept outwards, never through all that are approved
            "SELECT s.fingerprint FROM shown s CROSS JOIN entry e USING (fingerprint) WHERE e.standing = 'approved'"
        )
        with self._store.reading() as db:
            return [Fingerprint(row[0]) for row in db.execute(statement)]

    def only(self, fingerprints: Collection[Fingerprint]) -> set[Fingerprint]:
        """Return those whose certificates no file of the directory held when they were seen."""
        statement = "SELECT fingerprint FROM entry WHERE matched = 2 AND fingerprint IN (%s)"
        with self._store.reading() as db:
            return {Fingerprint(row[0]) for row in in_portions(db, statement, list(fingerprints))}

    def same_name(self, subjects: Iterable[str], most: int) -> dict[str, list[Fingerprint]]:
        """Return which pending and approved entries have one of these subjects, at most ``most`` for each.

        Of approved ones those without a kept certificate are found too.
        """
        statement = (
            "SELECT e.fingerprint FROM (SELECT fingerprint FROM shown WHERE name = ?1"
            " UNION ALL SELECT fingerprint FROM identity WHERE subject = ?2)"
            " JOIN entry e USING (fingerprint) WHERE e.standing IN ('pending', 'approved') LIMIT ?3"
        )
        with self._store.reading() as db:
            return {
                subject: list(
                    dict.fromkeys(
                        Fingerprint(row[0]) for row in db.execute(statement, (_digest(subject), subject, 2 * most))
                    )
                )[:most]
                for subject in subjects
            }

    def keep(self, db: sqlite3.Connection, shown: Mapping[Fingerprint, ShownCertificate]) -> list[Fingerprint]:
        """Keep these, in a transaction of the sightings; return those that are new. Without an entry none is kept."""
        statement = "SELECT fingerprint FROM shown WHERE fingerprint IN (%s)"
        known = {row[0] for row in in_portions(db, statement, list(shown))}
        fresh = [fingerprint for fingerprint in shown if fingerprint not in known]
        certificates = [shown[fingerprint] for fingerprint in fresh]
        db.executemany(
            _INSERT,
            (
                (fingerprint, of.der, of.issuer_hash, _digest(of.subject))
                for fingerprint, of in zip(fresh, certificates, strict=True)
            ),
        )
        self._bytes += sum(len(of.der) for of in certificates)
        if self._bytes > MOST_BYTES:
            self._bound(db)
        return fresh

    def _bound(self, db: sqlite3.Connection) -> None:
        """Remove the certificates of the least recently seen undecided entries, and of enrolled ones, if too many."""
        enrolled = "SELECT s.fingerprint FROM shown s JOIN enrolment n USING (fingerprint) ORDER BY s.id DESC"
        removed = db.execute(f"{enrolled} LIMIT -1 OFFSET ?", (MOST_ENROLLED,)).fetchall()
        rows: Sequence[tuple[str, int]] = db.execute(
            "SELECT s.fingerprint, length(s.der) FROM shown s JOIN entry e USING (fingerprint)"
            " WHERE e.standing = 'pending' ORDER BY e.last_seen"
        ).fetchall()
        self._bytes = sum(size for _, size in rows)
        kept = MOST_BYTES if self._bytes <= MOST_BYTES else _KEPT
        for fingerprint, size in rows:
            if self._bytes <= kept:
                break
            removed.append((fingerprint,))
            self._bytes -= size
        db.executemany("DELETE FROM shown WHERE fingerprint = ?", removed)
        db.executemany("UPDATE entry SET matched = 0 WHERE fingerprint = ? AND matched = 2", removed)


def _digest(subject: str) -> bytes | None:
    """Return what is kept of a subject, to find others of the same one; a missing subject is no name."""
    return sha256(subject.encode("utf-8", "surrogatepass")).digest()[:16] if subject else None
