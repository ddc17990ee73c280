"""What an approved authority has issued is approved, published, told and forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from lab.authorities import NOW, Signer
from lab.certificates import DAY
from lab.enrolments import PRINTED, now_ms

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.printed import hashes_of
from eximcertd.certificates.index import Index
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger.decisions import Decision
from eximcertd.maintenance.expiry import Expiry
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from lab.enrolments import Site


def test_a_certificate_of_an_approved_authority_is_approved_by_it_and_published(site: Site) -> None:
    leaf = site.signer.issue("client7.example")
    assert site.try_(leaf) == []
    authority = site.authorize()
    assert site.try_(leaf) == [leaf.fingerprint]
    assert site.allowed.contents().fingerprints == {leaf.fingerprint}
    entry = site.ledger.entries.get(leaf.fingerprint)
    assert (entry.status, entry.authority) == (Status.APPROVED, authority.fingerprint)
    assert entry.decision is not None
    assert entry.decision.by == f"authority {authority.fingerprint[:16]}"
    assert site.ledger.publications.wanted() == [leaf.fingerprint]
    assert Event.ENROLLED in site.records.events()


def test_a_certificate_of_nobody_known_stays_pending(site: Site) -> None:
    site.authorize()
    stranger, twin = Signer("Another CA").issue("a.example"), Signer("Site CA").issue("b.example")
    assert site.try_(stranger, twin) == []
    assert site.status(stranger) is site.status(twin) is Status.PENDING


def test_the_end_of_the_authority_is_the_end_of_what_it_enrolled(site: Site) -> None:
    short = Signer("Site CA", not_after=NOW + 5 * DAY)
    site.authorize(short)
    leaf = short.issue("a.example", not_after=NOW + 50 * DAY)
    site.try_(leaf)
    identity = site.ledger.identities.among([leaf.fingerprint])[leaf.fingerprint]
    assert identity.not_after == int(short.not_after.timestamp() * 1000)


def test_what_was_removed_from_the_list_by_hand_does_not_come_back_with_the_next_attempt(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example"))
    site.ledger.decisions.withhold([leaf.fingerprint])
    site.allowed.change([], [leaf.fingerprint])
    assert site.try_(leaf) == []
    assert site.allowed.contents().fingerprints == frozenset()


def test_the_name_as_exim_printed_it_is_learned_from_a_verified_certificate_alone(site: Site) -> None:
    site.authorize()
    site.try_(Signer("Site CA").issue("twin.example"))
    assert PRINTED not in site.names.contents().fingerprints
    site.try_(site.signer.issue("client7.example"))
    assert site.names.contents().fingerprints == {PRINTED, *hashes_of(Authority.of(site.signer.der).subject)}


def test_approvals_by_an_authority_outlive_a_restart(site: Site) -> None:
    site.authorize(None, "*.example")
    site.try_(leaf := site.signer.issue("client7.example"))
    site.ledger.close()
    site.open()
    assert site.status(leaf) is Status.APPROVED
    assert site.enrolling.approved[0].patterns == ("*.example",)
    assert site.try_(other := site.signer.issue("client8.example")) == [other.fingerprint]


def test_an_authority_that_the_libraries_do_not_read_any_more_is_told_and_stops_nothing_else(site: Site) -> None:
    unread = Decision(Fingerprint("AB" * 32), Verb.AUTHORIZE, "alice", now_ms(), "", "unread")
    site.ledger.authorities.add(unread, b"\x30\x00", (), "", hashes=())
    site.authorize()
    site.ledger.close()
    site.open()
    assert Event.AUTHORITY_PROBLEM in site.records.events()
    assert site.try_(leaf := site.signer.issue("client7.example")) == [leaf.fingerprint]


def test_an_ended_certificate_is_forgotten_after_a_while(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example", not_after=NOW + DAY))
    site.round(NOW + 50 * DAY)
    assert site.status(leaf) is Status.APPROVED
    site.round(NOW + 95 * DAY)
    assert site.status(leaf) is Status.APPROVED  # Exim may still honour it
    site.ledger.lapses.derive(int((NOW + 95 * DAY).timestamp() * 1000))
    asyncio.run(site.publication.settle())
    site.round(NOW + 95 * DAY)
    assert site.status(leaf) is Status.UNSEEN


def test_the_end_of_a_certificate_that_its_authority_renews_is_no_event(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example", not_after=NOW + DAY))
    expiry = Expiry(site.ledger, CertificateLookup(Index(site.directory), site.ledger.shown.of), site.records)
    told = list(site.records.kept)
    for days in (0, 2, 0):  # at last, the clock is set back
        now = (NOW + days * DAY).timestamp()
        expiry.derive(now)
        expiry.tell(now, timedelta(days=30))
        assert (expiry.expired(now), expiry.expiring(timedelta(days=30), now)) == ([], [])
        assert site.ledger.entries.get(leaf.fingerprint).lapsed is (days == 2)
    assert site.records.kept == told


def test_a_renewed_certificate_of_the_authority_takes_its_clients_with_it(site: Site) -> None:
    old = Signer("Site CA", not_after=NOW + 5 * DAY)
    site.authorize(old)
    site.try_(leaf := old.issue("client7.example", not_after=NOW + 50 * DAY))
    renewed = Signer("Site CA", key=old.private)
    site.authorize(renewed, request="2")
    assert [one.fingerprint for one in site.enrolling.approved] == [renewed.fingerprint]
    assert site.ledger.entries.get(leaf.fingerprint).authority == renewed.fingerprint
    assert site.try_(leaf) == [leaf.fingerprint]
    identity = site.ledger.identities.among([leaf.fingerprint])[leaf.fingerprint]
    assert identity.not_after == int(leaf.not_after.timestamp() * 1000)


@pytest.mark.parametrize("leaves", [1, 2])
def test_one_certificate_is_told_by_its_name_and_several_by_their_number(site: Site, leaves: int) -> None:
    authority = site.authorize()
    issued = [site.signer.issue(f"client{number}.example") for number in range(leaves)]
    site.try_(*issued)
    told = [(message, fields) for event, message, fields in site.records.kept if event is Event.ENROLLED]
    one = issued[0].fingerprint
    fields = {"FINGERPRINT": one, "SUBJECT": "CN=client0.example,O=Site", "AUTHORITY": authority.fingerprint}
    assert told == (
        [(f"{one} (CN=client0.example,O=Site) is approved by authority {authority.fingerprint}", fields)]
        if leaves == 1
        else [("2 certificates of approved authorities are approved", {"COUNT": "2"})]
    )
