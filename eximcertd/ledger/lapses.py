"""Lapses: approved fingerprints that are off the allowlist because of their dates, without a decision.

A lapse is derived each time from the validity of the certificate (table identity; RFC 5280, 4.1.2.5) and from a
revocation that a person has scheduled. It is undone when the clock is corrected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.publications import WANTED
from eximcertd.publish.limits import FEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eximcertd.ledger.store import Store

_SCHEDULED: Final = (
    "SELECT fingerprint, lapsed FROM entry INDEXED BY entry_revoke_at WHERE revoke_at <= ?1 AND standing = 'approved'"
)
_NOT_BEGUN: Final = (
    "SELECT i.fingerprint, e.lapsed FROM identity i CROSS JOIN entry e ON e.fingerprint = i.fingerprint"
    " WHERE i.not_before > ?1 AND e.standing = 'approved'"
)
_ENTRY: Final = "SELECT fingerprint FROM entry INDEXED BY"
_ENDED: Final = (
    f"{_ENTRY} entry_ends WHERE standing = 'approved' AND lapsed = 0 AND (decision IS NULL) IN (0, 1) AND ends <= ?1"
)
_NOT_ENDED: Final = (
    f"{_ENTRY} entry_ends WHERE standing = 'approved' AND lapsed = 1 AND (decision IS NULL) IN (0, 1) AND ends > ?1"
    f" UNION ALL {_ENTRY} entry_revoke_at WHERE revoke_at > ?1 AND lapsed = 1 AND ends IS NULL"
)
_DECIDED: Final = (
    f"{_ENTRY} entry_ends WHERE standing = 'approved' AND lapsed IN (0, 1) AND (decision IS NULL) = 0"
    " AND ends > ? AND ends <= ?"
)
_PUBLISHED: Final = "SELECT 1 FROM entry WHERE fingerprint = ? AND confirmed = 1"
_SHRINKING: Final = f"SELECT count(*), coalesce(sum(NOT {WANTED}), 0) FROM entry WHERE confirmed = 1"  # noqa: S608 - a constant
_LONG_AGO: Final = -(1 << 62)


class Lapses:
    """The part of the ledger that holds validity and scheduled revocations. Times are milliseconds since the epoch."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def derive(self, now: int, max_shrink: int | None = None) -> tuple[list[Fingerprint], list[Fingerprint], bool]:
        """Update which entries have lapsed at ``now``.

        Return those that now have, those that no longer have, and whether more have than were updated: with
        max_shrink (percent) only so many leave the published list as one publication may remove (publish/limits.py).
        """
        with self._store.transaction() as db:
            lapsed: dict[str, int] = dict(db.execute(_SCHEDULED, (now,)).fetchall())
            lapsed.update(db.execute(_NOT_BEGUN, (now,)).fetchall())
            ended = (row[0] for row in db.execute(_ENDED, (now,)))
            gone = sorted({name for name, before in lapsed.items() if not before}.union(ended))
            back = sorted(row[0] for row in db.execute(_NOT_ENDED, (now,)) if row[0] not in lapsed)
            later: list[str] = []
            if max_shrink is not None and gone:
                published = [one for one in gone if db.execute(_PUBLISHED, (one,)).fetchone()]
                (listed, going) = db.execute(_SHRINKING).fetchone()
                most = max(FEW, min(listed * max_shrink // 100, listed - 1))
                later = published[max(0, most - going) :]
                gone = sorted({*gone}.difference(later))
            db.executemany("UPDATE entry SET lapsed = 1 WHERE fingerprint = ?", ((one,) for one in gone))
            db.executemany("UPDATE entry SET lapsed = 0 WHERE fingerprint = ?", ((one,) for one in back))
        return [Fingerprint(one) for one in gone], [Fingerprint(one) for one in back], bool(later)

    def next_change(self, after: int) -> int | None:
        """Return the first time later than ``after`` at which a lapse begins or ends; None for never."""
        revoked = ("revoke_at", "entry INDEXED BY entry_revoke_at")
        with self._store.reading() as db:
            times = [
                db.execute(f"SELECT min({column}) FROM {table} WHERE {column} > ?", (after,)).fetchone()[0]  # noqa: S608 - constants
                for column, table in (("not_after", "identity"), ("not_before", "identity"), revoked)
            ]
        return min((time for time in times if time is not None), default=None)

    def ended(self, after: int | None, until: int) -> list[Fingerprint]:
        """Return the approved fingerprints whose certificates end later than ``after`` and not after ``until``.

        Without what an authority has approved: it issues the next one, and nobody has to do anything.
        """
        with self._store.reading() as db:
            rows = db.execute(_DECIDED, (_LONG_AGO if after is None else after, until)).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def not_yet_valid(self, now: int) -> int:
        """Return how many approved certificates are not valid yet at ``now``."""
        with self._store.reading() as db:
            return len(db.execute(_NOT_BEGUN, (now,)).fetchall())

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
