"""What the fleet is told: this relay's decisions that no act has settled, and the pending entries that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.store import in_portions
from eximcertd.status import Verb

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from eximcertd.ledger.store import Store

_OWN: Final = "id, fingerprint, verb, by, at, note, base, lost"
_SIGHTED: Final = (
    "SELECT f.number, e.fingerprint, e.attempts, coalesce(e.first_seen, 0), coalesce(e.last_seen, 0),"
    " e.host, e.helo, e.sender, e.recipient"
    " FROM fleet_sighted f CROSS JOIN entry e USING (fingerprint)"
    " WHERE f.number > ? AND e.standing = 'pending' ORDER BY f.number LIMIT ?"
)


class OwnRow(NamedTuple):
    """A decision of this relay that no act has settled; see fleet.remote.OwnDecision."""

    id: str
    fingerprint: Fingerprint
    verb: str
    by: str
    at: int
    note: str
    base: int
    lost: bool


class SightedRow(NamedTuple):
    """A pending entry that has changed. number: its place in the order of changes. Times: ms since the epoch."""

    number: int
    fingerprint: Fingerprint
    attempts: int
    first_seen: int
    last_seen: int
    host: str | None
    helo: str | None
    sender: str | None
    recipient: str | None


class FleetNews:
    """The part of the ledger that tells it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def own(self, most: int) -> list[OwnRow]:
        """Return open decisions of this relay: rejections and revocations first, then the newest."""
        rows: list[OwnRow] = []
        with self._store.reading() as db:
            for verb in (Verb.REVOKE, Verb.REJECT, Verb.ADOPT, Verb.APPROVE):
                of = (verb, most - len(rows))
                query = f"SELECT {_OWN} FROM own WHERE verb = ? ORDER BY at DESC LIMIT ?"  # noqa: S608 - a constant
                rows += map(_own_row, db.execute(query, of))
        return rows

    def own_among(self, fingerprints: Sequence[Fingerprint]) -> list[OwnRow]:
        """Return the open decisions of this relay on these fingerprints."""
        query = f"SELECT {_OWN} FROM own WHERE fingerprint IN (%s)"  # noqa: S608 - a constant
        with self._store.reading() as db:
            return [_own_row(row) for row in in_portions(db, query, fingerprints)]

    def own_count(self) -> int:
        """Return how many decisions of this relay are open."""
        with self._store.reading() as db:
            return int(db.execute("SELECT count(*) FROM own").fetchone()[0])

    def revision(self) -> str:
        """Return a text that is another one after any change of the open decisions."""
        with self._store.reading() as db:
            newest = db.execute("SELECT coalesce(max(id), 0) FROM decision").fetchone()[0]
            head = db.execute("SELECT hash FROM fleet_act ORDER BY generation DESC LIMIT 1").fetchone()
            return f"{newest}.{applied(db)}.{head[0][:16] if head else ''}"

    def sighted(self, after: int, most: int) -> list[SightedRow]:
        """Return pending entries that have changed, in the order of their last change."""
        with self._store.reading() as db:
            rows = db.execute(_SIGHTED, (after, most)).fetchall()
        return [SightedRow(row[0], Fingerprint(row[1]), *row[2:]) for row in rows]


def _own_row(row: tuple[object, ...]) -> OwnRow:
    *values, lost = row
    return OwnRow(*values, bool(lost))  # type: ignore[call-arg,arg-type]


def applied(db: sqlite3.Connection) -> int:
    """Return the generation of the last act that was applied to all of its fingerprints."""
    return int(db.execute("SELECT applied FROM fleet").fetchone()[0])


def fact(db: sqlite3.Connection, key: str) -> str:
    """Return a fact of the ledger, "" if it is not set."""
    row = db.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else ""
