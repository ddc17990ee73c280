"""The times that the ledger keeps: how long eximcertd has run in all, and its last reading of the wall clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eximcertd.ledger.store import Store


class RunningTime:
    """The time that eximcertd has run, over all its starts; no change of the wall clock moves it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> int:
        """Return the running time in ms."""
        return self._fact("running_ms") or 0

    def last_clock(self) -> int | None:
        """Return the wall clock at the last ``advance`` (ms since the epoch), or None."""
        return self._fact("clock")

    def advance(self, by: int, clock: int) -> None:
        """Add to the running time (ms), and keep the wall clock (ms since the epoch)."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO fact VALUES ('running_ms', ?1)"
                " ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + ?1",
                (by,),
            )
            db.execute(
                "INSERT INTO fact VALUES ('clock', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (clock,)
            )

    def _fact(self, key: str) -> int | None:
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])
