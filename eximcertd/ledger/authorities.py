"""Approved authorities, and the fingerprints that are approved because one of them issued the certificate.

An enrolment is a row beside an approved entry, and no decision: it exists as long as the approval comes from the
authority alone. A person's decision on the fingerprint removes it, and so does the authority's withdrawal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.identities import KEEP, Identity
from eximcertd.ledger.store import in_portions
from eximcertd.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from eximcertd.ledger.decisions import Decision
    from eximcertd.ledger.store import Store

MOST_HASHES: Final = 8
_COLUMNS: Final = "a.fingerprint, a.der, a.patterns, a.crl, a.standing, a.hashes, d.by, d.at, d.note, d.generation"
_ENDED: Final = (
    "SELECT n.fingerprint FROM json_each(?1) j CROSS JOIN enrolment n ON n.fingerprint = j.value"
    " JOIN authority a ON a.fingerprint = n.authority WHERE a.standing = 'revoked'"
)


@dataclass(frozen=True, slots=True)
class AuthorityRow:
    """An authority, and the last decision on it. der: its certificate. at: ms since the epoch.

    hashes: SHA-256 of its name, upper-case hex, as this machine's Exim was seen to print it. generation: see Decision.
    """

    fingerprint: Fingerprint
    der: bytes
    patterns: tuple[str, ...]
    crl: str
    approved: bool
    hashes: tuple[str, ...]
    by: str
    at: int
    note: str
    generation: int | None


class Enrolment(NamedTuple):
    """A certificate that an authority has issued. serial: in decimal. names: its alternative names."""

    authority: Fingerprint
    serial: int
    names: tuple[str, ...]
    identity: Identity


class Authorities:
    """The part of the ledger that holds authorities. Times are milliseconds since the epoch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[AuthorityRow]:
        """Return all authorities, the withdrawn ones too, ascending by fingerprint."""
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM authority a JOIN decision d ON d.id = a.decision ORDER BY a.fingerprint"  # noqa: S608 - a constant
            ).fetchall()
        return [_row(row) for row in rows]

    def approved(self) -> list[AuthorityRow]:
        """Return the approved ones."""
        return [row for row in self.all() if row.approved]

    def counts(self) -> dict[Fingerprint, int]:
        """Return how many certificates are enrolled under each authority."""
        with self._store.reading() as db:
            return dict(db.execute("SELECT authority, count(*) FROM enrolment GROUP BY authority").fetchall())

    def add(
        self,
        decision: Decision,
        der: bytes,
        patterns: Sequence[str],
        crl: str,
        *,
        hashes: Iterable[str],
        replaced: Iterable[Fingerprint] = (),
    ) -> None:
        """Approve an authority, or change its patterns and CRL; keep the decision. Raises LedgerError.

        replaced: older certificates of the same name and key: it takes over what they have enrolled.
        """
        with self._store.transaction() as db:
            number = _append(db, decision)
            db.execute(
                "INSERT INTO authority (fingerprint, der, patterns, crl, standing, hashes, decision)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET patterns = ?3, crl = ?4, standing = ?5,"
                " decision = ?7",
                (
                    decision.fingerprint, der, json.dumps(list(patterns)), crl, Status.APPROVED, " ".join(hashes),
                    number,
                ),
            )  # fmt: skip
            for name in replaced:
                of = (decision.fingerprint, name)
                db.execute("UPDATE enrolment SET authority = ? WHERE authority = ?", of)
                db.execute("UPDATE denial SET authority = ? WHERE authority = ?", of)
                change = (Status.REVOKED, number, name)
                db.execute("UPDATE authority SET standing = ?, decision = ? WHERE fingerprint = ?", change)

    def withdraw(self, decision: Decision) -> None:
        """Withdraw an authority. ``end`` ends the enrolments under it. Raises LedgerError."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE authority SET standing = ?, decision = ? WHERE fingerprint = ?",
                (Status.REVOKED, _append(db, decision), decision.fingerprint),
            )

    def ending(self, most: int, beyond: str = "") -> list[Fingerprint]:
        """Return what is still enrolled under withdrawn authorities, after ``beyond``, ascending, at most ``most``."""
        of = "authority a CROSS JOIN enrolment n ON n.authority = a.fingerprint WHERE a.standing = 'revoked'"
        with self._store.reading() as db:
            if not db.execute(f"SELECT EXISTS (SELECT 1 FROM {of})").fetchone()[0]:  # noqa: S608 - a constant
                return []
            rows = db.execute(  # in the table's order: ending them writes to few of its pages
                "SELECT fingerprint FROM enrolment WHERE fingerprint > ? AND +authority IN"
                " (SELECT fingerprint FROM authority WHERE standing = 'revoked') ORDER BY fingerprint LIMIT ?",
                (beyond, most),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def end(self, fingerprints: Iterable[Fingerprint], *, removed: bool = False) -> int:
        """Make fingerprints that are enrolled under withdrawn authorities pending again; return how many were.

        removed: Exim honours them no more, so that no publication of it is due. What a person has approved is no
        enrolment, and stays. Raises LedgerError.
        """
        names = json.dumps(list(fingerprints))
        with self._store.transaction() as db:
            db.execute(
                "UPDATE entry SET standing = 'pending', lapsed = 0, withheld = 0, revoke_at = NULL,"  # noqa: S608 - a constant
                " publishing = publishing AND NOT ?2, confirmed = confirmed AND NOT ?2"
                f" WHERE fingerprint IN ({_ENDED})",
                (names, removed),
            )
            return db.execute(f"DELETE FROM enrolment WHERE fingerprint IN ({_ENDED})", (names,)).rowcount  # noqa: S608 - a constant

    def enrol(self, enrolments: Iterable[Enrolment], now: int) -> list[Fingerprint]:
        """Approve pending fingerprints through their authorities; return those that were. Raises LedgerError.

        One that is enrolled already gets the dates of now: its authority may have been renewed. One that was removed
        from the macro file by hand stays removed.
        """
        with self._store.transaction() as db:
            return [one.identity.fingerprint for one in enrolments if _enrol(db, one, now)]

    def among(self, fingerprints: Sequence[Fingerprint]) -> set[Fingerprint]:
        """Return those of these fingerprints that are enrolled."""
        statement = "SELECT fingerprint FROM enrolment WHERE fingerprint IN (%s)"
        with self._store.reading() as db:
            return {Fingerprint(row[0]) for row in in_portions(db, statement, fingerprints)}

    def with_serials(self, authority: Fingerprint, serials: Iterable[int]) -> list[Fingerprint]:
        """Return the fingerprints that are enrolled under an authority and have one of these serial numbers."""
        statement = f"SELECT fingerprint FROM enrolment WHERE authority = '{authority}' AND serial IN (%s)"  # noqa: S608 - hex digits
        with self._store.reading() as db:
            return [Fingerprint(row[0]) for row in in_portions(db, statement, [str(one) for one in serials])]

    def learn(self, authority: Fingerprint, printed: str) -> bool:
        """Keep the hash of the authority's name that Exim has logged; return whether it is new."""
        with self._store.transaction() as db:
            row = db.execute("SELECT hashes FROM authority WHERE fingerprint = ?", (authority,)).fetchone()
            known = row[0].split() if row else []
            if row is None or printed in known:
                return False
            kept = " ".join([printed, *known][:MOST_HASHES])
            db.execute("UPDATE authority SET hashes = ? WHERE fingerprint = ?", (kept, authority))
            return True

    def forget(self, before: int) -> int:
        """Forget enrolled certificates that ended before a time; return how many. Raises LedgerError."""
        ended = (
            "SELECT n.fingerprint FROM identity i CROSS JOIN enrolment n USING (fingerprint)"
            " JOIN entry e USING (fingerprint) WHERE i.not_after < ? AND e.publishing = 0 AND e.confirmed = 0"
        )
        with self._store.transaction() as db:
            names = [(row[0],) for row in db.execute(f"{ended} LIMIT 10000", (before,))]
            for table in ("entry", "enrolment"):
                db.executemany(f"DELETE FROM {table} WHERE fingerprint = ?", names)  # noqa: S608 - constants
        return len(names)


def _enrol(db: sqlite3.Connection, one: Enrolment, now: int) -> bool:
    name = one.identity.fingerprint
    approved = db.execute(
        "UPDATE entry SET standing = 'approved', lapsed = 0 WHERE fingerprint = ?1 AND withheld = 0"
        " AND (standing = 'pending' OR EXISTS (SELECT 1 FROM enrolment WHERE fingerprint = ?1))",
        (name,),
    ).rowcount
    if approved:
        db.execute("DELETE FROM identity WHERE fingerprint = ?", (name,))
        db.execute(
            KEEP,
            one.identity.row(),
        )
        values = (name, one.authority, str(one.serial), json.dumps(one.names), now)
        db.execute(
            "INSERT INTO enrolment VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET authority = excluded.authority",
            values,
        )
    return bool(approved)


def _append(db: sqlite3.Connection, one: Decision) -> int:
    row = db.execute(
        "INSERT INTO decision (fingerprint, verb, by, at, note, request, generation) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (one.fingerprint, one.verb, one.by, one.at, one.note, one.request, one.generation),
    )
    return int(row.lastrowid or 0)


def _row(row: Sequence[Any]) -> AuthorityRow:
    fingerprint, der, patterns, crl, standing, hashes, *decision = row
    approved = standing == Status.APPROVED
    listed = tuple(json.loads(patterns))
    return AuthorityRow(Fingerprint(fingerprint), der, listed, crl, approved, tuple(hashes.split()), *decision)
