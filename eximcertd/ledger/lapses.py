"""Lapses: approved fingerprints that are off the allowlist because of their dates, without a decision.

A lapse is derived from the expiry of the certificate (table identity) and from a revocation that a person has
scheduled, each time. It is undone when the clock is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.ledger.store import Store

_SCHEDULED: Final = (
    "SELECT fingerprint FROM entry INDEXED BY entry_revoke_at WHERE revoke_at <= ?1 AND standing = 'approved'"
)
_ENDED: Final = (
    "SELECT i.fingerprint FROM identity i CROSS JOIN entry e ON e.fingerprint = i.fingerprint"
    " WHERE i.not_after > ?1 AND i.not_after <= ?2 AND e.standing = 'approved'"
)
_LONG_AGO: Final = -(1 << 62)


class Lapses:
    """The part of the ledger that holds expiry and scheduled revocations. Times are milliseconds since the epoch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def derive(self, now: int, drop_after: int | None) -> tuple[list[Fingerprint], list[Fingerprint]]:
        """Update which entries have lapsed at ``now``; return those that now have, and those that no longer have.

        drop_after: ms after its end that a certificate leaves the list, or None: it stays.
        """
        with self._store.transaction() as db:
            lapsed = {row[0] for row in db.execute(_SCHEDULED, (now,))}
            if drop_after is not None:
                lapsed.update(row[0] for row in db.execute(_ENDED, (_LONG_AGO, now - drop_after)))
            before = {row[0] for row in db.execute("SELECT fingerprint FROM entry WHERE lapsed = 1")}
            gone, back = sorted(lapsed - before), sorted(before - lapsed)
            db.executemany("UPDATE entry SET lapsed = 1 WHERE fingerprint = ?", ((one,) for one in gone))
            db.executemany("UPDATE entry SET lapsed = 0 WHERE fingerprint = ?", ((one,) for one in back))
        return [Fingerprint(one) for one in gone], [Fingerprint(one) for one in back]

    def next_change(self, now: int, drop_after: int | None) -> int | None:
        """Return when the next certificate ends or lapses, or the next scheduled revocation comes; None for never."""
        with self._store.reading() as db:
            (ends,) = db.execute("SELECT min(not_after) FROM identity WHERE not_after >= ?", (now,)).fetchone()
            (revoked,) = db.execute(
                "SELECT min(revoke_at) FROM entry INDEXED BY entry_revoke_at WHERE revoke_at > ?", (now,)
            ).fetchone()
            times = [ends, revoked]
            if drop_after is not None:
                (lapses,) = db.execute(
                    "SELECT min(not_after) FROM identity WHERE not_after > ?", (now - drop_after,)
                ).fetchone()
                times.append(None if lapses is None else lapses + drop_after)
        return min((time for time in times if time is not None), default=None)

    def ended(self, after: int | None, until: int) -> list[Fingerprint]:
        """Return the approved fingerprints whose certificates end later than ``after`` and not after ``until``."""
        with self._store.reading() as db:
            rows = db.execute(_ENDED, (_LONG_AGO if after is None else after, until)).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def schedule(self, revocations: Iterable[tuple[Fingerprint, int]]) -> None:
        """Note when approved fingerprints are to be revoked."""
        with self._store.transaction() as db:
            db.executemany(
                "UPDATE entry SET revoke_at = ?2 WHERE fingerprint = ?1 AND standing = 'approved'", revocations
            )

    def due(self, now: int) -> list[Fingerprint]:
        """Return the approved fingerprints whose scheduled revocation has come."""
        with self._store.reading() as db:
            rows = db.execute(_SCHEDULED, (now,)).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def first_time(self, what: str, fingerprints: Sequence[Fingerprint]) -> list[Fingerprint]:
        """Return those for which this was not called with ``what`` before, so that an event is recorded once."""
        if not fingerprints:
            return []
        with self._store.transaction() as db:
            return [
                fingerprint
                for fingerprint in fingerprints
                if db.execute(
                    "INSERT INTO fact VALUES (?, '') ON CONFLICT DO NOTHING", (f"told_{what}_{fingerprint}",)
                ).rowcount
            ]
