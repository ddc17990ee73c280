"""Publications: what is being published, what was last confirmed live, and how each attempt ended.

Written before the programs are asked and after they have answered, so that a manual edit is the difference between
the macro file and these two, never between the file and the decisions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from eximcertd.ledger.store import Store

WANTED: Final = "(standing = 'approved' AND withheld = 0 AND lapsed = 0)"
_PORTION: Final = 10_000
_MARKED: Final = 1000  # each may be on a page of its own, in the table and in two indexes
_MOST_WRITTEN: Final = 20


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What was last confirmed live. form: "list", "directory", or "" if nothing ever was. at: ms since the epoch.

    digest, inode, ctime_ns: of the macro file that Exim was seen to have loaded; see publish.request.Found.
    loaded_at: when it was, ms since the epoch.
    """

    form: str = ""
    digest: str = ""
    inode: int = 0
    ctime_ns: int = 0
    at: int | None = None
    loaded_at: int | None = None
    revision: int = 0

    @property
    def identity(self) -> tuple[str, int, int]:
        """What tells that file from every other."""
        return (self.digest, self.inode, self.ctime_ns)


class Publications:
    """The part of the ledger that holds what Exim was made to honour.

    outcomes: how many publications have ended in each way since the ledger was opened.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.outcomes: Final[Counter[str]] = Counter()

    def wanted(self) -> list[Fingerprint]:
        """Return the allowlist that follows from the decisions, ascending."""
        return self._select(WANTED)

    def wanted_among(self, fingerprints: Iterable[Fingerprint]) -> set[Fingerprint]:
        """Return those that the allowlist holds."""
        with self._store.reading() as db:
            return {
                fingerprint
                for fingerprint in fingerprints
                if db.execute(
                    f"SELECT 1 FROM entry WHERE fingerprint = ? AND {WANTED}",  # noqa: S608 - a constant
                    (fingerprint,),
                ).fetchone()
            }

    def confirmed(self) -> list[Fingerprint]:
        """Return the fingerprints of the list that was last confirmed live, ascending."""
        return self._select("confirmed = 1")

    def publishing(self) -> list[Fingerprint]:
        """Return the fingerprints of the list that is, or was last, being published, ascending."""
        return self._select("publishing = 1")

    def count_wanted(self, most: int) -> int:
        """Return the length of the allowlist, but no more than ``most``: counting a million takes its time."""
        with self._store.reading() as db:
            row = db.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM entry INDEXED BY entry_wanted WHERE {WANTED} LIMIT ?)",  # noqa: S608 - a constant
                (most,),
            ).fetchone()
        return int(row[0])

    def each_wanted(self) -> Iterator[list[Fingerprint]]:
        """Return the allowlist in portions, ascending, as it stands when each portion is read."""
        last = ""
        while True:
            with self._store.reading() as db:
                rows = db.execute(
                    f"SELECT fingerprint FROM entry INDEXED BY entry_wanted WHERE {WANTED} AND fingerprint > ?"  # noqa: S608 - a constant
                    " ORDER BY fingerprint LIMIT ?",
                    (last, _PORTION),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [Fingerprint(row[0]) for row in rows]

    def due(self) -> bool:
        """Tell whether the decisions ask for another list than the one last confirmed live."""
        with self._store.reading() as db:
            row = db.execute(
                f"SELECT EXISTS (SELECT 1 FROM entry WHERE publishing <> {WANTED})"  # noqa: S608 - a constant
                " OR EXISTS (SELECT 1 FROM entry WHERE confirmed <> publishing)"
            ).fetchone()
        return bool(row[0])

    def changes(self) -> tuple[list[Fingerprint], list[Fingerprint]]:
        """Return what the list being published adds to, and takes from, the one last confirmed live."""
        with self._store.reading() as db:
            rows = db.execute("SELECT fingerprint, publishing FROM entry WHERE confirmed <> publishing").fetchall()
        return (
            [Fingerprint(row[0]) for row in rows if row[1]],
            [Fingerprint(row[0]) for row in rows if not row[1]],
        )

    def mark(self) -> bool:
        """Note that a portion of the wanted list is being published; return whether there is no more.

        begin does the same for what is left: after many decisions, other work can be done between two portions.
        """
        return self._mark(f"publishing = {WANTED}", f"publishing <> {WANTED}")

    def mark_live(self) -> bool:
        """Do the same for what was published, before confirm."""
        return self._mark("confirmed = publishing", "confirmed <> publishing")

    def _mark(self, change: str, condition: str) -> bool:
        with self._store.transaction() as db:
            done = db.execute(
                f"UPDATE entry SET {change} WHERE fingerprint IN"  # noqa: S608 - constants
                f" (SELECT fingerprint FROM entry WHERE {condition} LIMIT {_MARKED})"
            )
        return done.rowcount < _MARKED

    def begin(self, form: str, now: int) -> int:
        """Note that the wanted list is being published in ``form``; return the publication's number."""
        with self._store.transaction() as db:
            db.execute(f"UPDATE entry SET publishing = {WANTED} WHERE publishing <> {WANTED}")  # noqa: S608 - constants
            count = db.execute("SELECT count(*) FROM entry WHERE publishing = 1").fetchone()[0] if form == "list" else 0
            row = db.execute("INSERT INTO publication (form, count, began_at) VALUES (?, ?, ?)", (form, count, now))
            return int(row.lastrowid or 0)

    def note_write(self, digest: str) -> None:
        """Note the digest of a macro file that is about to be written; it may stand there without being confirmed."""
        with self._store.transaction() as db:
            _set(db, "written", " ".join([*self.written(), digest][-_MOST_WRITTEN:]))

    def written(self) -> list[str]:
        """Return the digests of the files that may have been written since the last one that was confirmed."""
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = 'written'").fetchone()
        return row[0].split() if row else []

    def newest(self) -> int:
        """Return the number of the publication that began last, 0 if none did."""
        with self._store.reading() as db:
            return int(db.execute("SELECT coalesce(max(id), 0) FROM publication").fetchone()[0])

    def catch_up(self, number: int) -> None:
        """Count on from a publication that this ledger does not know, because it is older than what was published."""
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO publication (id, form, count, began_at, outcome) VALUES (?, ?, 0, 0, ?)",
                (number, "", "unknown"),
            )

    def older_until(self) -> int:
        """Return the number of the last decision that is older than the directory, 0 if the ledger is not older.

        While it is not 0, files of fingerprints that this decision or an earlier one rejected or revoked are kept.
        """
        with self._store.reading() as db:
            row = db.execute("SELECT value FROM fact WHERE key = 'older_until'").fetchone()
        return int(row[0]) if row else 0

    def set_older(self) -> None:
        """Note that the decisions up to now are older than the directory."""
        with self._store.transaction() as db:
            newest = db.execute("SELECT coalesce(max(id), 0) FROM decision").fetchone()[0]
            _set(db, "older_until", str(newest))

    def settle_directory(self) -> None:
        """Note that nothing is left to be settled in the directory."""
        with self._store.transaction() as db:
            _set(db, "older_until", "0")

    def decided_until(self, fingerprints: Iterable[Fingerprint], number: int) -> set[Fingerprint]:
        """Return those whose last decision is ``number`` or an earlier one."""
        query = "SELECT 1 FROM entry WHERE fingerprint = ? AND decision <= ?"
        with self._store.reading() as db:
            return {one for one in fingerprints if db.execute(query, (one, number)).fetchone()}

    def confirm(self, number: int, confirmed: Confirmed, outcome: str) -> None:
        """Note that publication ``number`` is live."""
        with self._store.transaction() as db:
            db.execute("UPDATE entry SET confirmed = publishing WHERE confirmed <> publishing")
            db.execute("UPDATE publication SET outcome = ?, ended_at = ? WHERE id = ?", (outcome, confirmed.at, number))
            for key in ("form", "digest", "inode", "ctime_ns", "at", "loaded_at"):
                _set(db, f"confirmed_{key}", str(getattr(confirmed, key)))
            _set(db, "written", "")
            # a publication is a record for people: the newest are enough
            db.execute("DELETE FROM publication WHERE id < ?", (number - 10_000,))
        self.outcomes[outcome] += 1

    def fail(self, number: int, outcome: str, message: str, now: int) -> None:
        """Note that publication ``number`` did not become live."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE publication SET outcome = ?, message = ?, ended_at = ? WHERE id = ?",
                (outcome, message[:2000], now, number),
            )
        self.outcomes[outcome] += 1

    def last_confirmed(self) -> Confirmed:
        """Return what was last confirmed live."""
        with self._store.reading() as db:
            facts = dict(db.execute("SELECT key, value FROM fact WHERE key LIKE 'confirmed_%'").fetchall())
            row = db.execute("SELECT max(id) FROM publication WHERE outcome IN ('live', 'not-running')").fetchone()
        if "confirmed_form" not in facts:
            return Confirmed()
        return Confirmed(
            facts["confirmed_form"],
            facts["confirmed_digest"],
            int(facts.get("confirmed_inode", 0)),  # a ledger of an earlier version has none: it costs one reload
            int(facts.get("confirmed_ctime_ns", 0)),
            int(facts["confirmed_at"]),
            int(facts.get("confirmed_loaded_at") or facts["confirmed_at"]),
            int(row[0] or 0),
        )

    def _select(self, condition: str) -> list[Fingerprint]:
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT fingerprint FROM entry WHERE {condition} ORDER BY fingerprint"  # noqa: S608 - constants only
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]


def _set(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT INTO fact VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))
