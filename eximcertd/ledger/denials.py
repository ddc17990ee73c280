"""Denials: what keeps the next certificate of a client refused that was rejected or revoked under an authority."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.identities import bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.ledger.store import Store

_ENROLLED: Final = (
    "SELECT n.fingerprint, n.authority, i.subject, n.names, i.spki"
    " FROM enrolment n JOIN identity i USING (fingerprint) WHERE n.fingerprint"
)
_DENIALS: Final = (
    "SELECT d.fingerprint, d.authority, d.kind, d.value FROM denial d JOIN entry e USING (fingerprint)"
    " WHERE e.standing IN ('rejected', 'revoked')"
)


class Denial(NamedTuple):
    """A name or key of a rejected or revoked certificate. kind: "subject", "name" or "key"."""

    fingerprint: Fingerprint
    authority: Fingerprint
    kind: str
    value: str


class Denials:
    """The part of the ledger that holds them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def bound_by(self, fingerprint: Fingerprint) -> list[Denial]:
        """Return what a denial of an enrolled certificate binds; nothing for one that is not enrolled."""
        with self._store.reading() as db:
            return _bound(db.execute(f"{_ENROLLED} = ?", (fingerprint,)).fetchall())

    def each(self, portion: int) -> Iterator[list[Denial]]:
        """Yield what a denial of each enrolled certificate binds, ``portion`` certificates at a time."""
        last = ""
        while True:
            with self._store.reading() as db:
                rows = db.execute(f"{_ENROLLED} > ? ORDER BY 1 LIMIT ?", (last, portion)).fetchall()
            yield _bound(rows)
            if len(rows) < portion:
                return
            last = rows[-1][0]

    def deny(self, denials: Iterable[Denial]) -> None:
        """Keep what stays refused. It counts while the fingerprint is rejected or revoked. Raises LedgerError."""
        with self._store.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO denial (fingerprint, authority, kind, value, open) VALUES (?, ?, ?, ?, 1)",
                denials,
            )

    def denied(self, values: Iterable[tuple[str, str]]) -> Denial | None:
        """Return the first denial that binds one of these (kind, value), or None."""
        with self._store.reading() as db:
            for pair in values:
                row = db.execute(f"{_DENIALS} AND d.kind = ? AND d.value = ? LIMIT 1", pair).fetchone()
                if row is not None:
                    return Denial(*row)
        return None

    def under(self, authority: Fingerprint, most: int = 1000) -> list[Denial]:
        """Return those under an authority that count, at most ``most``."""
        with self._store.reading() as db:
            rows = db.execute(f"{_DENIALS} AND d.authority = ? LIMIT ?", (authority, most)).fetchall()
        return [Denial(*row) for row in rows]

    def unfinished(self) -> list[Denial]:
        """Return those of revoked certificates that ``finish`` was not told."""
        with self._store.reading() as db:
            rows = db.execute(f"{_DENIALS} AND d.open = 1 AND e.standing = 'revoked'").fetchall()
        return [Denial(*row) for row in rows]

    def finish(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Note that what is enrolled with a name or key of these was looked for. Raises LedgerError."""
        names = ((one,) for one in fingerprints)
        with self._store.transaction() as db:
            db.executemany("UPDATE denial SET open = 0 WHERE open = 1 AND fingerprint = ?", names)


def _bound(rows: Iterable[Sequence[str]]) -> list[Denial]:
    return [
        Denial(Fingerprint(name), Fingerprint(authority), kind, value)
        for name, authority, subject, names, key in rows
        for kind, value in bound(subject, json.loads(names), key)
    ]
