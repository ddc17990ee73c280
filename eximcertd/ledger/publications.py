"""Publications: what is being published, what was last confirmed live, and how each attempt ended.

Written before the publisher is called and after it has answered, so that a hand edit is the difference
between the macro file and these two, never between the file and the decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.fingerprint import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eximcertd.ledger.store import Store

WANTED: Final = "(standing = 'approved' AND withheld = 0 AND lapsed = 0)"
_PORTION: Final = 10_000


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What was last confirmed live. form: "list", "directory", or "" if nothing ever was. at: ms since the epoch."""

    form: str = ""
    digest: str = ""
    at: int | None = None
    revision: int = 0


class Publications:
    """The part of the ledger that holds what Exim was made to honour."""

    def __init__(self, store: Store) -> None:
        self._store = store

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

    def begin(self, form: str, now: int) -> int:
        """Note that the wanted list is being published in ``form``; return the publication's number."""
        with self._store.transaction() as db:
            db.execute(f"UPDATE entry SET publishing = {WANTED} WHERE publishing <> {WANTED}")  # noqa: S608 - constants
            count = db.execute("SELECT count(*) FROM entry WHERE publishing = 1").fetchone()[0] if form == "list" else 0
            row = db.execute("INSERT INTO publication (form, count, began_at) VALUES (?, ?, ?)", (form, count, now))
            return int(row.lastrowid or 0)

    def confirm(self, number: int, confirmed: Confirmed, outcome: str) -> None:
        """Note that publication ``number`` is live."""
        with self._store.transaction() as db:
            db.execute("UPDATE entry SET confirmed = publishing WHERE confirmed <> publishing")
            db.execute("UPDATE publication SET outcome = ?, ended_at = ? WHERE id = ?", (outcome, confirmed.at, number))
            for key, value in (("form", confirmed.form), ("digest", confirmed.digest), ("at", confirmed.at)):
                db.execute(
                    "INSERT INTO fact VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                    (f"confirmed_{key}", str(value)),
                )
            # a publication is a record for people: the newest are enough
            db.execute("DELETE FROM publication WHERE id < ?", (number - 10_000,))

    def fail(self, number: int, outcome: str, message: str, now: int) -> None:
        """Note that publication ``number`` did not become live."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE publication SET outcome = ?, message = ?, ended_at = ? WHERE id = ?",
                (outcome, message[:2000], now, number),
            )

    def last_confirmed(self) -> Confirmed:
        """Return what was last confirmed live."""
        with self._store.reading() as db:
            facts = dict(db.execute("SELECT key, value FROM fact WHERE key LIKE 'confirmed_%'").fetchall())
            row = db.execute("SELECT max(id) FROM publication WHERE outcome IN ('live', 'not-running')").fetchone()
        if "confirmed_form" not in facts:
            return Confirmed()
        return Confirmed(
            facts["confirmed_form"], facts["confirmed_digest"], int(facts["confirmed_at"]), int(row[0] or 0)
        )

    def _select(self, condition: str) -> list[Fingerprint]:
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT fingerprint FROM entry WHERE {condition} ORDER BY fingerprint"  # noqa: S608 - constants only
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]
