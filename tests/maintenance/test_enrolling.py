"""What an approved authority has issued is approved, and goes when the authority, its CRL or a person says so."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from lab.authorities import NOW, Signer, name_of
from lab.certificates import DAY
from lab.deciding import decide
from lab.publisher import TwinPrograms
from lab.records import Records

from eximcertd.authorities.authority import Authority
from eximcertd.authorities.printed import hashes_of
from eximcertd.certificates.index import Index
from eximcertd.certificates.lookup import CertificateLookup
from eximcertd.certificates.parsing import parse
from eximcertd.decisions.decide import Decider
from eximcertd.errors import UsageError
from eximcertd.events import Event
from eximcertd.fingerprint import Fingerprint
from eximcertd.ledger import Ledger
from eximcertd.ledger.decisions import Decision
from eximcertd.log.sighting import Sighting
from eximcertd.maintenance.enrolling import Enrolling
from eximcertd.maintenance.expiry import Expiry
from eximcertd.publication.allowed_directory import AllowedDirectory
from eximcertd.publication.ending import end_withdrawn
from eximcertd.publication.publisher import Publisher
from eximcertd.settings import AllowlistSettings
from eximcertd.status import Status, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PRINTED = "AB" * 32
LATER = datetime.now(UTC) + timedelta(minutes=1)


class Site:
    """A ledger with decisions and enrolment, and what was published."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "ledger").mkdir()
        self.records = Records()
        self.names = AllowedDirectory(directory / "authorities")
        self.allowed = AllowedDirectory(directory / "allowed")
        self.allowed.prepare()
        self.twins = TwinPrograms(directory / "macro")
        self.signer = Signer("Site CA")
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.directory / "ledger")
        self.decider = Decider(self.ledger, self.records)
        self.publication = Publisher(
            self.ledger, self.allowed, self.twins,
            decider=self.decider, allowlist=AllowlistSettings(form="directory"), recorder=self.records,
        )  # fmt: skip
        self.enrolling = Enrolling(self.ledger, self.decider, self.records, self.allowed, self.publication)
        self.authorities = self.enrolling.authorities

    def authorize(self, signer: Signer | None = None, *patterns: str, crl: str = "", request: str = "1") -> Authority:
        signer = signer or self.signer
        authority = Authority.of(signer.der, patterns, crl)
        decision = Decision(authority.fingerprint, Verb.AUTHORIZE, "alice", _now(), "our own", request)
        same = [one.fingerprint for one in self.enrolling.approved if one.same(authority)]
        self.authorities.add(decision, authority, hashes_of(authority.subject), same)
        self.enrolling.reload()
        self.enrolling.write_names()
        return authority

    def withdraw(self, signer: Signer | None = None, request: str = "w") -> int:
        self.decide_to_withdraw(signer, request)
        return asyncio.run(self.enrolling.end())

    def decide_to_withdraw(self, signer: Signer | None = None, request: str = "w") -> None:
        name = (signer or self.signer).fingerprint
        self.authorities.withdraw(Decision(name, Verb.WITHDRAW, "alice", _now(), "closed", request), "Site CA")
        self.enrolling.reload()
        self.enrolling.write_names()

    def try_(self, *leaves: Signer, files: bool = True) -> list[Fingerprint]:
        """Have clients refused with these certificates; return which were enrolled. files: whether they have some."""
        seen = [Sighting(leaf.fingerprint, 1, _now(), _now()) for leaf in leaves]
        self.ledger.sightings.record("file", "1", seen, lambda _: files)
        shown = [(leaf.fingerprint, leaf.der, PRINTED) for leaf in leaves]
        return asyncio.run(self.enrolling.enrol(shown))

    def round(self, now: datetime = LATER) -> list[Fingerprint]:
        return asyncio.run(self.enrolling.round(now, timedelta(days=90)))

    def status(self, leaf: Signer) -> Status:
        return self.ledger.entries.get(leaf.fingerprint).status


def _now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.ledger.close()


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


def test_a_withdrawal_ends_every_enrolment_and_no_approval_of_a_person(site: Site) -> None:
    site.authorize()
    leaves = [site.signer.issue(f"{number}.example") for number in range(5)]
    site.try_(*leaves)
    decide(site.ledger, Verb.APPROVE, leaves[0].fingerprint)
    assert site.withdraw() == 4
    assert [site.status(leaf) for leaf in leaves] == [Status.APPROVED, *[Status.PENDING] * 4]
    assert site.ledger.publications.wanted() == [leaves[0].fingerprint]
    assert site.try_(leaves[1]) == []
    assert site.names.contents().fingerprints == frozenset()


def test_what_the_queue_has_no_room_for_is_not_forgotten_before_exim_refuses_it(site: Site) -> None:
    site.authorize()
    leaves = [site.signer.issue(f"{number}.example") for number in range(5)]
    site.try_(*leaves, files=False)
    site.ledger.sightings.unmatched_limit = 1
    site.decide_to_withdraw()
    site.ledger.authorities.end([leaf.fingerprint for leaf in leaves])
    for _ in range(2):
        site.try_(Signer("x"), files=False)
        asyncio.run(site.publication.settle())
        assert site.allowed.contents().fingerprints == frozenset()
    assert site.ledger.entries.counts().unmatched == 1


def test_a_withdrawal_in_portions_takes_back_no_decision_of_a_person_meanwhile(site: Site) -> None:
    site.authorize()
    leaves = sorted((site.signer.issue(f"{number}.example") for number in range(7)), key=lambda one: one.fingerprint)
    site.try_(*leaves)
    revision = site.allowed.revision()

    async def at_once() -> int:
        site.decide_to_withdraw()
        ending = asyncio.create_task(end_withdrawn(site.publication, site.ledger, site.allowed, 3))
        await asyncio.sleep(0)  # the files of the first portion are being removed
        decide(site.ledger, Verb.APPROVE, leaves[0].fingerprint, leaves[4].fingerprint)
        await site.publication.settle([leaves[0].fingerprint, leaves[4].fingerprint])
        return await ending

    assert asyncio.run(at_once()) == 5
    assert site.allowed.contents().fingerprints == {leaves[0].fingerprint, leaves[4].fingerprint}
    assert site.allowed.revision() > revision  # a backup of the ledger from before is recognised
    assert not site.ledger.publications.due()


def test_a_withdrawal_that_the_disk_has_stopped_is_finished_by_the_next_round(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example"))
    site.decide_to_withdraw()
    assert site.status(leaf) is Status.APPROVED
    site.round()
    assert site.status(leaf) is Status.PENDING
    assert site.allowed.contents().fingerprints == frozenset()


def test_a_withdrawal_while_many_certificates_are_verified_leaves_none_of_them_approved(site: Site) -> None:
    leaves = [site.signer.issue(f"{number}.example", key=site.signer.private) for number in range(201)]
    site.try_(*leaves)
    site.authorize()

    async def at_once() -> None:
        enrolling = asyncio.create_task(site.enrolling.enrol([(leaf.fingerprint, leaf.der, "") for leaf in leaves]))
        await asyncio.sleep(0)  # it begins, and lets others run after some of them
        site.decide_to_withdraw()
        await site.enrolling.end()
        await enrolling

    asyncio.run(at_once())
    assert {site.status(leaf) for leaf in leaves} == {Status.PENDING}


def test_what_was_removed_from_the_list_by_hand_does_not_come_back_with_the_next_attempt(site: Site) -> None:
    site.authorize()
    site.try_(leaf := site.signer.issue("client7.example"))
    site.ledger.decisions.withhold([leaf.fingerprint])
    site.allowed.change([], [leaf.fingerprint])
    assert site.try_(leaf) == []
    assert site.allowed.contents().fingerprints == frozenset()


def test_who_decided_on_an_authority_when_and_why_is_kept(site: Site) -> None:
    site.authorize()
    site.withdraw()
    [(_, first), (_, second)] = site.ledger.decisions.history(site.signer.fingerprint)
    assert (first.verb, first.by, first.note) == (Verb.AUTHORIZE, "alice", "our own")
    assert (second.verb, second.by, second.note) == (Verb.WITHDRAW, "alice", "closed")


def test_a_repeated_request_decides_once(site: Site) -> None:
    site.authorize()
    site.authorize()
    assert len(site.ledger.decisions.history(site.signer.fingerprint)) == 1
    with pytest.raises(UsageError, match="another decision"):
        site.withdraw(request="1")


def test_the_name_as_exim_printed_it_is_learned_from_a_verified_certificate_alone(site: Site) -> None:
    site.authorize()
    site.try_(Signer("Site CA").issue("twin.example"))
    assert PRINTED not in site.names.contents().fingerprints
    site.try_(site.signer.issue("client7.example"))
    assert site.names.contents().fingerprints == {PRINTED, *hashes_of(Authority.of(site.signer.der).subject)}


def test_a_revoked_client_does_not_come_back_with_its_next_certificate(site: Site) -> None:
    site.authorize()
    first = site.signer.issue("client7.example")
    site.try_(first)
    bound = site.enrolling.bind(first.fingerprint, None, None, "")
    assert {one.kind for one in bound} == {"subject", "name", "key"}
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    site.ledger.close()
    site.open()
    same_name = site.signer.issue("client7.example")
    same_key = site.signer.issue("other.example", key=first.private)
    assert site.try_(first, same_name, same_key, other := site.signer.issue("else.example")) == [other.fingerprint]
    decide(site.ledger, Verb.APPROVE, first.fingerprint)
    assert site.try_(same_name) == [same_name.fingerprint]


def test_a_revocation_ends_the_other_certificates_of_the_same_client(site: Site) -> None:
    site.authorize()
    first, same_name = site.signer.issue("client7.example"), site.signer.issue("client7.example", subject=name_of("x"))
    same_key = site.signer.issue("other.example", key=first.private)
    same_subject = site.signer.issue("else.example", subject=first.subject)
    site.try_(first, same_name, same_key, same_subject)
    bound = site.enrolling.bind(first.fingerprint, None, None, "")
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    others = asyncio.run(site.enrolling.revoke_others(bound))
    assert sorted(others) == sorted([same_name.fingerprint, same_key.fingerprint])
    assert (site.status(same_name), site.status(same_subject)) == (Status.REVOKED, Status.APPROVED)


def test_a_revocation_ends_what_has_the_subject_of_a_certificate_without_other_names(site: Site) -> None:
    site.authorize()
    first, second = (site.signer.issue("x", subject=name_of("ZOË"), names=[]) for _ in range(2))
    site.try_(first, second)
    bound = site.enrolling.bind(first.fingerprint, None, None, "name")
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    assert asyncio.run(site.enrolling.revoke_others(bound)) == [second.fingerprint]


@pytest.mark.parametrize(("what", "refused"), [("name", "name"), ("key", "key"), ("certificate", "")])
def test_a_denial_binds_what_was_asked_for(site: Site, what: str, refused: str) -> None:
    site.authorize()
    first = site.signer.issue("client7.example")
    site.try_(first)
    site.enrolling.bind(first.fingerprint, None, None, what)
    decide(site.ledger, Verb.REVOKE, first.fingerprint)
    later = {
        "name": site.signer.issue("client7.example"),
        "key": site.signer.issue("other.example", key=first.private),
    }
    for kind, leaf in later.items():
        assert (site.try_(leaf) == []) == (kind == refused)


def test_a_strangers_certificate_binds_no_name_of_an_honest_client(site: Site) -> None:
    site.authorize()
    stranger = Signer("Another CA").issue("client7.example")
    site.try_(stranger)
    assert site.enrolling.bind(stranger.fingerprint, parse(stranger.der), stranger.der, "") == []
    decide(site.ledger, Verb.REJECT, stranger.fingerprint)
    assert site.try_(honest := site.signer.issue("client7.example")) == [honest.fingerprint]


@pytest.mark.parametrize("why", ["its CRL cannot be read", "its name is outside the patterns"])
def test_a_client_that_was_rejected_while_its_authority_enrolled_none_stays_refused(site: Site, why: str) -> None:
    crl, patterns = (str(site.directory / "missing"), ()) if "CRL" in why else ("", ("*.other.example",))
    site.authorize(None, *patterns, crl=crl)
    first = site.signer.issue("client7.example")
    assert site.try_(first) == []
    site.enrolling.bind(first.fingerprint, parse(first.der), first.der, "")
    decide(site.ledger, Verb.REJECT, first.fingerprint)
    site.authorize(request="2")
    assert site.try_(site.signer.issue("client7.example")) == []


def test_what_comes_onto_the_crl_is_revoked_when_the_file_changes(site: Site) -> None:
    file = site.directory / "crl.pem"
    file.write_bytes(site.signer.crl())
    site.authorize(crl=str(file))
    good, gone = site.signer.issue("good.example"), site.signer.issue("gone.example")
    site.try_(good, gone)
    assert site.round() == []
    file.write_bytes(site.signer.crl([gone]))
    assert site.round() == [gone.fingerprint]
    assert (site.status(good), site.status(gone)) == (Status.APPROVED, Status.REVOKED)
    assert site.try_(gone) == []
    file.write_bytes(site.signer.crl())  # a later CRL without it, as when it has expired
    assert site.round() == site.try_(gone) == []
    assert site.status(gone) is Status.REVOKED
    assert site.ledger.authorities.counts() == {site.signer.fingerprint: 1}


def test_an_authority_without_a_crl_leaves_the_crl_of_the_next_one_in_force(site: Site) -> None:
    file = site.directory / "crl.pem"
    without, signer = sorted((Signer("One CA"), Signer("Other CA")), key=lambda one: one.fingerprint)
    file.write_bytes(signer.crl())
    site.authorize(without)
    site.authorize(signer, crl=str(file), request="2")
    site.try_(gone := signer.issue("gone.example"))
    file.write_bytes(signer.crl([gone]))
    assert site.round() == [gone.fingerprint]


def test_a_crl_that_an_authority_gets_back_counts_for_what_was_enrolled_without_it(site: Site) -> None:
    file = site.directory / "crl.pem"
    gone = site.signer.issue("gone.example")
    file.write_bytes(site.signer.crl([gone]))
    site.authorize(crl=str(file))
    assert site.round() == site.try_(gone) == []
    site.authorize(request="2")
    assert site.try_(gone) == [gone.fingerprint]
    assert site.round() == []
    site.authorize(crl=str(file), request="3")
    assert site.round() == [gone.fingerprint]


@pytest.mark.parametrize("harm", ["missing", "garbage", "overdue", "another's"])
def test_a_crl_that_cannot_be_used_stops_enrolment_is_told_once_and_takes_nothing_away(site: Site, harm: str) -> None:
    file = site.directory / "crl.pem"
    file.write_bytes(site.signer.crl())
    site.authorize(crl=str(file))
    site.try_(before := site.signer.issue("before.example"))
    site.round()
    if harm == "missing":
        file.unlink()
    else:
        overdue = site.signer.crl(next_update=NOW - DAY)
        file.write_bytes({"garbage": b"x", "overdue": overdue, "another's": Signer("Site CA").crl()}[harm])
    assert site.try_(later := site.signer.issue("later.example")) == []
    site.round()
    site.round()
    assert site.records.events().count(Event.AUTHORITY_PROBLEM) == 1
    assert site.status(before) is Status.APPROVED
    file.write_bytes(site.signer.crl())
    assert site.try_(later) == [later.fingerprint]
    site.round()
    assert site.records.events()[-1] is Event.AUTHORITY_BACK


def test_approvals_by_an_authority_outlive_a_restart(site: Site) -> None:
    site.authorize(None, "*.example")
    site.try_(leaf := site.signer.issue("client7.example"))
    site.ledger.close()
    site.open()
    assert site.status(leaf) is Status.APPROVED
    assert site.enrolling.approved[0].patterns == ("*.example",)
    assert site.try_(other := site.signer.issue("client8.example")) == [other.fingerprint]


def test_an_authority_that_the_libraries_do_not_read_any_more_is_told_and_stops_nothing_else(site: Site) -> None:
    unread = Decision(Fingerprint("AB" * 32), Verb.AUTHORIZE, "alice", _now(), "", "unread")
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
