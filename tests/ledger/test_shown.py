"""Certificates that clients have shown: kept with their entries, within a bound, and never lost with a decision."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from lab.deciding import decide

from eximcertd.fingerprint import Fingerprint, of_der
from eximcertd.ledger import Ledger
from eximcertd.ledger.authorities import Enrolment
from eximcertd.ledger.identities import Identity
from eximcertd.ledger.shown import MOST_BYTES, MOST_ENROLLED
from eximcertd.log.sighting import ShownCertificate, Sighting
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGE = 6000
MANY = MOST_BYTES // LARGE


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


def shown(number: int, at: int = 1, *, size: int = LARGE, name: str = "", attempts: int = 1) -> Sighting:
    """Return an attempt with a certificate of its own."""
    der = hashlib.sha256(b"%d" % number).digest().ljust(size, b"x")
    return Sighting(of_der(der), attempts, at, at, None, ShownCertificate(der, "0" * 64, name))


def see(ledger: Ledger, *attempts: Sighting, known: bool = False) -> list[Fingerprint]:
    return ledger.sightings.record("file", "1", attempts, lambda _: known)


def test_a_certificate_is_kept_with_its_entry_and_is_new_in_the_queue_once(ledger: Ledger) -> None:
    one, two = shown(1), shown(2)
    assert one.certificate is not None
    assert see(ledger, one, two) == sorted([one.fingerprint, two.fingerprint])
    assert see(ledger, one) == []
    assert ledger.shown.of([one.fingerprint])[one.fingerprint] == (one.certificate.der, "0" * 64)
    counts = ledger.entries.counts()
    assert (counts.pending, counts.unmatched) == (2, 0)
    assert [entry.fingerprint for part in ledger.entries.each("pending") for entry in part] == sorted(
        [
            one.fingerprint,
            two.fingerprint,
        ]
    )
    assert not [entry for part in ledger.entries.each("unmatched") for entry in part]


def test_those_in_the_directory_come_before_those_that_were_only_shown(ledger: Ledger) -> None:
    see(ledger, *(shown(number) for number in range(10)))
    there = [shown(number) for number in range(10, 20)]
    see(ledger, *there, known=True)
    listed = [entry.fingerprint for part in ledger.entries.each("pending") for entry in part]
    assert set(listed[:10]) == {one.fingerprint for one in there}
    assert len(listed) == 20
    assert ledger.shown.only(listed) == set(listed[10:])


def test_an_entry_of_which_a_file_appears_counts_as_one_of_the_directory_and_is_not_new_again(ledger: Ledger) -> None:
    one, bare = shown(1), Sighting(Fingerprint("A" * 64), 1, 1, 1)
    see(ledger, one, bare)
    assert set(ledger.sightings.unmatched(lambda _: True)) == {one.fingerprint, bare.fingerprint}
    assert ledger.sightings.match([one.fingerprint, bare.fingerprint]) == [bare.fingerprint]
    assert ledger.shown.only([one.fingerprint]) == set()
    assert len(ledger.shown.of([one.fingerprint])) == 1
    see(ledger, one)
    assert ledger.shown.only([one.fingerprint]) == set()


def test_a_certificate_without_an_attempt_is_kept_for_a_known_entry_only(ledger: Ledger) -> None:
    one, two = shown(1, attempts=0), shown(2, attempts=0)
    see(ledger, Sighting(one.fingerprint, 1, 1, 1))
    assert see(ledger, one, two) == [one.fingerprint]
    assert set(ledger.shown.of([one.fingerprint, two.fingerprint])) == {one.fingerprint}
    assert ledger.entries.get(one.fingerprint).attempts == 1


def test_it_goes_with_its_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, unmatched_limit=2)
    some = [shown(number, at=number) for number in range(5)]
    fresh = see(ledger, *some)
    assert set(fresh) == {one.fingerprint for one in some[3:]}, "the limit holds for them too"
    assert set(ledger.shown.of([one.fingerprint for one in some])) == set(fresh)
    assert ledger.sightings.dropped() == 3
    ledger.sightings.forget(1 << 60)
    assert ledger.shown.of(fresh) == {}
    ledger.close()


def test_the_least_recently_seen_lose_their_certificates_first_and_none_with_a_decision(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    decided = [shown(number, at=number) for number in range(3)]
    see(ledger, *decided)
    for verb, one in zip((Verb.APPROVE, Verb.REJECT, Verb.APPROVE), decided, strict=True):
        decide(ledger, verb, one.fingerprint)
    others = [shown(number, at=number) for number in range(10, 10 + MANY + 200)]
    for start in range(0, len(others), 100):
        if start == 900:  # the bound holds over a restart too
            ledger.close()
            ledger = Ledger(tmp_path)
        see(ledger, *others[start : start + 100])
    kept = ledger.shown.of([one.fingerprint for one in others])
    assert sum(len(der) for der, _ in kept.values()) <= MOST_BYTES
    newest = {one.fingerprint for one in others[-len(kept) :]}
    assert set(kept) == newest
    assert len(kept) > MANY * 9 // 10
    assert len(ledger.shown.of([one.fingerprint for one in decided])) == 3
    counts = ledger.entries.counts()
    assert (counts.pending, counts.unmatched) == (len(kept), len(others) - len(kept)), "the entries stay"
    assert see(ledger, others[0]) == [others[0].fingerprint], "it comes again with the next attempt"
    assert see(ledger, Sighting(decided[0].fingerprint, 1, 1, 1)) == []
    ledger.close()


def test_of_certificates_that_an_authority_has_approved_the_latest_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, unmatched_limit=2 * MOST_ENROLLED)
    some = [shown(number, size=100) for number in range(MOST_ENROLLED + 10)]
    see(ledger, *some)
    authority = Fingerprint("AB" * 32)
    rows = [Identity(one.fingerprint, "", "", "", 1 << 44, 1) for one in some]
    ledger.authorities.enrol([Enrolment(authority, 1, (), row) for row in rows], 1)
    ledger.close()
    ledger = Ledger(tmp_path, unmatched_limit=2 * MOST_ENROLLED)  # it is counted at the first certificate that comes
    see(ledger, shown(1 << 30))
    assert set(ledger.shown.of([one.fingerprint for one in some])) == {one.fingerprint for one in some[10:]}
    assert {entry.status for entry in ledger.entries.among([one.fingerprint for one in some])} == {Status.APPROVED}
    ledger.close()


def test_a_decided_entry_gets_its_certificate_later_and_is_not_new(ledger: Ledger) -> None:
    one = shown(1)
    decide(ledger, Verb.REJECT, one.fingerprint)
    assert see(ledger, one) == []
    assert len(ledger.shown.of([one.fingerprint])) == 1


def test_entries_that_claim_one_name_are_found_and_a_missing_name_is_none(ledger: Ledger) -> None:
    same = [shown(number, name="CN=laptop") for number in range(30)]
    old, alone, nameless = shown(40), shown(41, name="CN=other"), shown(42)
    see(ledger, *same, alone, nameless)
    decide(ledger, Verb.APPROVE, old.fingerprint)
    ledger.identities.keep([Identity(old.fingerprint, "key", "CN=laptop", "CN=laptop", 1)])
    decide(ledger, Verb.REJECT, same[0].fingerprint)
    found = ledger.shown.same_name(["CN=laptop", "CN=other", "CN=none"], 100)
    assert set(found["CN=laptop"]) == {one.fingerprint for one in (*same[1:], old)}
    assert found["CN=other"] == [alone.fingerprint]
    assert found["CN=none"] == []
    assert len(ledger.shown.same_name(["CN=laptop"], 5)["CN=laptop"]) == 5
