"""Decisions: appended, never edited. The standings, and so the allowlist, follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eximcertd.errors import RefusedError
from eximcertd.fingerprint import NEVER, Fingerprint, grouped
from eximcertd.status import Refusal, Status, Verb, after

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.ledger.store import Store

_LETS_IN: Final = frozenset({Verb.APPROVE, Verb.ADOPT})
_ENTERED: Final = {
    Verb.APPROVE: Status.APPROVED,
    Verb.ADOPT: Status.APPROVED,
    Verb.REJECT: Status.REJECTED,
    Verb.REVOKE: Status.REVOKED,
}
_PORTION: Final = 500  # below SQLite's limit of variables in one statement


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. at: milliseconds since the epoch. by: a user's name, "by hand" or "by policy"."""

    fingerprint: Fingerprint
    verb: Verb
    by: str
    at: int
    note: str = ""
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of one fingerprint. changed: False where it stood so already."""

    fingerprint: Fingerprint
    status: Status
    changed: bool


class Decisions:
    """The part of the ledger that holds what was decided."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, decisions: Sequence[Decision]) -> list[Decided]:
        """Make all the decisions or none. Raises RefusedError with every refusal, and LedgerError.

        A decision that changes nothing is not recorded again; so asking twice is the same as asking once.
        """
        with self._store.transaction() as db:
            results, refusals = _apply(db, decisions)
            if refusals:
                raise RefusedError("\n".join(refusals))
            return results

    def adopt(self, decisions: Sequence[Decision]) -> tuple[list[Fingerprint], list[Fingerprint]]:
        """Record what was found in the macro file; return those adopted and those refused."""
        adopted: list[Fingerprint] = []
        refused: list[Fingerprint] = []
        with self._store.transaction() as db:
            for decision in decisions:
                _, refusals = _apply(db, [decision])
                (refused if refusals else adopted).append(decision.fingerprint)
        return adopted, refused

    def enter(self, decisions: Sequence[Decision], request: str, *, as_they_come: bool = False) -> int:
        """Add decisions that were made elsewhere or before; return how many were not known yet.

        They are history and not argued with: a later one sets the standing, one that is older than what the
        ledger knows of its fingerprint is recorded and changes nothing, unless they count as they come, whatever
        a clock said. Raises RefusedError, LedgerError.
        """
        never = [one.fingerprint for one in decisions if one.fingerprint in NEVER and one.verb in _LETS_IN]
        if never:
            raise RefusedError(f"{grouped(never[0])} can never be approved: {NEVER[never[0]]}")
        with self._store.transaction() as db:
            return sum(_enter(db, decision, request, as_they_come=as_they_come) for decision in decisions)

    def of_request(self, request: str) -> list[Decision]:
        """Return what a request with this id has decided before, if it has."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT fingerprint, verb, by, at, note, request FROM decision WHERE request = ?", (request,)
            ).fetchall()
        return [Decision(Fingerprint(row[0]), Verb(row[1]), *row[2:]) for row in rows]

    def history(
        self, fingerprint: Fingerprint | None = None, beyond: int = 0, limit: int = 500
    ) -> list[tuple[int, str, str, str, int, str]]:
        """Return decisions, oldest first, after the id ``beyond``: (id, fingerprint, verb, by, at, note)."""
        with self._store.reading() as db:
            return db.execute(
                "SELECT id, fingerprint, verb, by, at, note FROM decision"
                " WHERE id > ? AND (?2 IS NULL OR fingerprint = ?2) ORDER BY id LIMIT ?3",
                (beyond, fingerprint, limit),
            ).fetchall()

    def newest(
        self, fingerprint: Fingerprint | None = None, before: int | None = None, limit: int = 500
    ) -> list[tuple[int, str, str, str, int, str]]:
        """Return decisions, newest first, before the id ``before``: (id, fingerprint, verb, by, at, note)."""
        with self._store.reading() as db:
            return db.execute(
                "SELECT id, fingerprint, verb, by, at, note FROM decision"
                " WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR fingerprint = ?2) ORDER BY id DESC LIMIT ?3",
                (before, fingerprint, limit),
            ).fetchall()

    def withhold(self, fingerprints: Iterable[Fingerprint]) -> None:
        """Keep approved fingerprints that a person took out of the macro file from being published again."""
        with self._store.transaction() as db:
            db.executemany(
                "UPDATE entry SET withheld = 1 WHERE fingerprint = ? AND standing = 'approved'",
                ((fingerprint,) for fingerprint in fingerprints),
            )

    def withheld(self) -> list[Fingerprint]:
        """Return the approved fingerprints that a person took out of the macro file."""
        with self._store.reading() as db:
            rows = db.execute("SELECT fingerprint FROM entry WHERE withheld = 1 ORDER BY fingerprint").fetchall()
        return [Fingerprint(row[0]) for row in rows]


def _standings(db: sqlite3.Connection, fingerprints: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    for start in range(0, len(fingerprints), _PORTION):
        portion = fingerprints[start : start + _PORTION]
        marks = ",".join("?" * len(portion))
        yield from db.execute(
            f"SELECT fingerprint, standing, withheld FROM entry WHERE fingerprint IN ({marks})",  # noqa: S608 - marks only
            portion,
        )


def _apply(db: sqlite3.Connection, decisions: Sequence[Decision]) -> tuple[list[Decided], list[str]]:
    found = {row[0]: row[1:] for row in _standings(db, [decision.fingerprint for decision in decisions])}
    results, refusals = [], []
    for decision in decisions:
        fingerprint = decision.fingerprint
        text, withheld = found.get(fingerprint, (Status.UNSEEN, 0))
        cell = after(Status(text), decision.verb)
        if fingerprint in NEVER and decision.verb in (Verb.APPROVE, Verb.ADOPT):
            cell = Refusal(f"can never be approved: {NEVER[fingerprint]}")
        if isinstance(cell, Refusal):
            refusals.append(f"{grouped(fingerprint)} {cell.sentence}")
            continue
        changed = cell.status != text or bool(withheld)
        if changed:
            row = db.execute(
                "INSERT INTO decision (fingerprint, verb, by, at, note, request) VALUES (?, ?, ?, ?, ?, ?)",
                (fingerprint, decision.verb, decision.by, decision.at, decision.note, decision.request),
            )
            db.execute(
                "INSERT INTO entry (fingerprint, standing, decision) VALUES (?1, ?2, ?3) ON CONFLICT (fingerprint)"
                " DO UPDATE SET standing = ?2, decision = ?3, withheld = 0, revoke_at = NULL",
                (fingerprint, cell.status, row.lastrowid),
            )
            found[fingerprint] = (cell.status, 0)
        results.append(Decided(fingerprint, cell.status, changed))
    return results, refusals


def _enter(db: sqlite3.Connection, decision: Decision, request: str, *, as_they_come: bool) -> bool:
    values = (decision.fingerprint, decision.verb, decision.by, decision.at, decision.note)
    known = db.execute(
        "SELECT max(at), max(verb = ?2 AND by = ?3 AND at = ?4 AND note = ?5) FROM decision WHERE fingerprint = ?1",
        values,
    ).fetchone()
    if known[1]:
        return False
    row = db.execute(
        "INSERT INTO decision (fingerprint, verb, by, at, note, request) VALUES (?, ?, ?, ?, ?, ?)", (*values, request)
    )
    if as_they_come or known[0] is None or decision.at >= known[0]:
        db.execute(
            "INSERT INTO entry (fingerprint, standing, decision) VALUES (?1, ?2, ?3) ON CONFLICT (fingerprint)"
            " DO UPDATE SET standing = ?2, decision = ?3, withheld = 0, revoke_at = NULL",
            (decision.fingerprint, _ENTERED[decision.verb], row.lastrowid),
        )
    return True
