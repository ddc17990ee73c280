"""The acts of the fleet that this relay has taken, and the relay's own decisions that no act has settled.

An act is stored whole, and applied to its fingerprints in portions, each in one transaction; facts tell how far, and
what was begun is finished at the next start. acts/effective.py has the rules.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import cache, partial
from typing import TYPE_CHECKING, Final, NamedTuple

from eximcertd.acts.act import Head, parse
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.fleet_apply import apply, lose
from eximcertd.ledger.fleet_news import FleetNews, applied, fact
from eximcertd.ledger.publications import WANTED
from eximcertd.ledger.schema import new_id
from eximcertd.ledger.store import in_portions
from eximcertd.publish.limits import FEW
from eximcertd.status import OF_AUTHORITIES, Verb

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from eximcertd.acts.act import Act
    from eximcertd.ledger.decisions import Decision
    from eximcertd.ledger.store import Store

PORTION: Final = 200
"""Fingerprints, or acts, of one transaction: of a million in no order, each is on some six pages of its own."""

_LISTED: Final = f"SELECT count(*) FROM entry INDEXED BY entry_wanted WHERE {WANTED}"  # noqa: S608 - a constant
_GOING: Final = (
    f"SELECT count(*) FROM entry INDEXED BY entry_wanted WHERE confirmed = 1 AND {WANTED} AND fingerprint IN (%s)"  # noqa: S608 - a constant
)
_ENDING: Final = (
    "SELECT count(*) FROM enrolment n CROSS JOIN entry e USING (fingerprint)"  # noqa: S608 - a constant
    f" WHERE n.authority = ? AND e.confirmed = 1 AND {WANTED}"
)
_JOIN: Final = (
    "INSERT OR REPLACE INTO own SELECT d.fingerprint, d.verb, ?,"  # noqa: S608 - a constant
    f" {new_id('d.verb')}, d.by, d.at, d.note, 0 FROM entry e JOIN decision d ON d.id = e.decision"
    " WHERE e.standing <> 'pending' AND d.generation IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM enrolment n WHERE n.fingerprint = e.fingerprint)"
)


class Applied(NamedTuple):
    """What one transaction has done. acts: how many were applied to their end. changed: whose status changed.

    decisions: those that count. held: the next act was not taken, since ``holds`` said so.
    """

    acts: int
    decisions: list[Decision]
    changed: list[Fingerprint]
    held: bool


class FleetActs:
    """The part of the ledger that holds the fleet's acts. relay: the name of this relay.

    The first time, all decisions made before become open decisions of this relay.
    """

    def __init__(self, store: Store, relay: str) -> None:
        self._store = store
        self.relay: Final = relay
        self.news: Final = FleetNews(store)
        with store.transaction() as db:
            row = db.execute("SELECT member FROM fleet").fetchone()
            if row is None:
                db.execute("INSERT INTO fleet (relay, member) VALUES (?, 0)", (relay,))
            db.execute("UPDATE fleet SET relay = ?, member = 1", (relay,))
            if row is None or not row[0]:
                db.execute(_JOIN, (applied(db),))
                db.execute(
                    "INSERT OR REPLACE INTO fleet_sighted"
                    " SELECT fingerprint, row_number() OVER (ORDER BY fingerprint) FROM entry"
                    " WHERE standing = 'pending'"
                )

    # What there is

    def head(self) -> Head:
        """Return where the acts end that this relay has."""
        with self._store.reading() as db:
            row = db.execute("SELECT generation, hash FROM fleet_act ORDER BY generation DESC LIMIT 1").fetchone()
        return Head(*row) if row else Head()

    def hashes(self, generations: Iterable[int]) -> list[str]:
        """Return the hashes of these acts; "" for one that is not there."""
        with self._store.reading() as db:
            rows = (
                db.execute("SELECT hash FROM fleet_act WHERE generation = ?", (one,)).fetchone() for one in generations
            )
            return [row[0] if row else "" for row in rows]

    def applied(self) -> int:
        """Return the generation of the last act that was applied to all of its fingerprints."""
        with self._store.reading() as db:
            return applied(db)

    def unapplied(self) -> list[Act]:
        """Return the acts that were stored and not applied to their end: one, after a crash."""
        with self._store.reading() as db:
            rows = db.execute(
                "SELECT text, signature FROM fleet_act WHERE generation > ? ORDER BY generation", (applied(db),)
            ).fetchall()
        return [parse(*row) for row in rows]

    def fact(self, key: str) -> str:
        """Return a fact of the fleet, "" if it is not set."""
        with self._store.reading() as db:
            return fact(db, f"fleet_{key}")

    def set_fact(self, key: str, value: str) -> None:
        """Keep a fact of the fleet. Raises LedgerError."""
        with self._store.transaction() as db:
            _set(db, f"fleet_{key}", value)

    # Taking acts

    def apply(self, acts: Sequence[Act], holds: Callable[[int, int], bool]) -> Applied:
        """Apply the next portion of acts that follow the head, or were stored before. Raises LedgerError.

        None of the first PORTION acts may be one on an authority. holds: told how many fingerprints an act takes off
        the list that Exim honours, and how many are on it, tells whether the act is not to be taken.
        """
        decisions: list[Decision] = []
        changed: list[Fingerprint] = []
        whole, left, held = 0, PORTION, False
        with self._store.transaction() as db:
            done, stored, listed = _done(db), _stored(db), cache(partial(_listed, db))
            for act in acts[:PORTION]:
                if act.verb in OF_AUTHORITIES or left <= 0:
                    break
                if act.generation > stored:
                    held = _held(db, act, lambda going: holds(going, listed()))
                    if held:
                        break
                    _store(db, act)
                start = bisect_right(act.fingerprints, done)
                names = act.fingerprints[start : start + left]
                left -= max(len(names), 1)
                apply(db, act, names, decisions, changed)
                done = names[-1] if start + len(names) < len(act.fingerprints) else ""
                whole += not done
            db.execute("UPDATE fleet SET applied = applied + ?, done = ?", (whole, done))
        return Applied(whole, decisions, changed, held)

    def begin(self, act: Act, holds: Callable[[int, int], bool]) -> bool:
        """Store an act on an authority, which others apply; return whether it is held. Raises LedgerError."""
        with self._store.transaction() as db:
            if act.generation > _stored(db):
                if _held(db, act, lambda going: holds(going, _listed(db))):
                    return True
                _store(db, act)
        return False

    def end(self, act: Act, refused: str) -> None:
        """Note that an act on an authority was applied, or why this relay refuses it ("": it does not)."""
        with self._store.transaction() as db:
            kept = json.loads(fact(db, "fleet_refused") or "{}")
            kept.pop(act.fingerprints[0], None)
            _set(db, "fleet_refused", json.dumps(kept | ({act.fingerprints[0]: refused} if refused else {})))
            db.execute("UPDATE fleet SET applied = ?", (act.generation,))

    def refused(self) -> dict[Fingerprint, str]:
        """Return the authorities that the fleet approves and this relay refuses, with the reason."""
        with self._store.reading() as db:
            return {Fingerprint(name): why for name, why in json.loads(fact(db, "fleet_refused") or "{}").items()}

    # Losing acts

    def go_back(self, last: int) -> None:
        """Make own decisions of the newest act after ``last``; if there is none, end this. Raises LedgerError.

        Everything that was stored must have been applied.
        """
        with self._store.transaction() as db:
            row = db.execute(
                "SELECT text FROM fleet_act WHERE generation > ? ORDER BY generation DESC LIMIT 1", (last,)
            )
            found = row.fetchone()
            if found is None:
                db.execute("UPDATE own SET base = ?1 WHERE base > ?1", (last,))
                _set(db, "fleet_back_to", "")
                _set(db, "fleet_live", str(min(int(fact(db, "fleet_live") or 0), last)))
                return
            act = parse(found[0])
            lose(db, act)
            db.execute("DELETE FROM fleet_act WHERE generation = ?", (act.generation,))
            db.execute("UPDATE fleet SET applied = ?", (act.generation - 1,))
            _set(db, "fleet_back_to", str(last))


def _held(db: sqlite3.Connection, act: Act, holds: Callable[[int], bool]) -> bool:
    """Tell whether an act is held; keep which one waits."""
    waits = f"{act.generation} {act.hash()}"
    if act.verb in {Verb.REJECT, Verb.REVOKE}:
        going = sum(row[0] for row in in_portions(db, _GOING, act.fingerprints))
    elif act.verb == Verb.WITHDRAW:
        going = db.execute(_ENDING, act.fingerprints).fetchone()[0]
    else:
        going = 0
    held = going > FEW and fact(db, "fleet_accepted") != waits and holds(going)
    if held or fact(db, "fleet_held"):
        _set(db, "fleet_held", waits if held else "")
    return held


def _listed(db: sqlite3.Connection) -> int:
    return int(db.execute(_LISTED).fetchone()[0])


def _store(db: sqlite3.Connection, act: Act) -> None:
    values = (act.generation, act.hash(), act.text(), act.signature)
    db.execute("INSERT INTO fleet_act VALUES (?, ?, ?, ?)", values)


def _done(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT done FROM fleet").fetchone()[0])


def _stored(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(generation), 0) FROM fleet_act").fetchone()[0])


def _set(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT INTO fact VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))
