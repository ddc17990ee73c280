"""One act of the fleet in the ledger: what it makes of the entries, and what is left of it when the fleet loses it.

Each function is a part of a transaction; acts/effective.py has the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eximcertd.acts.effective import BECOMES, Lost, Newest, Own, effective, rebased
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.decisions import Decision
from eximcertd.ledger.schema import new_id
from eximcertd.ledger.store import in_portions
from eximcertd.status import ALLOWS, OF_AUTHORITIES, Verb

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from eximcertd.acts.act import Act


def apply(
    db: sqlite3.Connection,
    act: Act,
    names: Sequence[Fingerprint],
    decisions: list[Decision],
    changed: list[Fingerprint],
) -> None:
    """Apply an act to some of its fingerprints."""
    verb = Verb(act.verb)
    number = db.execute("SELECT coalesce(max(id), 0) FROM decision").fetchone()[0]
    made = [Decision(one, verb, act.by, act.at // 1000, act.note, generation=act.generation) for one in names]
    db.executemany(
        "INSERT INTO decision (id, fingerprint, verb, by, at, note, generation) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (number, one.fingerprint, one.verb, one.by, one.at, one.note, one.generation)
            for number, one in enumerate(made, number + 1)
        ),
    )
    own, settles = own_of(db, names), frozenset(act.settles)
    settled = [name for name, one in own.items() if one.id in settles]
    for name in settled:
        del own[name]
    db.executemany("DELETE FROM own WHERE fingerprint = ?", ((name,) for name in settled))
    statement = "SELECT fingerprint, standing, withheld FROM entry WHERE fingerprint IN (%s)"
    before = {row[0]: (row[1], row[2]) for row in in_portions(db, statement, names)}
    newest = Newest(act.generation, BECOMES[verb])
    numbers = dict(zip(names, range(number + 1, number + 1 + len(names)), strict=True))
    status = {name: effective(newest, own.get(name)) for name in names}
    fresh = [name for name in names if name not in own or own[name].verb in ALLOWS]
    db.executemany(
        "INSERT INTO entry (fingerprint, standing, decision) VALUES (?1, ?2, ?3) ON CONFLICT (fingerprint)"
        " DO UPDATE SET standing = ?2, decision = ?3, withheld = 0, revoke_at = NULL, lapsed = 0",
        ((name, status[name], numbers[name]) for name in fresh),
    )
    db.executemany("DELETE FROM enrolment WHERE fingerprint = ?", ((name,) for name in fresh))
    effects = frozenset(fresh)
    decisions += [one for one in made if one.fingerprint in effects]
    changed += [name for name in fresh if before.get(name) != (status[name], 0)]


def lose(db: sqlite3.Connection, act: Act) -> None:
    """Make own decisions of an act."""
    if act.verb in OF_AUTHORITIES:
        if act.verb == Verb.WITHDRAW:
            _withdrawn_here(db, act)
        return
    own = own_of(db, act.fingerprints)
    lost = [
        Lost(act.generation, name, Verb(act.verb), db.execute(f"SELECT {new_id('?')}", (act.verb,)).fetchone()[0])
        for name in act.fingerprints
    ]
    after = rebased(own, lost, act.generation - 1)
    ids = {one.id for one in lost}
    db.executemany(
        "INSERT OR REPLACE INTO own VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        (
            (name, one.verb, one.base, one.id, act.by, act.at // 1000, act.note)
            for name, one in after.items()
            if one.id in ids
        ),
    )


def _withdrawn_here(db: sqlite3.Connection, act: Act) -> None:
    """Make a lost withdrawal of an authority one of this relay, which no act undoes."""
    row = db.execute(
        "INSERT INTO decision (fingerprint, verb, by, at, note) VALUES (?, ?, ?, ?, ?)",
        (act.fingerprints[0], act.verb, act.by, act.at // 1000, act.note),
    )
    db.execute(
        "UPDATE authority SET decision = ?1 WHERE fingerprint = ?2 AND standing = 'revoked'"
        " AND decision = (SELECT id FROM decision WHERE fingerprint = ?2 AND request = ?3)",
        (row.lastrowid, act.fingerprints[0], request_of(act)),
    )


def request_of(act: Act) -> str:
    """Return the request that the decision of an act on an authority names."""
    return f"fleet {act.hash()[:32]}"


def own_of(db: sqlite3.Connection, names: Sequence[Fingerprint]) -> dict[Fingerprint, Own]:
    """Return the open decisions of this relay on these fingerprints."""
    rows = in_portions(db, "SELECT fingerprint, verb, base, id, lost FROM own WHERE fingerprint IN (%s)", names)
    return {Fingerprint(row[0]): Own(Verb(row[1]), row[2], row[3], bool(row[4])) for row in rows}
