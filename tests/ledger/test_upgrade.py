"""A ledger of an earlier build keeps what it holds, and works as a new one does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from lab.deciding import decide

from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.log.sighting import Sighting
from eximcertd.status import Status, Verb

HERE = Path(__file__).parent
LIVE, WITHHELD, REVOKED, PENDING, UNMATCHED = (Fingerprint(digit * 64) for digit in "12345")


def tables(file: Path) -> dict[str, list[str]]:
    """Return the columns of each table and the text of each index and trigger."""
    with sqlite3.connect(file) as db:
        shape = {
            name: sorted(row[1] for row in db.execute(f"PRAGMA table_info({name})"))
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        shape |= {
            name: [" ".join(sql.split())]
            for name, sql in db.execute(
                "SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
            )
        }
    db.close()
    return shape


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_ledger_of_an_earlier_version_keeps_everything_and_becomes_as_a_new_one(tmp_path: Path, version: int) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with sqlite3.connect(old / "ledger.sqlite") as db:
        db.executescript((HERE / f"version_{version}.sql").read_text())
    db.close()
    ledger = Ledger(old)
    Ledger(new).close()
    entry = ledger.entries.get(LIVE)
    assert (entry.status, entry.attempts, entry.live, entry.lapsed) == (Status.APPROVED, 3, True, False)
    assert entry.decision is not None
    assert (entry.decision.by, entry.decision.note) == ("alice", "her laptop")
    assert entry.peer is not None
    assert ledger.decisions.withheld() == [WITHHELD]
    assert ledger.entries.get(REVOKED).status is Status.REVOKED
    assert len(ledger.decisions.history()) == 4
    assert ledger.publications.wanted() == [LIVE]
    assert ledger.publications.last_confirmed().form == "list"
    assert not ledger.publications.due()
    assert ledger.sightings.dropped() == 12
    assert ledger.lapses.next_change(0) == 8_000_000_000_000
    assert ledger.lapses.ended(None, 8_000_000_000_000) == [LIVE]
    assert ledger.sightings.forget(0) == 0, "the queue is kept, and forgotten from now on by running time"
    ledger.sightings.record("file", "2", [Sighting(PENDING, 1, 6000, 6000)], lambda _: True)
    assert ledger.entries.get(PENDING).attempts == 8
    assert set(ledger.sightings.unmatched(lambda _: True)) == {UNMATCHED}
    decide(ledger, Verb.APPROVE, WITHHELD)
    assert ledger.publications.wanted() == [LIVE, WITHHELD]
    ledger.close()
    assert tables(old / "ledger.sqlite") == tables(new / "ledger.sqlite")
