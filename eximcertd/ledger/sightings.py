"""Sightings: attempts of certificates that are not allowed, counted in one transaction with the log position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.store import in_portions

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from eximcertd.ledger.shown import ShownCertificates
    from eximcertd.ledger.store import Store
    from eximcertd.log.sighting import Sighting

_MOST_FILES = 5000  # at a rotation a day, the logs of thirteen years
_IN_DIRECTORY = 1
_SHOWN = 2
_UNMATCHED = "standing = 'pending' AND matched <> 1"
_UNKNOWN = "standing = 'pending' AND matched = 0"
_GONE = (
    "publishing = 0 AND confirmed = 0"  # else Exim may honour it: what an authority had approved until it was withdrawn
)
_DROP = (
    "DELETE FROM entry WHERE fingerprint IN"  # noqa: S608 - constants
    f" (SELECT fingerprint FROM entry WHERE {_UNMATCHED} AND {_GONE} ORDER BY last_seen LIMIT ?)"
)
_MOST_DROPPED = 1000  # beyond as many as were seen: a withdrawal may leave a hundred thousand

_RUNNING = "(SELECT CAST(value AS INTEGER) FROM fact WHERE key = 'running_ms')"
_INSERT = (
    "INSERT INTO entry (fingerprint, standing, attempts, first_seen, last_seen,"  # noqa: S608 - a constant
    " host, helo, sender, recipient, matched,"
    f" recorded) VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, coalesce({_RUNNING}, 0))"
)
_NEWER = "?5 IS NOT NULL AND (host IS NULL OR coalesce(?4 >= last_seen, 1))"  # an old log may be read after a new one
_ADD = (
    f"recorded = coalesce({_RUNNING}, 0), attempts = attempts + ?2,"
    " first_seen = min(coalesce(first_seen, ?3), coalesce(?3, first_seen)),"
    " last_seen = max(coalesce(last_seen, ?4), coalesce(?4, last_seen)),"
    f" host = CASE WHEN {_NEWER} THEN ?5 ELSE host END, helo = CASE WHEN {_NEWER} THEN ?6 ELSE helo END,"
    f" sender = CASE WHEN {_NEWER} THEN ?7 ELSE sender END, recipient = CASE WHEN {_NEWER} THEN ?8 ELSE recipient END,"
    " matched = CASE WHEN matched = 1 OR ?9 = 0 THEN matched ELSE ?9 END"
)


class Sightings:
    """The part of the ledger that holds sightings.

    unmatched_limit: maximum number of fingerprints that match no certificate of the directory; the least recently
    seen are dropped.
    """

    def __init__(self, store: Store, shown: ShownCertificates, unmatched_limit: int) -> None:
        self._store = store
        self._shown = shown
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
        seen: Sequence[Sighting],
        known: Callable[[Fingerprint], bool],
        *,
        files: Sequence[tuple[str, str]] = (),
        now: int = 0,
    ) -> list[Fingerprint]:
        """Count the attempts and move the log position, in one transaction; return who is new to the queue.

        known: tells whether the certificate directory holds the fingerprint. files: (key, JSON) of the log files
        that were read. now: ms since the epoch. Raises LedgerError.
        """
        with self._store.transaction() as db:
            fresh = self._count(db, seen, known)
            _keep_files(db, files, now)
            db.execute(
                "INSERT INTO log_position VALUES (?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
                (source, position),
            )
        return fresh

    def record_scan(
        self,
        file: tuple[str, str],
        before: str | None,
        seen: Sequence[Sighting],
        *,
        known: Callable[[Fingerprint], bool],
        now: int,
    ) -> int | None:
        """Count what a scan found in a file (key, JSON), if ``before`` is what is kept of it.

        now: ms since the epoch. Return the number of attempts added; None, with nothing done, if more of the file was
        counted meanwhile. Raises LedgerError.
        """
        with self._store.transaction() as db:
            row = db.execute("SELECT segment FROM segment WHERE key = ?", file[:1]).fetchone()
            if (None if row is None else row[0]) != before:
                return None
            self._count(db, seen, known)
            _keep_files(db, [file], now)
        return sum(sighting.attempts for sighting in seen)

    def files(self) -> dict[str, str]:
        """Return what was counted of log files, as key -> JSON."""
        with self._store.reading() as db:
            return dict(db.execute("SELECT key, segment FROM segment ORDER BY at").fetchall())

    def match(self, appeared: Iterable[Fingerprint]) -> list[Fingerprint]:
        """Mark these fingerprints as having a certificate in the directory; return those that had none before."""
        rows = [(fingerprint,) for fingerprint in appeared]
        with self._store.transaction() as db:
            fresh = [
                row[0]
                for row in rows
                if db.execute(f"SELECT 1 FROM entry WHERE fingerprint = ? AND {_UNKNOWN}", row).fetchone()  # noqa: S608 - a constant
            ]
            db.executemany(
                "UPDATE entry SET matched = 1 WHERE fingerprint = ? AND (standing = 'pending' OR matched = 2)", rows
            )
        return fresh

    def unmatched(self, known: Callable[[Fingerprint], bool]) -> list[Fingerprint]:
        """Return the fingerprints for which no file was in the directory when they were seen, and is now.

        Those that are pending, and those that somebody has approved as their clients have shown them. known: tells
        whether the directory holds a fingerprint.
        """
        statement = (
            f"SELECT fingerprint FROM entry WHERE {_UNMATCHED}"  # noqa: S608 - a constant
            " UNION ALL SELECT fingerprint FROM entry INDEXED BY entry_shown"
            " WHERE standing = 'approved' AND matched = 2 AND decision IS NOT NULL"
        )
        with self._store.reading() as db:
            return [name for row in db.execute(statement) if known(name := Fingerprint(row[0]))]

    def forget(self, before: int) -> int:
        """Forget pending entries last recorded before a running time (ms, ledger/clock.py); return how many."""
        with self._store.transaction() as db:
            old = f"DELETE FROM entry WHERE standing = 'pending' AND recorded < ? AND {_GONE}"  # noqa: S608 - a constant
            return db.execute(old, (before,)).rowcount

    def dropped(self) -> int:
        """Return how many unmatched fingerprints were dropped, ever, to keep within the limit."""
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = 'unmatched_dropped'").fetchone()
        return int(row[0]) if row else 0

    def uses_since(self) -> int | None:
        """Return when the first use of a certificate that was counted took place (ms since the epoch), or None."""
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = 'uses_since'").fetchone()
        return int(row[0]) if row else None

    def _count(
        self, db: sqlite3.Connection, seen: Sequence[Sighting], known: Callable[[Fingerprint], bool]
    ) -> list[Fingerprint]:
        fresh: list[Fingerprint] = []
        unmatched: list[tuple[object, ...]] = []
        for one in seen:
            if not one.attempts and one.peer is None and one.certificate is None:
                continue  # it was accepted
            matched = _IN_DIRECTORY if known(one.fingerprint) else _SHOWN if one.certificate else 0
            peer = one.peer
            told = (peer.host, peer.helo, peer.sender, peer.recipient) if peer else (None,) * 4
            values = (one.fingerprint, one.attempts, one.first, one.last, *told, matched)
            if one.attempts and matched != _IN_DIRECTORY:
                unmatched.append(values)
            elif not _update(db, values) and one.attempts:
                db.execute(_INSERT, values)
                fresh.append(one.fingerprint)
        db.executemany(
            f"{_INSERT} ON CONFLICT (fingerprint) DO UPDATE SET {_ADD}", unmatched
        )  # a flood comes by the thousand
        db.executemany(
            "UPDATE entry SET uses = uses + ?2, used = max(coalesce(used, ?3), ?3) WHERE fingerprint = ?1",
            ((one.fingerprint, one.uses, one.used) for one in seen if one.uses),
        )
        if times := [one.used for one in seen if one.uses and one.used is not None]:
            db.execute(
                "INSERT INTO fact VALUES ('uses_since', ?1) ON CONFLICT DO UPDATE SET value = ?1"
                " WHERE CAST(value AS INTEGER) > ?1",
                (min(times),),
            )
        shown = self._shown.keep(db, {one.fingerprint: one.certificate for one in seen if one.certificate is not None})
        self._bound(db, len(seen) + _MOST_DROPPED)
        statement = "SELECT fingerprint FROM entry WHERE standing = 'pending' AND matched = 2 AND fingerprint IN (%s)"
        return fresh + [Fingerprint(row[0]) for row in in_portions(db, statement, shown)]

    def _bound(self, db: sqlite3.Connection, most: int) -> None:
        many = db.execute(f"SELECT count(*) FROM entry WHERE {_UNMATCHED}").fetchone()[0]  # noqa: S608 - a constant
        if many <= self.unmatched_limit:
            return
        dropped = db.execute(_DROP, (min(many - self.unmatched_limit, most),)).rowcount
        db.execute(
            "INSERT INTO fact VALUES ('unmatched_dropped', ?1)"
            " ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + ?1",
            (dropped,),
        )


def _update(db: sqlite3.Connection, values: tuple[object, ...]) -> bool:
    found = db.execute(f"UPDATE entry SET {_ADD} WHERE fingerprint = ?1", values)  # noqa: S608 - a constant
    return bool(found.rowcount)


def _keep_files(db: sqlite3.Connection, files: Sequence[tuple[str, str]], now: int) -> None:
    db.executemany(
        "INSERT INTO segment VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET segment = excluded.segment, at = excluded.at",
        ((key, text, now) for key, text in files),
    )
    db.execute(
        "DELETE FROM segment WHERE key IN (SELECT key FROM segment ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (_MOST_FILES,),
    )
