"""Sightings: attempts of certificates that are not allowed, counted in one transaction with the log position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from eximcertd.ledger.store import Store
    from eximcertd.log.line import Peer

_MOST_SEGMENTS = 5000  # at a rotation a day, the logs of thirteen years
_UNMATCHED = "standing = 'pending' AND matched = 0"
_DROP = f"DELETE FROM entry WHERE fingerprint IN (SELECT fingerprint FROM entry WHERE {_UNMATCHED} ORDER BY last_seen LIMIT ?)"  # noqa: S608, E501 - a constant


_INSERT = (
    "INSERT INTO entry (fingerprint, standing, attempts, first_seen, last_seen, host, helo, sender, recipient, matched)"
    " VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
)
_ADD = (
    "attempts = attempts + ?2,"
    " first_seen = min(coalesce(first_seen, ?3), coalesce(?3, first_seen)),"
    " last_seen = max(coalesce(last_seen, ?4), coalesce(?4, last_seen)),"
    " host = coalesce(?5, host), helo = coalesce(?6, helo), sender = coalesce(?7, sender),"
    " recipient = coalesce(?8, recipient), matched = max(matched, ?9)"
)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts of one certificate. first, last: milliseconds since the epoch, or None without a time stamp.

    count 0: nothing but who it was (the peer of an attempt that was counted before).
    """

    fingerprint: Fingerprint
    count: int
    first: int | None
    last: int | None
    peer: Peer | None = None


class Sightings:
    """The part of the ledger that holds what was seen.

    unmatched_limit: how many fingerprints that match no certificate are kept; the least recently seen go first.
    """

    def __init__(self, store: Store, unmatched_limit: int) -> None:
        self._store = store
        self.unmatched_limit = unmatched_limit

    def position(self, source: str) -> str | None:
        """Return the position in a log that was stored last, or None."""
        with self._store.reading() as db:
            row = db.execute("SELECT position FROM log_position WHERE source = ?", (source,)).fetchone()
        return None if row is None else str(row[0])

    def record(
        self,
        source: str,
        position: str,
        seen: Sequence[Attempts],
        known: Callable[[Fingerprint], bool],
        *,
        segments: Sequence[tuple[str, str]] = (),
        now: int = 0,
    ) -> list[Fingerprint]:
        """Count the attempts and move the log position, in one transaction; return who is new to the queue.

        known: tells whether the certificate directory holds the fingerprint. segments: (key, JSON) of log files
        that are left behind. now: ms since the epoch. Raises LedgerError.
        """
        with self._store.transaction() as db:
            fresh = self._count(db, seen, known)
            _keep_segments(db, segments, now)
            db.execute(
                "INSERT INTO log_position VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
                (source, position),
            )
        return fresh

    def record_segment(
        self,
        segment: tuple[str, str],
        before: str | None,
        seen: Sequence[Attempts],
        *,
        known: Callable[[Fingerprint], bool],
        now: int,
    ) -> int | None:
        """Count what a scan found in a segment (key, JSON) of an old log, if ``before`` is what is kept of it.

        Return the number of attempts added; None, with nothing done, if somebody counted more of the segment
        meanwhile. Raises LedgerError.
        """
        with self._store.transaction() as db:
            row = db.execute("SELECT segment FROM segment WHERE key = ?", segment[:1]).fetchone()
            if (None if row is None else row[0]) != before:
                return None
            self._count(db, seen, known)
            _keep_segments(db, [segment], now)
        return sum(attempts.count for attempts in seen)

    def segments(self) -> dict[str, str]:
        """Return the log files that were counted, as key -> JSON."""
        with self._store.reading() as db:
            return dict(db.execute("SELECT key, segment FROM segment").fetchall())

    def match(self, appeared: Iterable[Fingerprint]) -> list[Fingerprint]:
        """Note that the certificates of these fingerprints are there now; return those that were waiting for it."""
        with self._store.transaction() as db:
            return [
                fingerprint
                for fingerprint in appeared
                if db.execute(
                    f"UPDATE entry SET matched = 1 WHERE fingerprint = ? AND {_UNMATCHED}",  # noqa: S608 - a constant
                    (fingerprint,),
                ).rowcount
            ]

    def unmatched(self) -> set[Fingerprint]:
        """Return the pending fingerprints for which no certificate was there when they were seen."""
        with self._store.reading() as db:
            rows = db.execute(f"SELECT fingerprint FROM entry WHERE {_UNMATCHED}").fetchall()  # noqa: S608 - a constant
        return {Fingerprint(row[0]) for row in rows}

    def forget(self, before: int) -> int:
        """Forget what is pending and was last seen before a time (ms since the epoch); return how many."""
        with self._store.transaction() as db:
            return db.execute("DELETE FROM entry WHERE standing = 'pending' AND last_seen < ?", (before,)).rowcount

    def dropped(self) -> int:
        """Return how many unmatched fingerprints were dropped, ever, to keep within the limit."""
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = 'unmatched_dropped'").fetchone()
        return int(row[0]) if row else 0

    def _count(
        self, db: sqlite3.Connection, seen: Sequence[Attempts], known: Callable[[Fingerprint], bool]
    ) -> list[Fingerprint]:
        fresh: list[Fingerprint] = []
        strangers: list[tuple[object, ...]] = []
        for attempts in seen:
            peer = attempts.peer
            matched = known(attempts.fingerprint)
            values = (
                attempts.fingerprint,
                attempts.count,
                attempts.first,
                attempts.last,
                *((peer.host, peer.helo, peer.sender, peer.recipient) if peer else (None,) * 4),
                matched,
            )
            if attempts.count and not matched:
                strangers.append(values)
            elif not _update(db, values) and attempts.count:
                db.execute(_INSERT, values)
                fresh.append(attempts.fingerprint)
        db.executemany(
            f"{_INSERT} ON CONFLICT (fingerprint) DO UPDATE SET {_ADD}", strangers
        )  # a flood comes by the thousand
        self._bound(db)
        return fresh

    def _bound(self, db: sqlite3.Connection) -> None:
        many = db.execute(f"SELECT count(*) FROM entry WHERE {_UNMATCHED}").fetchone()[0]  # noqa: S608 - a constant
        if many <= self.unmatched_limit:
            return
        dropped = db.execute(_DROP, (many - self.unmatched_limit,)).rowcount
        db.execute(
            "INSERT INTO fact VALUES ('unmatched_dropped', ?1)"
            " ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + ?1",
            (dropped,),
        )


def _update(db: sqlite3.Connection, values: tuple[object, ...]) -> bool:
    found = db.execute(f"UPDATE entry SET {_ADD} WHERE fingerprint = ?1", values)  # noqa: S608 - a constant
    return bool(found.rowcount)


def _keep_segments(db: sqlite3.Connection, segments: Sequence[tuple[str, str]], now: int) -> None:
    db.executemany(
        "INSERT INTO segment VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET segment = excluded.segment, at = excluded.at",
        ((key, text, now) for key, text in segments),
    )
    db.execute(
        "DELETE FROM segment WHERE key IN (SELECT key FROM segment ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (_MOST_SEGMENTS,),
    )
