"""Entries: how each fingerprint stands, with what was seen of it and the decision it follows from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eximcertd.errors import NoSuchFingerprintError
from eximcertd.fingerprint import LENGTH, Fingerprint, grouped, parse_prefix
from eximcertd.ledger.decisions import Decision
from eximcertd.log.sighting import Peer
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.ledger.store import Store

_COLUMNS = (
    "SELECT e.fingerprint, e.standing, e.attempts, e.first_seen, e.last_seen, e.host, e.helo, e.sender, e.recipient,"
    " e.matched, e.withheld, e.confirmed, e.revoke_at, d.verb, d.by, d.at, d.note"
    " FROM entry e LEFT JOIN decision d ON d.id = e.decision "
)
_MOST_CANDIDATES = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One fingerprint. Times in milliseconds since the epoch. live: it is in the list that was last confirmed."""

    fingerprint: Fingerprint
    status: Status
    attempts: int = 0
    first_seen: int | None = None
    last_seen: int | None = None
    peer: Peer | None = None
    matched: bool = False
    withheld: bool = False
    live: bool = False
    revoke_at: int | None = None
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many fingerprints stand how. pending: with a certificate; unmatched: pending without one."""

    pending: int
    unmatched: int
    approved: int
    rejected: int
    revoked: int


class Entries:
    """The part of the ledger that answers questions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def counts(self) -> Counts:
        """Return how many fingerprints stand how."""
        with self._store.reading() as db:
            rows = db.execute("SELECT standing, matched, count(*) FROM entry GROUP BY standing, matched").fetchall()
        many: dict[str, int] = {}
        for standing, matched, count in rows:
            name = "unmatched" if standing == Status.PENDING and not matched else standing
            many[name] = many.get(name, 0) + count
        return Counts(*(many.get(name, 0) for name in ("pending", "unmatched", "approved", "rejected", "revoked")))

    def get(self, fingerprint: Fingerprint) -> Entry:
        """Return the entry; of an unseen fingerprint an empty one."""
        with self._store.reading() as db:
            row = db.execute(_COLUMNS + "WHERE e.fingerprint = ?", (fingerprint,)).fetchone()
        return Entry(fingerprint, Status.UNSEEN) if row is None else _entry(row)

    def approved_among(self, fingerprints: Sequence[Fingerprint]) -> list[Fingerprint]:
        """Return those of at most 500 fingerprints that are approved."""
        marks = ",".join("?" * len(fingerprints))
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT fingerprint FROM entry WHERE standing = 'approved' AND fingerprint IN ({marks})",  # noqa: S608 - marks only
                fingerprints,
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def thrown_out(self, fingerprints: Iterable[Fingerprint]) -> set[Fingerprint]:
        """Return those that were rejected or revoked."""
        with self._store.reading() as db:
            return {
                fingerprint
                for fingerprint in fingerprints
                if db.execute(
                    "SELECT 1 FROM entry WHERE fingerprint = ? AND standing IN ('rejected', 'revoked')", (fingerprint,)
                ).fetchone()
            }

    def each(self, standing: str, prefix: str = "", portion: int = 500) -> Iterator[list[Entry]]:
        """Return the entries of a standing, or of "unmatched", in portions.

        Those without a certificate when they were seen come first, each kind ascending by fingerprint: so every
        portion is found by the index, at a million too. What changes meanwhile is seen as it stands when its
        portion is read.
        """
        kinds = {"unmatched": (0,), Status.PENDING.value: (1,)}.get(standing, (0, 1))
        name = Status.PENDING.value if standing == "unmatched" else standing
        for matched in kinds:
            last = prefix
            while True:
                with self._store.reading() as db:
                    rows = db.execute(
                        _COLUMNS + "WHERE e.standing = ? AND e.matched = ? AND e.fingerprint >= ? AND e.fingerprint < ?"
                        " ORDER BY e.fingerprint LIMIT ?",
                        (name, matched, last, prefix + "G", portion),
                    ).fetchall()
                if rows:
                    yield [_entry(row) for row in rows]
                if len(rows) < portion:
                    break
                last = rows[-1][0] + "0"

    def resolve(self, text: str) -> Fingerprint:
        """Return the one fingerprint of the ledger that ``text`` names, whole or by prefix.

        A whole fingerprint is returned though it be unknown. Raises NoSuchFingerprintError with the
        candidates, and FingerprintError.
        """
        digits = parse_prefix(text)
        if len(digits) == LENGTH:
            return Fingerprint(digits)
        found = self.candidates(digits)
        if len(found) == 1:
            return found[0]
        if not found:
            raise NoSuchFingerprintError(
                f"no certificate has a fingerprint that begins with {grouped(digits)}",
                hint="`eximcertctl pending` and `eximcertctl list` show those that are known.",
            )
        names = "\n".join(f"  {grouped(fingerprint)}" for fingerprint in found[:_MOST_CANDIDATES])
        more = "\n  ..." if len(found) > _MOST_CANDIDATES else ""
        raise NoSuchFingerprintError(
            f"{grouped(digits)} is ambiguous:\n{names}{more}",
            hint="Give more digits.",
            candidates=found[:_MOST_CANDIDATES],
        )

    def candidates(self, prefix: str) -> list[Fingerprint]:
        """Return the known fingerprints that begin with ``prefix``, at most 11."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT fingerprint FROM entry WHERE fingerprint >= ? AND fingerprint < ? ORDER BY 1 LIMIT ?",
                (prefix, prefix + "G", _MOST_CANDIDATES + 1),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def schedule_revocation(self, fingerprints: Sequence[Fingerprint], at: int) -> None:
        """Note that approved fingerprints will be revoked at a time (ms since the epoch)."""
        with self._store.transaction() as db:
            db.executemany(
                "UPDATE entry SET revoke_at = ? WHERE fingerprint = ? AND standing = 'approved'",
                ((at, fingerprint) for fingerprint in fingerprints),
            )

    def first_time(self, what: str, fingerprints: Iterable[Fingerprint]) -> list[Fingerprint]:
        """Return those of whom ``what`` was not asked before, and remember that it was: for telling people once."""
        with self._store.transaction() as db:
            return [
                fingerprint
                for fingerprint in fingerprints
                if db.execute(
                    "INSERT INTO fact VALUES (?, '') ON CONFLICT DO NOTHING", (f"told_{what}_{fingerprint}",)
                ).rowcount
            ]

    def next_revocation(self) -> int | None:
        """Return when the next scheduled revocation comes (ms since the epoch), or None."""
        with self._store.reading() as db:
            row = db.execute(
                "SELECT min(revoke_at) FROM entry INDEXED BY entry_revoke_at"
                " WHERE revoke_at IS NOT NULL AND standing = 'approved'"
            ).fetchone()
        return None if row is None else row[0]

    def revocations_due(self, now: int) -> list[Fingerprint]:
        """Return the approved fingerprints whose scheduled revocation has come."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT fingerprint FROM entry INDEXED BY entry_revoke_at"
                " WHERE revoke_at <= ? AND standing = 'approved' LIMIT 10000",
                (now,),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]


def _entry(row: Sequence[Any]) -> Entry:
    fingerprint, standing, attempts, first_seen, last_seen, host, helo, sender, recipient, *rest = row
    matched, withheld, confirmed, revoke_at, verb, by, at, note = rest
    return Entry(
        Fingerprint(fingerprint),
        Status(standing),
        attempts,
        first_seen,
        last_seen,
        None if host is None else Peer(host, helo or "", sender or "", recipient or ""),
        bool(matched),
        bool(withheld),
        bool(confirmed),
        revoke_at,
        None if verb is None else Decision(Fingerprint(fingerprint), Verb(verb), by, at, note),
    )
