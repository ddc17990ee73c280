"""The ledger: counts exactly once, appends decisions, tells what is live, and survives what happens to its file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide

from eximcertd.errors import LedgerError
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import DamagedError, Ledger, move_aside
from eximcertd.ledger.entries import Selection
from eximcertd.ledger.identities import Identity
from eximcertd.ledger.publications import Confirmed
from eximcertd.ledger.schema import UPGRADES, VERSION
from eximcertd.log.sighting import Peer, Sighting
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE, TWO, THREE, FOUR = (Fingerprint(f"{n:08X}".ljust(64, "0")) for n in (1, 2, 3, 4))
PEER = Peer("192.0.2.1", "laptop", "a@example.org", "b@example.org")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path, unmatched_limit=2)
    yield ledger
    ledger.close()


def see(ledger: Ledger, *attempts: Sighting, position: str = "1", known: bool = True) -> list[Fingerprint]:
    return ledger.sightings.record("file", position, attempts, lambda _: known)


def publish(ledger: Ledger, form: str = "list") -> None:
    number = ledger.publications.begin(form, 1)
    ledger.publications.confirm(number, Confirmed(form, "digest", at=2, loaded_at=2), "live")


def test_attempts_are_counted_with_their_first_and_last_time_and_the_latest_peer(ledger: Ledger) -> None:
    assert see(ledger, Sighting(ONE, 2, 100, 200)) == [ONE]
    assert see(ledger, Sighting(ONE, 1, 50, 60, PEER), position="2") == []
    entry = ledger.entries.get(ONE)
    assert (entry.attempts, entry.first_seen, entry.last_seen, entry.peer) == (3, 50, 200, PEER)
    assert ledger.sightings.position("file") == "2"


def test_a_peer_that_comes_late_counts_nothing(ledger: Ledger) -> None:
    see(ledger, Sighting(ONE, 1, 1, 1))
    see(ledger, Sighting(ONE, 0, None, None, PEER), Sighting(TWO, 0, None, None, PEER))
    assert (ledger.entries.get(ONE).attempts, ledger.entries.get(ONE).peer) == (1, PEER)
    assert ledger.entries.get(TWO).status is Status.UNSEEN


def test_an_attempt_without_a_time_is_counted(ledger: Ledger) -> None:
    see(ledger, Sighting(ONE, 1, None, None))
    see(ledger, Sighting(ONE, 1, 7, 8))
    see(ledger, Sighting(ONE, 1, None, None))
    entry = ledger.entries.get(ONE)
    assert (entry.attempts, entry.first_seen, entry.last_seen) == (3, 7, 8)


def test_unmatched_fingerprints_are_bounded_and_the_least_recently_seen_go_first(ledger: Ledger) -> None:
    see(ledger, Sighting(ONE, 1, 1, 1), known=True)
    see(ledger, Sighting(TWO, 1, 2, 2), Sighting(THREE, 1, 3, 3), Sighting(FOUR, 1, 4, 4), known=False)
    assert set(ledger.sightings.unmatched(lambda _: True)) == {THREE, FOUR}
    assert ledger.sightings.dropped() == 1
    assert ledger.entries.get(ONE).attempts == 1


def test_an_unmatched_fingerprint_becomes_a_full_entry_when_its_certificate_appears(ledger: Ledger) -> None:
    see(ledger, Sighting(ONE, 1, 1, 1), known=False)
    assert not any(ledger.entries.each("pending"))
    assert ledger.sightings.match([ONE, TWO]) == [ONE]
    assert [entry.fingerprint for portion in ledger.entries.each("pending") for entry in portion] == [ONE]


def test_the_newest_entries_are_those_with_the_latest_attempts_and_can_be_narrowed(ledger: Ledger) -> None:
    host = Peer("laptop.example [192.0.2.7]", "Client", "a@x", "b@y")
    see(ledger, Sighting(ONE, 1, 1, 10, host), Sighting(TWO, 1, 1, 30), Sighting(THREE, 1, 1, 20, host), known=True)
    see(ledger, Sighting(FOUR, 1, 1, 40), known=False)
    entries = ledger.entries
    assert entries.newest(Selection("pending"), 9) == [TWO, THREE, ONE]
    assert entries.newest(Selection("pending"), 1) == [TWO]
    assert entries.newest(Selection("pending", since=20), 9) == [TWO, THREE]
    assert entries.newest(Selection("unmatched"), 9) == [FOUR]
    for part in ("192.0.2", "LAPTOP", "client"):
        assert entries.newest(Selection("pending", peer=part), 9) == [THREE, ONE]
        assert entries.count(Selection("pending", since=20, peer=part)) == 1
    assert entries.count(Selection("pending")) == 3


def test_what_counted_at_a_time_is_the_last_decision_before_it(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE, TWO, at=10)
    decide(ledger, Verb.REVOKE, ONE, at=20)
    decide(ledger, Verb.REVOKE, TWO, at=30)
    decide(ledger, Verb.APPROVE, TWO, at=30)

    def approved(at: int) -> list[Fingerprint]:
        portions = ledger.decisions.each_at(at, portion=1)
        return [one.fingerprint for portion in portions for one in portion if one.verb is Verb.APPROVE]

    assert [approved(at) for at in (9, 10, 20, 30)] == [[], [ONE, TWO], [TWO], [TWO]]


def test_a_segment_is_counted_once_and_only_by_a_reader_that_knew_what_was_counted_of_it(ledger: Ledger) -> None:
    seen = [Sighting(ONE, 3, 1, 1)]

    def count(text: str, before: str | None) -> int | None:
        return ledger.sightings.record_scan(("k", text), before, seen, known=lambda _: True, now=1)

    assert count("half", None) == 3
    assert count("whole", None) is None
    assert count("whole", "half") == 3
    assert ledger.entries.get(ONE).attempts == 6
    assert ledger.sightings.files() == {"k": "whole"}


@pytest.mark.parametrize("statement", ["UPDATE decision SET by = 'mallory'", "DELETE FROM decision"])
def test_a_decision_is_never_edited(tmp_path: Path, ledger: Ledger, statement: str) -> None:
    decide(ledger, Verb.APPROVE, ONE)
    with (
        sqlite3.connect(tmp_path / "ledger.sqlite") as other,
        pytest.raises(sqlite3.IntegrityError, match="appended, never"),
    ):
        other.execute(statement)
    other.close()


def test_what_is_decided_is_due_until_it_is_confirmed(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE)
    assert ledger.publications.due()
    number = ledger.publications.begin("list", 1)
    assert ledger.publications.due()
    assert ledger.publications.changes() == ([ONE], [])
    decide(ledger, Verb.APPROVE, TWO)
    ledger.publications.confirm(number, Confirmed("list", "d", at=2, loaded_at=2), "live")
    assert ledger.publications.confirmed() == [ONE]
    assert ledger.publications.due()
    publish(ledger)
    assert not ledger.publications.due()
    assert ledger.publications.last_confirmed() == Confirmed("list", "digest", at=2, loaded_at=2, revision=number + 1)


def test_what_a_person_took_out_of_the_file_is_withheld_until_a_person_decides(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE, TWO)
    ledger.decisions.withhold([ONE])
    assert ledger.publications.wanted() == [TWO]
    decide(ledger, Verb.APPROVE, ONE)
    assert ledger.publications.wanted() == [ONE, TWO]
    assert ledger.decisions.withheld() == []


def test_a_second_eximcertd_on_the_same_directory_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="another eximcertd"):
        Ledger(tmp_path)


def test_a_ledger_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = (tmp_path / "ledger.sqlite").read_bytes()
    with pytest.raises(LedgerError, match="newer eximcertd"):
        Ledger(tmp_path)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "hole"])
def test_a_damaged_ledger_is_told_and_can_be_moved_aside(tmp_path: Path, damage: str) -> None:
    ledger = Ledger(tmp_path)
    decide(ledger, Verb.APPROVE, *(Fingerprint(f"{n:064X}") for n in range(5000)))
    ledger.close()
    file = tmp_path / "ledger.sqlite"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        if damage == "garbage":
            stream.write(b"x" * 4096)
        else:
            stream.seek(8192)
            stream.write(b"\0" * (size - 8192))
    with pytest.raises(DamagedError, match="damaged"):
        Ledger(tmp_path)
    aside = move_aside(tmp_path)
    assert aside.stat().st_size == size
    Ledger(tmp_path).close()


def test_a_full_disk_is_told_and_nothing_is_lost(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE)
    with ledger._store.reading() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LedgerError, match="the disk is full"):
        decide(ledger, Verb.APPROVE, *(Fingerprint(f"{n:064X}") for n in range(5000)))
    assert ledger.publications.wanted() == [ONE]
    with ledger._store.reading() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    decide(ledger, Verb.APPROVE, TWO)
    assert ledger.publications.wanted() == [ONE, TWO]


def test_an_older_ledger_is_upgraded_step_by_step_and_keeps_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Ledger(tmp_path)
    decide(old, Verb.APPROVE, ONE)
    old.close()
    step = "ALTER TABLE entry ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue';"
    monkeypatch.setattr("eximcertd.ledger.store.UPGRADES", (*UPGRADES, step))
    monkeypatch.setattr("eximcertd.ledger.store.VERSION", VERSION + 1)
    new = Ledger(tmp_path)
    assert new.publications.wanted() == [ONE]
    with new._store.reading() as db:
        assert db.execute("SELECT colour FROM entry").fetchone()[0] == "blue"
        assert db.execute("PRAGMA user_version").fetchone()[0] == VERSION + 1
    new.close()


def test_an_upgrade_that_fails_half_way_leaves_the_older_version_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger(tmp_path).close()
    monkeypatch.setattr(
        "eximcertd.ledger.store.UPGRADES", (*UPGRADES, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);")
    )
    with pytest.raises(LedgerError):
        Ledger(tmp_path)
    monkeypatch.undo()
    ledger = Ledger(tmp_path)
    with ledger._store.reading() as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone()[0] == 0
    ledger.close()


def test_an_approved_certificate_is_known_again_by_key_or_name_after_its_file_has_gone(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE, TWO)
    ledger.identities.keep([Identity(ONE, "key", "CN=a", "CN=a", 9), Identity(TWO, "other", "CN=b", "CN=b", None)])
    assert [one.fingerprint for one in ledger.identities.approved({"key"}, {"CN=b"})] == [ONE, TWO]
    decide(ledger, Verb.REVOKE, ONE)
    assert ledger.identities.approved({"key"}, ()) == []


def test_a_scheduled_revocation_is_due_at_its_time_and_only_while_approved(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE)
    ledger.lapses.schedule([(ONE, 100), (TWO, 100)])
    assert ledger.lapses.next_change(99) == 100
    assert ledger.lapses.due(99) == []
    assert ledger.lapses.due(100) == [ONE]
    decide(ledger, Verb.REVOKE, ONE)
    assert ledger.lapses.next_change(99) is None


def test_what_was_told_once_is_not_told_again(ledger: Ledger) -> None:
    assert ledger.lapses.first_time("expired", [ONE]) == [ONE]
    assert ledger.lapses.first_time("expired", [ONE, TWO]) == [TWO]
    assert ledger.lapses.first_time("soon", [ONE]) == [ONE]


def test_a_new_decision_ends_what_was_scheduled_before(ledger: Ledger) -> None:
    decide(ledger, Verb.APPROVE, ONE)
    ledger.lapses.schedule([(ONE, 100)])
    decide(ledger, Verb.REVOKE, ONE)
    decide(ledger, Verb.APPROVE, ONE)
    assert ledger.lapses.due(200) == []


def test_no_more_leave_the_list_at_once_than_one_publication_may_remove(ledger: Ledger) -> None:
    many = [Fingerprint(f"{n:064X}") for n in range(1, 11)]
    decide(ledger, Verb.APPROVE, *many)
    publish(ledger)
    decide(ledger, Verb.APPROVE, ONE)
    ledger.identities.keep([Identity(one, one, one, one, 100) for one in [*many, ONE]])
    left = set(many)
    taken: list[int] = []
    while True:
        gone, back, more = ledger.lapses.derive(100, 50)
        assert not back
        assert (ONE in gone) is not bool(taken), "it is not on the published list: it never gets there"
        assert ledger.lapses.derive(100, 50)[0] == [], "no more before these are published"
        publish(ledger)
        taken.append(len(left.intersection(gone)))
        left.difference_update(gone)
        if not more:
            break
    assert taken == [5, 3, 2]
    assert left == set()
    assert ledger.lapses.derive(99, 50) == ([], sorted([*many, ONE]), False)
