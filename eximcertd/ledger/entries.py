"""Entries: the status of each fingerprint, with its sightings and its last decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.store import in_portions
from eximcertd.log.sighting import Peer
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from eximcertd.ledger.store import Store

_KINDS = (1, 2, 0)
"""The values of ``matched``, in the order in which entries are listed: see schema.py."""
_NAMED = {"unmatched": (Status.PENDING.value, (0,)), Status.PENDING.value: (Status.PENDING.value, (1, 2))}
"""Names of listings that are not a status alone: the status, and the values of ``matched``."""

_SELECTED = (
    " FROM entry WHERE standing = ?1 AND (?2 IS NULL OR last_seen >= ?2)"
    " AND (?3 IS NULL OR instr(lower(host || ' ' || helo), lower(?3)) > 0) AND matched IN (?4, ?5, ?6)"
    " AND (?7 = '[]' OR matched <> 2 OR NOT EXISTS (SELECT 1 FROM shown s WHERE s.fingerprint = entry.fingerprint"
    " AND s.issuer_hash IN (SELECT value FROM json_each(?7))))"
)
_COLUMNS = (
    "SELECT e.fingerprint, e.standing, e.attempts, e.first_seen, e.last_seen, e.host, e.helo, e.sender, e.recipient,"
    " e.matched, e.withheld, e.confirmed, e.revoke_at, e.lapsed, i.not_before, i.not_after, n.authority,"
    " e.uses, e.used,"
    " coalesce(d.verb, 'approve'), coalesce(d.by, 'authority ' || substr(n.authority, 1, 16)), coalesce(d.at, n.at),"
    " coalesce(d.note, ''), d.generation, o.fingerprint IS NOT NULL"
    " FROM entry e LEFT JOIN decision d ON d.id = e.decision"
    " LEFT JOIN identity i ON i.fingerprint = e.fingerprint LEFT JOIN enrolment n ON n.fingerprint = e.fingerprint"
    " LEFT JOIN own o ON o.fingerprint = e.fingerprint "
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One fingerprint. Times in milliseconds since the epoch. live: it is in the list that was last confirmed.

    withheld: approved, and removed from the published list by hand. lapsed: approved, and off the list by its dates.
    not_before, not_after: of its certificate, None if they are not known.
    uses, used: how many recipients Exim accepted from it, and when the last one, where Exim logs that.
    authority: the one through which alone it is approved; the decision is then "by authority ...".
    here: in a fleet, a decision of this relay on it is open.
    """

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
    lapsed: bool = False
    not_before: int | None = None
    not_after: int | None = None
    authority: Fingerprint | None = None
    decision: Decision | None = None
    uses: int = 0
    used: int | None = None
    here: bool = False

    def lapse(self, now: int) -> str:
        """Return why a lapsed entry is off the list at ``now``: a clause."""
        if self.revoke_at is not None and self.revoke_at <= now:
            return "replaced by its successor"
        if self.not_before is not None and self.not_before > now:
            return f"not valid before {_minute(self.not_before)}"
        return "expired" if self.not_after is None else f"expired since {_minute(self.not_after)}"


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of fingerprints of each status. pending: with a certificate; unmatched: pending without one."""

    pending: int
    unmatched: int
    approved: int
    rejected: int
    revoked: int


class Selection(NamedTuple):
    """Entries of a status, or "unmatched". since: of the last attempt (ms since the epoch), or None.

    peer: a part of the client's host or HELO argument, in any case, or None. without: issuer_hash of certificates that
    are left out if only their client has shown them.
    """

    standing: str
    since: int | None = None
    peer: str | None = None
    without: tuple[str, ...] = ()

    def values(self) -> tuple[object, ...]:
        """Return the values for _SELECTED."""
        name, kinds = _NAMED.get(self.standing, (self.standing, _KINDS))
        return (
            name,
            self.since,
            self.peer,
            *kinds,
            *(kinds[-1:] * (len(_KINDS) - len(kinds))),
            json.dumps(self.without),
        )


class Entries:
    """The part of the ledger that reads entries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def counts(self) -> Counts:
        """Return the number of fingerprints of each status."""
        with self._store.reading() as db:
            rows = db.execute("SELECT standing, matched, count(*) FROM entry GROUP BY standing, matched").fetchall()
        many: dict[str, int] = {}
        for standing, matched, count in rows:
            name = "unmatched" if standing == Status.PENDING and not matched else standing
            many[name] = many.get(name, 0) + count
        return Counts(*(many.get(name, 0) for name in ("pending", "unmatched", "approved", "rejected", "revoked")))

    def get(self, fingerprint: Fingerprint) -> Entry:
        """Return the entry; of an unseen fingerprint an empty one."""
        return self.among([fingerprint])[0]

    def among(self, fingerprints: Sequence[Fingerprint]) -> list[Entry]:
        """Return the entries of these fingerprints, in their order; of an unseen one an empty one."""
        with self._store.reading() as db:
            rows = in_portions(db, _COLUMNS + "WHERE e.fingerprint IN (%s)", fingerprints)
            found = {row[0]: _entry(row) for row in rows}
        return [found.get(one) or Entry(one, Status.UNSEEN) for one in fingerprints]

    def statuses(self, fingerprints: Sequence[Fingerprint]) -> dict[Fingerprint, tuple[Status, bool, bool]]:
        """Return the status of each that has an entry, and whether a manual edit removed it, or added it.

        What is approved through an authority alone counts as added, since a person's approval changes it.
        """
        statement = (
            "SELECT e.fingerprint, e.standing, e.withheld, d.verb = 'adopt' OR n.fingerprint IS NOT NULL"
            " FROM entry e LEFT JOIN decision d ON d.id = e.decision"
            " LEFT JOIN enrolment n ON n.fingerprint = e.fingerprint WHERE e.fingerprint IN (%s)"
        )
        with self._store.reading() as db:
            rows = list(in_portions(db, statement, fingerprints))
        return {Fingerprint(row[0]): (Status(row[1]), bool(row[2]), bool(row[3])) for row in rows}

    def denied(self, fingerprints: Iterable[Fingerprint]) -> set[Fingerprint]:
        """Return those that were rejected or revoked, or are off the list by the clock."""
        statement = (
            "SELECT fingerprint FROM entry"
            " WHERE (standing IN ('rejected', 'revoked') OR lapsed = 1) AND fingerprint IN (%s)"
        )
        with self._store.reading() as db:
            return {Fingerprint(row[0]) for row in in_portions(db, statement, list(fingerprints))}

    def each(self, standing: str, prefix: str = "", portion: int = 500) -> Iterator[list[Entry]]:
        """Yield the entries of a status, or of "unmatched", in portions, of which some are empty.

        Those whose certificate was in the directory when they were seen come first, then those that have only shown
        it, each kind ascending by fingerprint: so every portion is found by the index, at a million too. Each portion
        has the state at the time at which it is read.
        """
        name, kinds = _NAMED.get(standing, (standing, _KINDS))
        for matched in kinds:
            # Not as parameters: partial indexes compare these columns too, and SQLite prepares a statement anew at each
            # call if one could fit for some values only, which takes ten times as long as the search.
            of = f"WHERE e.standing = '{Status(name)}' AND e.matched = {matched:d}"
            last = prefix
            while True:
                with self._store.reading() as db:
                    rows = db.execute(
                        f"{_COLUMNS}{of} AND e.fingerprint >= ? AND e.fingerprint < ? ORDER BY e.fingerprint LIMIT ?",
                        (last, prefix + "G", portion),
                    ).fetchall()
                yield [_entry(row) for row in rows]
                if len(rows) < portion:
                    break
                last = rows[-1][0] + "0"

    def newest(self, of: Selection, most: int, prefix: str = "") -> list[Fingerprint]:
        """Return the first ``most`` of these entries, the latest attempt first. prefix: of their fingerprints.

        Pending ones whose certificate only the client has shown come after those of the directory.
        """
        with self._store.reading() as db:
            rows = db.execute(
                f"SELECT fingerprint{_SELECTED} AND fingerprint >= ?8 AND fingerprint < ?9"
                " ORDER BY standing = 'pending' AND matched = 2, last_seen DESC, fingerprint LIMIT ?10",
                (*of.values(), prefix, prefix + "G", most),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]

    def count(self, of: Selection) -> int:
        """Return the number of these entries."""
        with self._store.reading() as db:
            return int(db.execute(f"SELECT count(*){_SELECTED}", of.values()).fetchone()[0])

    def attempts(self) -> int:
        """Return the number of attempts of all entries."""
        with self._store.reading() as db:
            return int(db.execute("SELECT coalesce(sum(attempts), 0) FROM entry").fetchone()[0])

    def candidates(self, prefix: str, most: int) -> list[Fingerprint]:
        """Return the first ``most`` fingerprints of the ledger that begin with ``prefix``."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT fingerprint FROM entry WHERE fingerprint >= ? AND fingerprint < ? ORDER BY 1 LIMIT ?",
                (prefix, prefix + "G", most),
            ).fetchall()
        return [Fingerprint(row[0]) for row in rows]


def _entry(row: Sequence[Any]) -> Entry:
    fingerprint, standing, attempts, first_seen, last_seen, host, helo, sender, recipient, *rest = row
    matched, withheld, confirmed, revoke_at, lapsed, not_before, not_after, authority, *last = rest
    uses, used, verb, by, at, note, generation, here = last
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
        bool(lapsed),
        not_before,
        not_after,
        None if authority is None else Fingerprint(authority),
        None if by is None else Decision(Fingerprint(fingerprint), Verb(verb), by, at, note, generation=generation),
        uses,
        used,
        bool(here),
    )


def _minute(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"
