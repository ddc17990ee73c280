"""Decisions: appended, never edited. The status of each entry, and so the allowlist, follows from them.

The rules of decisions are in eximcertd.decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.identities import KEEP, Identity
from eximcertd.ledger.store import in_portions
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.ledger.store import Store

_COLUMNS: Final = "fingerprint, verb, by, at, note, request, generation"
IMPORTED: Final = " (imported by "
"""Follows the name of who decided elsewhere, and precedes the name of who imported it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. at: milliseconds since the epoch. by: a user's name, "by hand" or "by policy".

    request: the caller's id for the call that it was part of, or None. generation: of the fleet's act that it comes
    from; None: it was made on this relay.
    """

    fingerprint: Fingerprint
    verb: Verb
    by: str
    at: int
    note: str = ""
    request: str | None = None
    generation: int | None = None


class Decisions:
    """The part of the ledger that holds the decisions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, decided: Sequence[tuple[Decision, Status]], identities: Iterable[Identity] = ()) -> None:
        """Append the decisions, each with the status that its entry gets, in one transaction. Raises LedgerError.

        identities: of approved certificates, kept in the same transaction. A decision ends what was scheduled for
        its entry, a manual removal from the macro file, and an enrolment through an authority.
        """
        with self._store.transaction() as db:
            newest = db.execute("SELECT coalesce(max(id), 0) FROM decision").fetchone()[0]
            db.executemany(
                f"INSERT INTO decision (id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a constant
                (
                    (number, one.fingerprint, one.verb, one.by, one.at, one.note, one.request, one.generation)
                    for number, (one, _) in enumerate(decided, newest + 1)
                ),
            )
            newly = {one.fingerprint: (status, number) for number, (one, status) in enumerate(decided, newest + 1)}
            db.executemany(
                "INSERT INTO entry (fingerprint, standing, decision) VALUES (?1, ?2, ?3) ON CONFLICT (fingerprint)"
                " DO UPDATE SET standing = ?2, decision = ?3, withheld = 0, revoke_at = NULL, lapsed = 0",
                ((fingerprint, *newly[fingerprint]) for fingerprint in sorted(newly)),  # in the tables' order: faster
            )
            db.executemany("DELETE FROM enrolment WHERE fingerprint = ?", ((name,) for name in newly))
            db.executemany(KEEP, (identity.row() for identity in identities))

    def of_request(self, request: str) -> list[Decision]:
        """Return what the request with this id decided before."""
        with self._store.reading() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM decision WHERE request = ?", (request,)).fetchall()  # noqa: S608 - a constant
        return [_decision(row) for row in rows]

    def last_by(self, by: str) -> list[Decision]:
        """Return the last decision of a user on this relay, with all fingerprints of the same request."""
        with self._store.reading() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM decision WHERE by = ? AND generation IS NULL ORDER BY id DESC LIMIT 1",  # noqa: S608 - a constant
                (by,),
            ).fetchone()
        if row is None:
            return []
        last = _decision(row)
        return self.of_request(last.request) if last.request else [last]

    def of_fingerprints(self, fingerprints: Iterable[Fingerprint]) -> dict[Fingerprint, list[Decision]]:
        """Return all decisions on these fingerprints, oldest first."""
        found: dict[Fingerprint, list[Decision]] = {}
        with self._store.reading() as db:
            statement = f"SELECT {_COLUMNS} FROM decision WHERE fingerprint IN (%s) ORDER BY id"  # noqa: S608 - a constant
            for row in in_portions(db, statement, list(fingerprints)):
                found.setdefault(Fingerprint(row[0]), []).append(_decision(row))
        return found

    def history(
        self, fingerprint: Fingerprint | None = None, beyond: int = 0, limit: int = 500
    ) -> list[tuple[int, Decision]]:
        """Return (id, decision), oldest first, after the id ``beyond``. fingerprint None: of all."""
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT id, {_COLUMNS} FROM decision"  # noqa: S608 - a constant
                " WHERE id > ? AND (?2 IS NULL OR fingerprint = ?2) ORDER BY id LIMIT ?3",
                (beyond, fingerprint, limit),
            ).fetchall()
        return [(row[0], _decision(row[1:])) for row in rows]

    def newest(
        self, fingerprint: Fingerprint | None = None, before: int | None = None, limit: int = 500
    ) -> list[tuple[int, Decision]]:
        """Return (id, decision), newest first, before the id ``before``. fingerprint None: of all."""
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT id, {_COLUMNS} FROM decision"  # noqa: S608 - a constant
                " WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR fingerprint = ?2) ORDER BY id DESC LIMIT ?3",
                (before, fingerprint, limit),
            ).fetchall()
        return [(row[0], _decision(row[1:])) for row in rows]

    def each_at(self, at: int, portion: int = 500) -> Iterator[list[Decision]]:
        """Yield the decision that counted at a time (ms since the epoch) on each fingerprint, by fingerprint."""
        last = ""
        while True:
            with self._store.reading() as db:
                rows = db.execute(
                    "SELECT DISTINCT fingerprint FROM decision WHERE fingerprint > ? ORDER BY 1 LIMIT ?",
                    (last, portion),
                ).fetchall()
            found = self.of_fingerprints([Fingerprint(row[0]) for row in rows])
            before = ([one for one in decisions if one.at <= at] for decisions in found.values())
            yield [max(reversed(decisions), key=lambda one: one.at) for decisions in before if decisions]
            if len(rows) < portion:
                return
            last = rows[-1][0]

    def added_by_hand(self, most: int) -> list[Fingerprint]:
        """Return approved fingerprints that a manual edit added, and that no person has approved since."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT e.fingerprint FROM entry e JOIN decision d ON d.id = e.decision"
                " WHERE e.standing = 'approved' AND d.verb = 'adopt' ORDER BY 1 LIMIT ?",
                (most,),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def withhold(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Withhold approved fingerprints that a manual edit removed from the macro file from publication."""
        with self._store.transaction() as db:
            db.executemany(
                "UPDATE entry SET withheld = 1 WHERE fingerprint = ? AND standing = 'approved'",
                ((fingerprint,) for fingerprint in fingerprints),
            )

    def withheld(self) -> list[Fingerprint]:
        """Return the approved fingerprints that a manual edit removed from the macro file."""
        with self._store.reading() as db:
            rows = db.execute("SELECT fingerprint FROM entry WHERE withheld = 1 ORDER BY fingerprint").fetchall()
        return [Fingerprint(row[0]) for row in rows]


def _decision(row: Sequence[Any]) -> Decision:
    fingerprint, verb, by, at, note, request, generation = row
    return Decision(Fingerprint(fingerprint), Verb(verb), by, int(at), note, request, generation)
